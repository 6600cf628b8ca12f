"""Rows that wait for one act each, worked beside each other: one that hangs takes one thread, and the others go on.

The row itself is leased, so that several workers share a thousand of them. ``work`` of the caller does the act and gives
the row back with what came of it and no ``due_at``; once :func:`died` says so, it writes that down instead.

| the process dies | what stands | next |
|---|---|---|
| before the claim | a row that is due | claimed |
| after it, before or amid the act | a lease that runs out, one try more | done again, three times at most |
| after the result | the result | nothing |
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from meshportal.core import lease
from meshportal.core.models import Waiting
from meshportal.core.pool import Pool

Row = TypeVar("Row", bound=Waiting)

_LANES = 4
_MOST_TRIES = 3


def run_due(model: type[Row], work: Callable[[Row], object], *, queue: str) -> int:
    """Works rows of ``model`` that wait, until none does or the time of a turn is up; gives how many it worked."""
    lanes: list[Callable[[], Row | None]] = [lambda: claim_due(model)] * _LANES
    return Pool(queue=queue, lanes=lanes, work=work, seconds=settings.SHARD_SECONDS, long_seconds=settings.TURN_SECONDS).run()


def claim_due(model: type[Row]) -> Row | None:
    """Claims the row that has waited for longest, with its try counted; None when none waits."""
    due = model._base_manager.filter(due_at__lte=timezone.now()).order_by("due_at", "pk")
    # Looking costs no write lock, and most looks find nothing.
    if not due.exists():
        return None
    claimed = lease.claim(due, limit=1, duration=duration(), tries=F("tries") + 1)
    return claimed[0] if claimed else None


def duration() -> timedelta:
    """How long a claim holds without a sign of life."""
    return timedelta(seconds=settings.LEASE_SECONDS)


def died(row: Waiting) -> bool:
    """Whether ``row`` was tried so often that its process must have died each time."""
    return row.tries > _MOST_TRIES
