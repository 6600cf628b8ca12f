"""Calendars that other programs subscribe to: RFC 5545, written line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# Octets of a line without its end (RFC 5545, 3.1).
_LONGEST = 75
_ESCAPED = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"})


@dataclass(frozen=True)
class Event:
    """One moment. ``uid`` stays the same for good; ``reminders`` are the spans before it at which to remind."""

    uid: str
    at: datetime
    summary: str
    description: str
    reminders: tuple[timedelta, ...] = ()
    url: str = ""


def escape(text: str) -> str:
    """TEXT of RFC 5545, 3.3.11. Control characters other than line breaks and tabs have no place in it and are left out."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(character for character in plain if character in "\n\t" or not _is_control(character))
    return kept.translate(_ESCAPED)


def fold(line: str) -> str:
    """``line`` with its end, in parts of at most 75 octets; no character is cut in two."""
    parts, part, size = [], "", 0
    for character in line:
        width = len(character.encode("utf-8", "replace"))
        # The space in front of a part that goes on counts.
        if size + width > _LONGEST:
            parts.append(part)
            part, size = "", 1
        part += character
        size += width
    return "\r\n ".join([*parts, part]) + "\r\n"


def lines(*, name: str, description: str, events: Iterable[Event], now: datetime, every: timedelta) -> Iterator[str]:
    """The calendar ``name``, folded; ``every`` is how often it may be asked for. A moment without a zone raises ValueError."""
    for line in _calendar(name, description, events, now, every):
        yield fold(line)


def _calendar(name: str, description: str, events: Iterable[Event], now: datetime, every: timedelta) -> Iterator[str]:
    yield from ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//meshportal//Calendar//EN", "CALSCALE:GREGORIAN")
    # RFC 7986 (NAME, DESCRIPTION, REFRESH-INTERVAL), and what Outlook and Apple read instead of it.
    yield from (f"NAME:{escape(name)}", f"X-WR-CALNAME:{escape(name)}")
    yield from (f"DESCRIPTION:{escape(description)}", f"X-WR-CALDESC:{escape(description)}")
    yield from (f"REFRESH-INTERVAL;VALUE=DURATION:{duration(every)}", f"X-PUBLISHED-TTL:{duration(every)}")
    empty = True
    for event in events:
        empty = False
        yield from _event(event, now)
    if empty:
        # A calendar holds at least one component (RFC 5545, 3.6).
        yield from ("BEGIN:VTIMEZONE", "TZID:UTC", "BEGIN:STANDARD", "DTSTART:19700101T000000")
        yield from ("TZOFFSETFROM:+0000", "TZOFFSETTO:+0000", "END:STANDARD", "END:VTIMEZONE")
    yield "END:VCALENDAR"


def _event(event: Event, now: datetime) -> Iterator[str]:
    yield from ("BEGIN:VEVENT", f"UID:{escape(event.uid)}", f"DTSTAMP:{moment(now)}", f"DTSTART:{moment(event.at)}")
    yield from (f"SUMMARY:{escape(event.summary)}", f"DESCRIPTION:{escape(event.description)}")
    if event.url:
        yield f"URL:{event.url}"
    # Nobody is busy because of it.
    yield "TRANSP:TRANSPARENT"
    for before in event.reminders:
        yield from ("BEGIN:VALARM", "ACTION:DISPLAY", f"TRIGGER:-{duration(before)}")
        yield from (f"DESCRIPTION:{escape(event.summary)}", "END:VALARM")
    yield "END:VEVENT"


def moment(at: datetime) -> str:
    """``20261231T235959Z``. One without a zone raises ValueError."""
    if at.tzinfo is None:
        raise ValueError("A time without a zone cannot stand in a calendar.")
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def duration(span: timedelta) -> str:
    """``P90D`` or ``PT6H``: whole days, or else whole hours. Another span raises ValueError."""
    for unit, form in ((timedelta(days=1), "P{}D"), (timedelta(hours=1), "PT{}H")):
        if span >= unit and not span % unit:
            return form.format(span // unit)
    raise ValueError(f"Neither whole days nor whole hours: {span}.")


def _is_control(character: str) -> bool:
    # Surrogates have no form in UTF-8.
    return character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"
