"""Testing mailboxes with a new certificate: one handshake each, by rows that a worker leases.

What a handshake is and does: :mod:`mailboxes.trying`. What happens when the process dies: :mod:`meshportal.core.waiting`.
"""

from __future__ import annotations

import structlog
from django.utils import timezone

from mailboxes import trying
from mailboxes.models import RollOverRow
from mailboxes.models.roll_over import TestState
from mailboxes.problems import Problem
from meshportal.core import lease, waiting

log = structlog.get_logger("mailboxes.rollover")

QUEUE = "default"
_DIED = Problem(
    "died",
    "The portal stopped each time that it tested this mailbox.",
    "Tell whoever runs the portal, with the mailbox ID. Leave this mailbox out meanwhile.",
)


def run_due() -> int:
    """Tests every mailbox that waits for it; gives how many."""
    return waiting.run_due(RollOverRow, work, queue=QUEUE)


def claim_due() -> RollOverRow | None:
    """Claims the row that has waited for longest, with its try counted; None when none waits."""
    return waiting.claim_due(RollOverRow)


def work(row: RollOverRow) -> None:
    """Tests the mailbox of ``row``, whose lease the caller claimed, writes what came of it and gives the row back."""
    with lease.kept_alive(row, waiting.duration()):
        problem = _DIED if waiting.died(row) else trying.handshake(row.mailbox, identity=row.roll_over.new)
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
