"""Testing mailboxes with a new certificate: one handshake each, by rows that a worker leases.

A handshake is no listing: it takes nothing and acknowledges nothing, and may happen beside a poll (promise P5). MESH API
specification, Validate a mailbox. It waits as long as a person would, and is not repeated by itself. What happens when the
process dies stands in :mod:`meshportal.core.waiting`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from mailboxes import connections
from mailboxes.models import RollOverRow
from mailboxes.models.roll_over import TestState
from mailboxes.problems import UNREADABLE_SECRET, NotConfigured, Problem, explain
from meshportal.core import lease, waiting
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import errors

log = structlog.get_logger("mailboxes.rollover")

QUEUE = "default"
_DIED = Problem(
    "died",
    "The portal stopped each time that it tested this mailbox.",
    "Tell whoever runs the portal, with the mailbox ID. Leave this mailbox out meanwhile.",
)
_BROKE = Problem(
    "internal",
    "Something unforeseen went wrong with the test of this mailbox.",
    "Ask whoever runs the portal to look in the log for this mailbox ID. Leave it out meanwhile.",
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
        problem = _DIED if waiting.died(row) else _handshake(row)
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


def _handshake(row: RollOverRow) -> Problem | None:
    client = None
    try:
        mailbox = row.mailbox
        # In memory only: the mailbox itself goes on with the certificate that it has.
        mailbox.identity = row.roll_over.new
        client = connections.client_for(mailbox, somebody_waits=True)
        connections.handshake(client, environment=mailbox.environment)
    except NotConfigured as error:
        return error.problem
    except CannotUnseal:
        return UNREADABLE_SECRET
    except errors.MeshError as error:
        host = urlsplit(settings.MESH_URLS[row.roll_over.environment]).hostname or ""
        return explain(error, host=host, clock_skew=client.clock_skew if client is not None else None)
    except DatabaseError:
        raise
    except Exception:
        log.exception("test_broke", row=str(row.pk))
        return _BROKE
    return None
