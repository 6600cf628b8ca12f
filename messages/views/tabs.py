"""The tabs above message lists: the saved views of a direction, the days of what was not collected, and the way to the
other direction. Each says how many messages it leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.http import QueryDict

from meshportal.core import pagination
from messages import ages, filters
from messages.filters import ACKS_UNMATCHED, DAY_LABELS, IN_THE_INBOX, NOT_COLLECTED, RECOVERABLE, UNMATCHED, WAITING
from messages.models import Message, MessageType
from messages.refusals import DESK
from messages.states import Direction, State

# So that a look at a list costs the same however long its history is.
CAP = pagination.COUNT_CAP
Counts = Mapping[str, tuple[int, bool]]


@dataclass(frozen=True)
class Tab:
    """A link to another view of the messages. ``count`` is '' where nothing was counted; ``note`` is said where one is."""

    label: str
    url: str
    current: bool
    count: str = ""
    note: str = ""
    urgent: bool = False


@dataclass(frozen=True)
class _View:
    label: str
    filters: Mapping[str, str]
    note: str = ""


# The saved views of each direction: links with their filters.
_VIEWS: dict[Direction, tuple[_View, ...]] = {
    Direction.IN: (
        _View("All", {}),
        _View("In the MESH inbox", {"state": IN_THE_INBOX}),
        _View("Needs a person", {"state": State.QUARANTINED}),
        _View("Reports", {"type": MessageType.REPORT}),
        _View("Unmatched reports", {"type": UNMATCHED}),
        _View("Acknowledgements without their message", {"type": ACKS_UNMATCHED}),
    ),
    Direction.OUT: (
        _View("All", {}),
        _View("Needs a decision", {"state": State.UNCERTAIN}),
        _View("Waiting to be sent", {"state": WAITING}),
        _View("Not collected", {"state": NOT_COLLECTED}),
        _View(
            "Recoverable",
            {"state": RECOVERABLE},
            f"Nobody collected these within 5 days, and MESH still keeps them: {DESK} can put one back into the recipient’s "
            "inbox within 30 days.",
        ),
        _View("Returned", {"state": State.RETURNED}),
        _View("Refused", {"state": State.REFUSED}),
    ),
}
_DAYS = tuple(_View(label, {"day": day}) for day, label in DAY_LABELS.items())
_LAST_DAY = str(ages.DAYS[-1])
LAST_DAY_NOTE = "On day 5 ring the recipient: after it the message leaves their inbox."


def number(counted: tuple[int, bool]) -> str:
    """``1,000+`` for a count that stopped there."""
    return f"{counted[0]:,}{'+' if counted[1] else ''}"


def address(path: str, query: Mapping[str, str]) -> str:
    """``path`` with ``query``, if there is one."""
    given = QueryDict(mutable=True)
    given.update(dict(query))
    return f"{path}?{given.urlencode()}" if query else path


def _holds(direction: Direction, view: _View) -> Q:
    """What ``view`` holds. A state tells the direction, so that the index on states serves."""
    wanted = Q()
    for name, value in view.filters.items():
        if name == "state":
            wanted &= filters.state_is(value)
        elif name == "day":
            wanted &= filters.day_is(value)
        else:
            # All of them are received ones.
            wanted &= filters.type_is(value)
    return wanted or Q(direction=direction)


@dataclass(frozen=True)
class Tabs:
    """The saved views of one list, and the days of what was not collected (none of received messages)."""

    views: Sequence[Tab]
    days: Sequence[Tab]

    @property
    def note(self) -> str:
        """What the view that is open must say of itself."""
        return next((tab.note for tab in (*self.views, *self.days) if tab.current and tab.note), "")

    @property
    def urgent(self) -> str:
        """What a person must do today, or ''."""
        return LAST_DAY_NOTE if any(tab.urgent for tab in self.days) else ""


def tabs(rows: QuerySet[Message], path: str, query: QueryDict, direction: Direction) -> Tabs:
    """The tabs of the list at ``path``, which shows ``rows`` before any filter.

    The view whose filters are exactly those of ``query`` is the current one.
    """
    chosen = {name: value for name, value in query.items() if value and name != "cursor"}
    views, days = _VIEWS[direction], _DAYS if direction == Direction.OUT else ()
    every = (*views, *days)
    counts = pagination.capped_counts({view.label: rows.filter(_holds(direction, view)) for view in every}, CAP)

    def made(view: _View) -> Tab:
        return Tab(
            label=view.label,
            url=address(path, view.filters),
            current=chosen == dict(view.filters),
            count=number(counts[view.label]),
            note=view.note,
            urgent=view.filters.get("day") == _LAST_DAY and counts[view.label][0] > 0,
        )

    shown = [made(view) for view in days]
    # A row of noughts helps nobody, unless it is where the person is.
    any_days = any(counts[view.label][0] for view in days) or any(tab.current for tab in shown)
    return Tabs([made(view) for view in views], shown if any_days else [])
