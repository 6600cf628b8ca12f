"""What a harness does with received messages that are handed on: as tests.fleet.operations, which it goes with."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count

from mailboxes.models import Mailbox, Outlet
from meshportal.core import payloads
from messages.models import HandOver, Message, MessageEvent, Payload
from tests.fleet.operations import ACTOR


def wire_hand_over(*, mailbox_id: str, folder: str, enabled: bool = True) -> None:
    from mailboxes import outlets, services

    mailbox = Mailbox.objects.get(mailbox_id=mailbox_id)
    services.change_mailbox(actor=ACTOR, mailbox=mailbox, folder=folder)
    outlets.set_folder(actor=ACTOR, mailbox=mailbox, enabled=enabled)


def put_received(*, mailbox_id: str, sizes: list[int], seed: int, waits: bool = False) -> dict[str, str]:
    """Stores a received message of each size as the poller does, a report for size 0; MESH ID to SHA-256.

    ``waits``: none is due, before somebody makes it so.
    """
    from messages import receive
    from messages.handing import rows

    rng = random.Random(seed)
    mailbox = Mailbox.objects.get(mailbox_id=mailbox_id)
    put = {}
    for number, size in enumerate(sizes):
        body, now = rng.randbytes(size), datetime.now(UTC)
        message = Message(
            team_id=mailbox.team_id,
            mailbox=mailbox,
            environment=mailbox.environment,
            direction="in",
            mesh_id=f"{seed}_{number:06d}",
            message_type="DATA" if size else "REPORT",
            state="acknowledged",
            sender="YGM24HC001",
            recipient_mailbox=mailbox_id,
            workflow_id="TEST_WORKFLOW",
            seen_at=now,
            stored_at=now,
            acknowledged_at=now,
            size=size,
        )
        kept = payloads.write(receive.storage_key(message), [body])
        with transaction.atomic():
            message.save(force_insert=True)
            Payload.objects.create(
                message=message, storage_key=kept.key, sha256=kept.sha256, size=kept.size, stored_size=kept.stored_size
            )
            rows.plan(message)
            if waits:
                HandOver.objects.filter(message=message).update(due_at=datetime.now(UTC) + timedelta(days=1))
        put[message.mesh_id] = hashlib.sha256(body).hexdigest()
    return put


def let_go(*, mesh_ids: list[str]) -> None:
    """What was to wait is due."""
    HandOver.objects.filter(message__mesh_id__in=mesh_ids).update(due_at=datetime.now(UTC))


def hand_over_turn(*, mesh_id: str, die_at: int | None = None) -> dict[str, Any]:
    """One turn with one message, whoever held its outlet, in a process that dies at step ``die_at``.

    Gives the names of the steps, and whether the message waits still.
    """
    from messages.handing import turn
    from messages.models import Handed
    from tests.fleet.dying import Steps

    row = HandOver.objects.get(message__mesh_id=mesh_id)
    past = datetime.now(UTC) - timedelta(seconds=1)
    HandOver.objects.filter(pk=row.pk).update(due_at=past)
    Outlet.objects.filter(pk=row.outlet_id).update(resume_at=past, lease_token=None, lease_until=None)
    steps = Steps(die_at)
    steps.install()
    claimed = turn.claim_due(slow=False)
    if claimed is not None:
        turn.work(claimed)
    row.refresh_from_db()
    return {"steps": steps.names, "waits": row.state == Handed.PENDING}


def hand_over_counts() -> dict[str, int]:
    """How many hand-overs are in each state."""
    return dict(HandOver.objects.order_by().values_list("state").annotate(Count("pk")))


def hand_over_proof() -> dict[str, dict[str, Any]]:
    """What is known of each hand-over, by MESH ID."""
    noted = dict(MessageEvent.objects.filter(kind="handed_on").order_by().values_list("message_id").annotate(number=Count("pk")))
    return {
        row.message.mesh_id: {
            "state": row.state,
            "done_at": row.done_at.timestamp() if row.done_at else None,
            "noted": noted.get(row.message_id, 0),
            "tries": row.tries,
            "problem": row.problem,
            "leased": row.outlet.lease_token is not None,
        }
        for row in HandOver.objects.select_related("message", "outlet").defer("outlet__secret", "message__headers")
    }
