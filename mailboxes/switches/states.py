"""The states of a switch case and the ways between them: one table, mirrored by a database constraint.

A case keeps the state that it came from, so that the database itself refuses a way that the table does not hold.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class CaseState(models.TextChoices):
    """How far a switch has come (domain notes c8)."""

    SUSPECTED = "suspected", "Suspected"
    CONFIRMED = "confirmed", "Confirmed"
    SCHEDULED = "scheduled", "Scheduled"
    FROZEN = "frozen", "Frozen"
    SWITCHED = "switched", "Switched"
    PROVING = "proving", "Proving"
    CLOSED = "closed", "Closed"
    FALSE_ALARM = "false_alarm", "False alarm"


class Direction(models.TextChoices):
    """What kind of change it is. To and from TPP the address changes, since TPP's mailboxes are shared (domain notes c1)."""

    UNKNOWN = "unknown", "Not known yet"
    TO_TPP = "to_tpp", "To TPP SystmOne"
    FROM_TPP = "from_tpp", "From TPP SystmOne"
    OTHER = "other", "Between other suppliers"
    THIRD_PARTY = "third_party", "Third-party document tool"
    MERGER = "merger", "Merger"
    CLOSURE = "closure", "Closure"
    REDIRECT = "redirect", "Redirect"


# What each state means, in the words of the "What does this mean?" disclosure.
MEANINGS: dict[str, str] = {
    CaseState.SUSPECTED: "Something points to a changed address. Nothing is held: a person confirms it, or says why not.",
    CaseState.CONFIRMED: "The practice, its commissioner or its supplier has confirmed the switch.",
    CaseState.SCHEDULED: "The dates are known. Messages still go to the old address.",
    CaseState.FROZEN: "New messages for the practice are held in the portal. They go on after two people have agreed where to.",
    CaseState.SWITCHED: "The new address counts. What is still sent to the old one is held.",
    CaseState.PROVING: "Messages go to the new address, and the portal counts those that are collected.",
    CaseState.CLOSED: "Enough messages of every workflow were collected at the new address, and none came back.",
    CaseState.FALSE_ALARM: "No switch after all. The same evidence opens no other case for a while.",
}
TONES: dict[str, str] = {
    CaseState.SUSPECTED: "warn",
    CaseState.CONFIRMED: "info",
    CaseState.SCHEDULED: "info",
    CaseState.FROZEN: "bad",
    CaseState.SWITCHED: "busy",
    CaseState.PROVING: "busy",
    CaseState.CLOSED: "good",
    CaseState.FALSE_ALARM: "quiet",
}

TRANSITIONS: dict[str, frozenset[str]] = {
    CaseState.SUSPECTED: frozenset({CaseState.CONFIRMED, CaseState.FALSE_ALARM}),
    # To frozen at once when the switch has happened already: then there is nothing left to schedule.
    CaseState.CONFIRMED: frozenset({CaseState.SCHEDULED, CaseState.FROZEN, CaseState.FALSE_ALARM}),
    CaseState.SCHEDULED: frozenset({CaseState.FROZEN, CaseState.FALSE_ALARM}),
    # Back when the practice puts it off.
    CaseState.FROZEN: frozenset({CaseState.SWITCHED, CaseState.SCHEDULED, CaseState.FALSE_ALARM}),
    # Back is the one undo.
    CaseState.SWITCHED: frozenset({CaseState.PROVING, CaseState.FROZEN}),
    CaseState.PROVING: frozenset({CaseState.CLOSED}),
    CaseState.CLOSED: frozenset(),
    CaseState.FALSE_ALARM: frozenset(),
}

# A case begins as a suspicion, or is typed in by somebody who was told.
BEGINNINGS = (CaseState.SUSPECTED, CaseState.CONFIRMED)
ENDED = (CaseState.CLOSED, CaseState.FALSE_ALARM)
OPEN = tuple(state for state in CaseState if state not in ENDED)
# In these, messages to the old address are held.
HOLDING = (CaseState.FROZEN, CaseState.SWITCHED, CaseState.PROVING)
# In these, endpoint lookup is asked every hour.
WATCHED = (CaseState.SCHEDULED, CaseState.FROZEN, CaseState.SWITCHED)
# Directions in which single workflows move, and the rest of the old mailbox stays what it is.
BY_WORKFLOW = (Direction.THIRD_PARTY, Direction.REDIRECT)


def legal_ways() -> Q:
    """The condition that the database checks: a beginning, or a way of :data:`TRANSITIONS`."""
    found = Q(came_from="", state__in=[str(state) for state in BEGINNINGS])
    for before, after in TRANSITIONS.items():
        if after:
            found |= Q(came_from=str(before), state__in=sorted(str(state) for state in after))
    return found
