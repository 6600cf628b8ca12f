"""What a harness does with what is sent: as tests.fleet.operations, which it goes with."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count

from mailboxes.models import Mailbox
from meshportal.core import payloads
from messages.models import Message, Payload
from tests.fleet.operations import ACTOR


def put_outgoing(
    *, mailbox_id: str, recipient: str, sizes: list[int], seed: int, workflow_id: str = "TEST_WORKFLOW"
) -> dict[str, str]:
    """Queues a message of each size; local id to SHA-256."""
    import random

    from messages import outbox

    rng = random.Random(seed)
    mailbox = Mailbox.objects.get(mailbox_id=mailbox_id)
    put = {}
    for number, size in enumerate(sizes):
        body = rng.randbytes(size)
        draft = outbox.Draft(
            recipient=recipient,
            workflow_id=workflow_id,
            file_name=f"letter-{seed}-{number}.dat",
            compress=rng.random() < 0.5,
        )
        message = outbox.put(
            actor=ACTOR, mailbox=mailbox, draft=draft, body=[body], again=outbox.Again(reason="a test", asked_by="the recipient")
        )
        put[message.local_id] = hashlib.sha256(body).hexdigest()
    return put


def stage_outbox(*, mailbox_id: str, recipient: str) -> None:
    """A sent message in every state, by the ways that the table of transitions holds; no worker is to touch them."""
    from django.utils import timezone

    from messages import outbox, records
    from messages.models import Outgoing, SendAttempt
    from messages.states import OUT, State

    mailbox = Mailbox.objects.get(mailbox_id=mailbox_id)
    ways: dict[State, list[State]] = {
        State.QUEUED: [],
        State.CANCELLED: [State.CANCELLED],
        State.ON_HOLD: [State.ON_HOLD],
        State.UPLOADING: [State.SENDING, State.UPLOADING],
        State.ACCEPTED: [State.SENDING, State.ACCEPTED],
        State.CONFIRMED: [State.SENDING, State.UNCERTAIN, State.CONFIRMED],
        **{state: [State.SENDING, State.ACCEPTED, state] for state in (State.COLLECTED, State.RETURNED, State.EXPIRED)},
        **{state: [State.SENDING, state] for state in (State.REFUSED, State.UNCERTAIN)},
        State.SENDING: [State.SENDING],
    }
    assert set(ways) == set(OUT)
    kinds = {State.ON_HOLD: "held", State.CONFIRMED: "decided_arrived", State.UPLOADING: "accepted"}
    for number, (state, way) in enumerate(ways.items()):
        draft = outbox.Draft(recipient=recipient, workflow_id="TOC_FHIR_IP_DISCH", file_name=f"letter-{number}.txt")
        message = outbox.put(
            actor=ACTOR,
            mailbox=mailbox,
            draft=draft,
            body=[f"Letter {number}".encode()],
            again=outbox.Again(reason="a test", asked_by="the recipient"),
        )
        Outgoing.objects.filter(message=message).update(due_at=None)
        for to in way:
            changes: dict[str, Any] = {}
            if to in (State.ACCEPTED, State.UPLOADING):
                changes = {"mesh_id": f"20261124{number:012d}_FEDCBA", "sent_at": timezone.now() - timedelta(days=2)}
            elif to == State.RETURNED:
                changes = {"status_code": "14", "status_description": "Message not collected by recipient after 5 days"}
            elif to == State.COLLECTED:
                changes = {"acknowledged_at": timezone.now()}
            elif to == State.REFUSED:
                changes = {"problem": "No mailbox has the recipient's ID. (MESH code 12.)", "problem_advice": "Look it up."}
            detail = {"reason": "Their reception has it"} if to == State.CONFIRMED else {}
            records.move(message, to, kind=kinds.get(to, to.value), actor="meshportal sender", detail=detail, **changes)
        if way and state not in (State.CANCELLED, State.ON_HOLD):
            outcome = {State.UNCERTAIN: "uncertain", State.CONFIRMED: "uncertain", State.REFUSED: "refused", State.SENDING: ""}
            SendAttempt.objects.create(
                message=message, chunk=1, began_at=timezone.now(), outcome=outcome.get(state, "accepted"), problem=""
            )


def outgoing() -> dict[str, dict[str, Any]]:
    """Every sent message by local id: its state, id and whether it is leased."""
    from messages.models import Outgoing

    return {
        row.message.local_id: {
            "state": row.message.state,
            "mesh_id": row.message.mesh_id,
            "leased": row.lease_token is not None,
            "problem": row.message.problem,
        }
        for row in Outgoing.objects.select_related("message").defer("message__subject", "message__headers")
    }


def outgoing_counts() -> dict[str, int]:
    """How many sent messages are in each state."""
    return dict(Message.objects.filter(direction="out").values_list("state").annotate(Count("pk")))


def wire_folder(*, mailbox_id: str, folder: str) -> None:
    from mailboxes import services

    mailbox = Mailbox.objects.get(mailbox_id=mailbox_id)
    services.change_mailbox(actor=ACTOR, mailbox=mailbox, folder=folder, send_from_folder=True)


def folder_turn(*, die_at: int | None = None) -> int:
    """One turn at the only folder, whoever held it, in a process that dies at step ``die_at``; gives the number of steps."""
    from mailboxes.models import WatchedFolder
    from messages.folder import turn
    from tests.fleet.dying import Steps

    WatchedFolder.objects.update(due_at=datetime.now(UTC) - timedelta(seconds=1), lease_token=None, lease_until=None)
    claimed = turn.claim_due()
    assert claimed is not None
    steps = Steps(die_at)
    steps.install()
    turn.work(claimed)
    return steps.taken


def accept_all() -> None:
    """As if the sender had sent everything that is queued."""
    from messages import records
    from messages.states import State

    for message in Message.objects.filter(state=State.QUEUED):
        records.move(message, State.SENDING, kind="sending")
        records.move(message, State.ACCEPTED, kind="accepted", mesh_id=f"M{message.pk.hex}")


def sent_bodies() -> list[tuple[str, str]]:
    """The file name and the SHA-256 of every message that was queued, in whatever state."""
    rows = Payload.objects.filter(message__direction="out").order_by("message__file_name")
    return list(rows.values_list("message__file_name", "sha256"))


def pickups() -> dict[str, int]:
    """How many documents of folders are in each stage."""
    from messages.models import FolderPickup

    return dict(FolderPickup.objects.values_list("stage").annotate(Count("pk")))


# --- Bulk resends -------------------------------------------------------------------------------------------------------
def stage_returned(*, mailbox_id: str, recipient: str, number: int, workflow_id: str) -> None:
    """Sent messages that came back, each with a small body of its own, written as rows; their workflow lets them go again."""
    from django.db import transaction
    from django.utils import timezone

    from messages import receive, registry
    from messages.models import Outgoing

    mailbox = Mailbox.objects.get(mailbox_id=mailbox_id)
    workflow = registry.known(mailbox.team_id, workflow_id)
    registry.change(actor=ACTOR, workflow=workflow, name="Letters", resend_policy="allowed")
    now = timezone.now()
    rows = [
        Message(
            team_id=mailbox.team_id,
            mailbox=mailbox,
            environment=mailbox.environment,
            direction="out",
            state="returned",
            mesh_id=f"20261101{one:012d}_{workflow_id[:6]}",
            status_code="14",
            status_description="Message not collected by recipient after 5 days",
            sender=mailbox_id,
            recipient_mailbox=recipient,
            workflow_id=workflow_id,
            local_id=f"{workflow_id}-{one}",
            file_name=f"returned-{one}.txt",
            seen_at=now - timedelta(days=6, seconds=number - one),
            sent_at=now - timedelta(days=6, seconds=number - one),
            size=20,
            chunk_count=1,
        )
        for one in range(number)
    ]
    kept = [(row, payloads.write(receive.storage_key(row), [f"letter {one:013d}".encode()])) for one, row in enumerate(rows)]
    with transaction.atomic():
        Message.objects.bulk_create(rows, batch_size=200)
        Outgoing.objects.bulk_create(
            [Outgoing(message=row, chunk_size=1_000_000, own_local_id=True, requested_by="fleet") for row in rows], batch_size=200
        )
        Payload.objects.bulk_create(
            [
                Payload(message=row, storage_key=one.key, sha256=one.sha256, size=one.size, stored_size=one.stored_size)
                for row, one in kept
            ],
            batch_size=200,
        )


def browser_of(email: str) -> Any:
    """A test client signed in as the person with this address."""
    from django.conf import settings
    from django.test import Client

    from meshportal.accounts.models import User

    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    browser = Client()
    browser.force_login(User.objects.get(email=email))
    return browser


def confirm_resend(*, email: str, query: str, reason: str) -> dict[str, Any]:
    """A person looks at what a filter holds, and begins to send it again; what they saw and where it led."""
    import re

    browser = browser_of(email)
    address = f"/t/fleet/messages/sent/resend-all/?{query}"
    page = browser.get(address, secure=True).content.decode()
    digest = re.search(r'name="digest" value="([0-9a-f]+)"', page)
    assert digest is not None, page
    answer = browser.post(address, {"digest": digest[1], "reason": reason, "confirm": "on"}, secure=True)
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)
    return {"status": answer.status_code, "to": answer.headers.get("Location", ""), "heading": heading[1] if heading else ""}


def look(*, email: str, address: str) -> str:
    """The page at ``address`` as a person gets it."""
    answer = browser_of(email).get(address, secure=True)
    assert answer.status_code == 200, answer.status_code
    return str(answer.content.decode())


def bulk_counts() -> dict[str, int]:
    """How many rows of all bulk resends are in each state, and how many gestures are still under way."""
    from messages.models import BulkResend, BulkResendRow

    counts = dict(BulkResendRow.objects.values_list("state").annotate(Count("pk")))
    return {**counts, "under_way": BulkResend.objects.filter(finished_at__isnull=True).count()}


def run_resends() -> int:
    """What a worker does when the bell rings."""
    from messages import bulk_work

    return bulk_work.run_due()


def bulk_proof() -> dict[str, Any]:
    """What must hold when all came to an end: each message sent again once, as what its row says, with the same bytes; and
    what the audit holds."""
    from meshportal.audit.models import AuditEvent
    from messages.models import BulkResend, BulkResendRow, Outgoing

    gesture = BulkResend.objects.get()
    links = list(Outgoing.objects.exclude(resend_of=None).values_list("resend_of", "message"))
    rows = BulkResendRow.objects.select_related("message__payload", "new__payload")
    events = AuditEvent.objects.filter(request_id=gesture.id.hex)
    return {
        "links": len(links),
        "sent_twice": len(links) - len({old for old, _ in links}),
        "as_rows_say": set(links) == {(row.message_id, row.new_id) for row in rows},
        "same_bytes": sum(row.new is not None and row.message.payload.sha256 == row.new.payload.sha256 for row in rows),
        "readable": sum(
            row.new is not None and payloads.read_all(row.new.payload.storage_key, limit=100)[0].startswith(b"letter")
            for row in rows[:25]
        ),
        "tried_more_than_once": sum(row.tries > 1 for row in rows),
        "events": dict(events.values_list("action").annotate(Count("pk"))),
        "targets": events.filter(action="message.resent").values("target_id").distinct().count(),
        "people": list(events.values_list("actor_label", flat=True).distinct()),
        "gestures": AuditEvent.objects.filter(action="bulk_resend.begun").count(),
        "held": gesture.lease_token is not None,
    }
