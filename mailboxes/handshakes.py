"""Testing mailboxes with a new certificate: one handshake each, by rows that a worker leases.

What a handshake is and does: :mod:`mailboxes.trying`.

| the process dies | what stands | next |
|---|---|---|
| before the claim | a row that is due | claimed |
| after it, with or without an answer of MESH | a lease that runs out, one try more | asked again, three times at most |
| after the result | the result | nothing |
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from mailboxes import polling, trying
from mailboxes.models import RollOverRow
from mailboxes.models.roll_over import TestState
from mailboxes.problems import Problem
from meshportal.core import lease
from meshportal.core.pool import Pool

log = structlog.get_logger("mailboxes.rollover")

QUEUE = "default"
# A mailbox that hangs takes one of them for some seconds; the others go on.
_LANES = 4
_MOST_TRIES = 3
_DIED = Problem(
    "died",
    "The portal stopped each time that it tested this mailbox.",
    "Tell whoever runs the portal, with the mailbox ID. Leave this mailbox out meanwhile.",
)


def run_due() -> int:
    """Tests every mailbox that waits for it; gives how many."""
    lanes: list[Callable[[], RollOverRow | None]] = [claim_due] * _LANES
    return Pool(queue=QUEUE, lanes=lanes, work=work, seconds=settings.SHARD_SECONDS, long_seconds=settings.TURN_SECONDS).run()


def claim_due() -> RollOverRow | None:
    """Claims the row that has waited for longest, with its try counted; None when none waits."""
    due = RollOverRow.objects.filter(due_at__lte=timezone.now()).order_by("due_at", "pk")
    if not due.exists():
        return None
    claimed = lease.claim(due, limit=1, duration=_duration(), tries=F("tries") + 1)
    return claimed[0] if claimed else None


def _duration() -> timedelta:
    return polling.lease_duration()


def work(row: RollOverRow) -> None:
    """Tests the mailbox of ``row``, whose lease the caller claimed, writes what came of it and gives the row back."""
    with lease.kept_alive(row, _duration()):
        problem = _DIED if row.tries > _MOST_TRIES else trying.handshake(row.mailbox, identity=row.roll_over.new)
    kept = lease.release(
        row,
        test=TestState.PASSED if problem is None else TestState.FAILED,
        why_not="" if problem is None else problem.sentence,
        advice="" if problem is None else problem.advice,
        due_at=None,
        tested_at=timezone.now(),
        updated_at=timezone.now(),
    )
    if not kept:
        log.warning("lease_lost", row=str(row.pk))
