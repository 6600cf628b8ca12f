"""Which kinds of alert there are, and the rules that find them. Apps register theirs in ``AppConfig.ready``.

Nothing that stands in a condition may name a patient: no subject, local ID or file name of a message, and no words that came
from another organisation. What a condition says leaves the portal by mail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meshportal.accounts.models import Role, Team
from meshportal.notify.models.alert import Severity


@dataclass(frozen=True)
class Kind:
    """A kind of alert, in the words that people read.

    ``title`` names it in lists and subscriptions. ``one`` and ``many`` head a message: "1 mailbox is refused by MESH". ``owner``
    is the role that usually deals with it.
    """

    name: str
    title: str
    one: str
    many: str
    severity: Severity
    advice: str
    owner: Role = Role.OPERATOR

    def count_words(self, number: int) -> str:
        """``1 mailbox is refused by MESH``, ``300 mailboxes are refused by MESH``."""
        return f"1 {self.one}" if number == 1 else f"{number:,} {self.many}"


@dataclass(frozen=True)
class Condition:
    """Something that holds now. ``team``: None for the portal as a whole.

    ``level`` says how bad or how new it is: whoever was told is told again when it rises, and an acknowledgement of less no
    longer counts. ``data``: what the rule itself wants to know next time. ``since``: when it began, where the rule knows.
    """

    kind: str
    key: str
    subject: str
    sentence: str
    team: Team | None = None
    level: int = 0
    severity: Severity | None = None
    url_name: str = ""
    url_args: Mapping[str, str] = field(default_factory=dict)
    url_query: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None


Find = Callable[[datetime], Iterable[Condition]]


@dataclass(frozen=True)
class Rule:
    """A function that gives every condition that holds at a moment, of the kinds that are its own."""

    name: str
    kinds: tuple[str, ...]
    find: Find


_kinds: dict[str, Kind] = {}
_rules: dict[str, Rule] = {}


def register_kind(kind: Kind) -> None:
    """Makes ``kind`` known. Raises ValueError when another one has its name."""
    if _kinds.setdefault(kind.name, kind) != kind:
        raise ValueError(f"There is another kind of alert named {kind.name!r}.")


def register_rule(rule: Rule) -> None:
    """Makes ``rule`` part of every sweep. Raises ValueError when a kind is unknown, or another rule's."""
    for kind in rule.kinds:
        if kind not in _kinds:
            raise ValueError(f"Rule {rule.name!r} raises {kind!r}, which nobody registered.")
        other = next((found for found in _rules.values() if kind in found.kinds and found.name != rule.name), None)
        if other is not None:
            raise ValueError(f"{kind!r} is raised by the rule {other.name!r} already.")
    _rules[rule.name] = rule


def kind(name: str) -> Kind:
    """The kind with this name. Raises KeyError: a typing error must not make an alert that nobody is told of."""
    return _kinds[name]


def kinds() -> list[Kind]:
    """Every kind, by its title."""
    return sorted(_kinds.values(), key=lambda found: found.title)


def rules() -> list[Rule]:
    """Every rule, in the order of registration."""
    return list(_rules.values())


def known(name: str) -> Kind:
    """As :func:`kind`, for rows that may be older than the code: a kind that is gone is shown by its name."""
    found = _kinds.get(name)
    return found or Kind(name, name, f"alert of the kind {name}", f"alerts of the kind {name}", Severity.WARNING, "")
