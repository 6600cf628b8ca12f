"""What a harness does with the portal's database; each call runs in a short-lived process of its own."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management import call_command
from django.db.models import Count, Q

from certificates.models import ClientIdentity
from certificates.reading import Source
from mailboxes.models import Mailbox
from meshportal.accounts.models import Team
from meshportal.audit.actors import Actor
from meshportal.core import payloads
from messages.models import Message, MessageEvent, Payload

ACTOR = Actor.command("fleet")


def migrate() -> None:
    call_command("migrate", verbosity=0)


def seed(*, certificate: str, key: str, ca: str, mailboxes: list[dict[str, Any]]) -> None:
    """A team, an identity, a trust bundle and the mailboxes; ``mailboxes`` are arguments of add_mailbox."""
    from certificates import services as certificates
    from mailboxes import services

    team = Team.objects.filter(slug="fleet").first() or Team.objects.create(name="Fleet", slug="fleet")
    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="test CA", pem=ca.encode())
    identity = ClientIdentity.objects.filter(team=team).first()
    if identity is None:
        sources = [Source("the file", certificate.encode()), Source("the key", key.encode())]
        identity, _ = certificates.import_identity(actor=ACTOR, team=team, environment="sandbox", name="fleet", sources=sources)
    for given in mailboxes:
        arguments = {"ods_code": "X26", "password": "password", "mode": "collect", "poll_interval_seconds": 1, **given}
        services.add_mailbox(
            actor=ACTOR,
            team=team,
            environment="sandbox",
            name=given["mailbox_id"],
            identity=identity,
            **arguments,
        )


def counts() -> dict[str, int]:
    """How many messages are in each state."""
    return dict(Message.objects.values_list("state").annotate(Count("pk")))


def mailboxes() -> list[dict[str, Any]]:
    return [
        {
            "mailbox_id": row.mailbox_id,
            "problem": row.problem_code,
            "sentence": row.problem,
            "leased": row.lease_token is not None,
            "slow": row.slow,
            "failures": row.consecutive_failures,
        }
        for row in Mailbox.objects.order_by("mailbox_id")
    ]


def history(*, read_bodies: bool = True) -> list[dict[str, Any]]:
    """Every message with what proves that it was kept once and whole."""
    stored = dict(MessageEvent.objects.values_list("message_id").annotate(number=Count("pk", filter=Q(kind="stored"))))
    kept = {row.message_id: row for row in Payload.objects.all()}
    rows = []
    for message in Message.objects.select_related("mailbox").order_by("mesh_id"):
        payload = kept.get(message.pk)
        digest = None
        if payload is not None and read_bodies:
            hashed = hashlib.sha256()
            for block in payloads.open_blocks(payload.storage_key):
                hashed.update(block)
            digest = hashed.hexdigest()
        rows.append(
            {
                "mesh_id": message.mesh_id,
                "mailbox": message.mailbox.mailbox_id,
                "state": message.state,
                "stored_at": _iso(message.stored_at),
                "acknowledged_at": _iso(message.acknowledged_at),
                "sha256": payload.sha256 if payload else None,
                "read_sha256": digest,
                "stored_events": stored.get(message.pk, 0),
                "attempts": message.attempts,
                "problem": message.problem_code,
            }
        )
    return rows


def release_after(*, seconds: float) -> int:
    """How many leases are still held and would not run out within ``seconds``."""
    return Mailbox.objects.filter(lease_until__gt=datetime.now(UTC) + timedelta(seconds=seconds)).count()


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def visit(*, email: str, password: str, reason: str) -> list[int]:
    """A person signs in (once wrongly), opens every page that there is for them, and reads a body; the statuses."""
    from django.conf import settings
    from django.test import Client

    from meshportal.accounts import services as accounts

    # No static files were collected here.
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    team = Team.objects.get(slug="fleet")
    person = accounts.add_person(actor=ACTOR, email=email, full_name="A Person", password=password)
    accounts.set_role(actor=ACTOR, team=team, person=person, role="manager")
    browser = Client()
    message = Message.objects.filter(payload__isnull=False).first()
    assert message is not None
    answers = [
        browser.post("/sign-in/", {"username": email, "password": f"{password}-wrong"}),
        browser.post("/sign-in/", {"username": email, "password": password}),
        browser.get("/t/fleet/"),
        browser.get("/t/fleet/mailboxes/"),
        browser.get(f"/t/fleet/mailboxes/{message.mailbox_id}/"),
        browser.get("/t/fleet/messages/", {"q": reason}),
        browser.get(f"/t/fleet/messages/{message.pk}/"),
        browser.post(f"/t/fleet/messages/{message.pk}/body/", {"why": "other", "detail": reason}),
        browser.get("/t/fleet/audit/"),
        browser.get("/t/fleet/nothing/"),
    ]
    return [answer.status_code for answer in answers]


def collect_static() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def add_people(*, password: str, emails: dict[str, str]) -> None:
    """People of the team, by role."""
    from meshportal.accounts import services as accounts

    team = Team.objects.get(slug="fleet")
    for role, email in emails.items():
        name = email.partition("@")[0].replace(".", " ").title()
        person = accounts.add_person(actor=ACTOR, email=email, full_name=name, password=password)
        accounts.set_role(actor=ACTOR, team=team, person=person, role=role)


def poll(*, mailbox_id: str, times: int = 1) -> dict[str, int]:
    """Polls one mailbox as a worker does, and what waits for its next try with it."""
    from mailboxes import polling
    from messages import turn
    from messages.tally import Tally

    tally = Tally()
    for _ in range(times):
        Message.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=datetime.now(UTC))
        claimed = polling.claim_now(Mailbox.objects.get(mailbox_id=mailbox_id))
        assert claimed is not None
        tally = turn.work(claimed)
    return {"stored": tally.stored, "failed": tally.failed}


def addresses() -> dict[str, list[str]]:
    """The address of every mailbox, of one message of each state and type, and of one body of each workflow."""
    chosen: dict[tuple[str, str], Message] = {}
    bodies: dict[tuple[str, str], Message] = {}
    for message in Message.objects.order_by("seen_at"):
        chosen.setdefault((message.state, message.message_type), message)
        if message.state in ("acknowledged", "collected"):
            bodies.setdefault((message.direction, message.workflow_id), message)
    return {
        "certificates": [f"/t/fleet/certificates/{row.pk}/" for row in ClientIdentity.objects.order_by("name")],
        "mailboxes": [f"/t/fleet/mailboxes/{row.pk}/" for row in Mailbox.objects.order_by("mailbox_id")],
        "inboxes": [f"/t/fleet/mailboxes/{row.pk}/inbox/" for row in Mailbox.objects.order_by("mailbox_id")],
        "outboxes": [f"/t/fleet/mailboxes/{row.pk}/outbox/" for row in Mailbox.objects.order_by("mailbox_id")],
        "messages": [f"/t/fleet/messages/{row.pk}/" for row in chosen.values()],
        "bodies": [f"/t/fleet/messages/{row.pk}/body/" for row in bodies.values()],
    }


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
        State.UPLOADING: [State.SENDING, State.UPLOADING],
        State.ACCEPTED: [State.SENDING, State.ACCEPTED],
        State.CONFIRMED: [State.SENDING, State.UNCERTAIN, State.CONFIRMED],
        **{state: [State.SENDING, State.ACCEPTED, state] for state in (State.COLLECTED, State.RETURNED, State.EXPIRED)},
        **{state: [State.SENDING, state] for state in (State.REFUSED, State.UNCERTAIN)},
        State.SENDING: [State.SENDING],
    }
    assert set(ways) == set(OUT)
    kinds = {State.CONFIRMED: "decided_arrived", State.UPLOADING: "accepted"}
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
        if way and state != State.CANCELLED:
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


def notify(*, name: str, **arguments: Any) -> Any:
    """An operation of the tests of alerts."""
    from tests.notify import operations

    return getattr(operations, name)(**arguments)
