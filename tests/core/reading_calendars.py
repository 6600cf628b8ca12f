"""A strict reader of iCalendar files (RFC 5545) for tests. Raises AssertionError where one is not well formed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"([A-Z0-9-]+)((?:;[A-Z-]+=[^;:\"]+)*):(.*)", re.S)
_PLAIN = {"UID", "DTSTAMP", "DTSTART", "URL", "TRIGGER", "ACTION"}


@dataclass
class Component:
    """``BEGIN:kind`` to ``END:kind``, with its properties as they stand."""

    kind: str
    properties: list[tuple[str, str]] = field(default_factory=list)
    inside: list[Component] = field(default_factory=list)


def read(text: str) -> Component:
    """The one calendar of ``text``."""
    data = text.encode()
    assert data.endswith(b"\r\n")
    assert b"\n" not in data.replace(b"\r\n", b"") and b"\r" not in data.replace(b"\r\n", b"")
    for raw in data.split(b"\r\n"):
        assert len(raw) <= 75
        raw.decode()
    open_ones: list[Component] = [Component("")]
    for line in text.replace("\r\n ", "").removesuffix("\r\n").split("\r\n"):
        found = _LINE.fullmatch(line)
        assert found, line
        name, _, content = found.groups()
        if name == "BEGIN":
            made = Component(content)
            open_ones[-1].inside.append(made)
            open_ones.append(made)
        elif name == "END":
            assert open_ones.pop().kind == content
        else:
            open_ones[-1].properties.append((name, content))
    (outer,) = open_ones
    (calendar,) = outer.inside
    assert calendar.kind == "VCALENDAR" and calendar.inside
    assert {"VERSION", "PRODID"} <= {name for name, _ in calendar.properties}
    for event in calendar.inside:
        if event.kind == "VEVENT":
            names = [name for name, _ in event.properties]
            assert all(names.count(name) == 1 for name in ("UID", "DTSTAMP", "DTSTART"))
    return calendar


def value(component: Component, name: str) -> str:
    """The one value of a property, unescaped where it is text."""
    (content,) = [found for given, found in component.properties if given == name]
    if name in _PLAIN:
        return content
    assert not re.search(r"(?<!\\)(?:\\\\)*[;,]", content), content
    letters = {"n": "\n", "N": "\n", "\\": "\\", ";": ";", ",": ","}
    return re.sub(r"\\(.)", lambda found: letters[found[1]], content)
