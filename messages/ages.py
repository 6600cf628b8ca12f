"""How long sent messages wait, and which can be restored: as conditions that the database answers, and of one row.

Both ways of asking must agree: a tab counts with one and a row is worded with the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import DateTimeField, F, Q, Value
from django.db.models.functions import Coalesce, Trim
from django.db.models.lookups import Exact, GreaterThan, LessThanOrEqual
from django.utils import timezone

from messages.models import Message
from messages.states import UNCOLLECTED, State

# MESH API specification, Message expiration: five days in the inbox.
DAYS = tuple(range(1, Message.INBOX_LIFE.days + 1))
_DAY = timedelta(days=1)


def _arrived() -> Coalesce:
    """As :attr:`Message.arrived_at`."""
    return Coalesce("sent_at", "seen_at")


def _moment(at: datetime) -> Value:
    return Value(at, output_field=DateTimeField())


def _later_than(at: datetime) -> Q:
    return Q(GreaterThan(_arrived(), _moment(at)))


def _not_later_than(at: datetime) -> Q:
    return Q(LessThanOrEqual(_arrived(), _moment(at)))


def within(length: timedelta, now: datetime | None = None) -> Q:
    """Messages that MESH took, or the portal first saw, no longer ago than ``length``."""
    return _later_than((now or timezone.now()) - length)


def on_day(day: int, now: datetime | None = None) -> Q:
    """Sent messages that wait in the recipient's inbox on their ``day``-th day: 1 is the first 24 hours."""
    now = now or timezone.now()
    found = Q(state=State.ACCEPTED) & _later_than(now - day * _DAY)
    # A time of MESH's that is ahead of our clock is the first day too.
    return found if day == 1 else found & _not_later_than(now - (day - 1) * _DAY)


def after_last_day(now: datetime | None = None) -> Q:
    """Sent messages that nobody collected while they were in the inbox, whether or not MESH has said so yet."""
    # The states by themselves first, for the index on them: behind the OR alone it would not be used.
    overdue = Q(state=State.EXPIRED) | _not_later_than((now or timezone.now()) - Message.INBOX_LIFE)
    return Q(state__in=[str(state) for state in UNCOLLECTED]) & overdue


def recoverable(now: datetime | None = None) -> Q:
    """Sent messages that left the inbox uncollected and that MESH still keeps, so that the service desk can restore them.

    The same as :func:`messages.words.recoverable` of a row whose thirty days are not over. Code 14 is also MESH's answer
    for a deactivated mailbox; its text alone tells the two apart (:mod:`messages.refusals`).
    """
    not_collected = (
        Q(state=State.RETURNED) & Q(Exact(Trim(F("status_code")), Value("14"))) & ~Q(status_description__icontains="deactivat")
    )
    kept = _later_than((now or timezone.now()) - Message.LIFE)
    return Q(state__in=[str(State.EXPIRED), str(State.RETURNED)]) & (Q(state=State.EXPIRED) | not_collected) & kept


def day_of(message: Message, now: datetime | None = None) -> int | None:
    """The day of its five that ``message`` waits on in the recipient's inbox; None when it does not wait there."""
    if message.state != State.ACCEPTED:
        return None
    day = max(((now or timezone.now()) - message.arrived_at) // _DAY, 0) + 1
    return day if day in DAYS else None
