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


def seed_team(*, ca: str) -> None:
    """A team and a trust bundle, and nothing else."""
    from certificates import services as certificates

    Team.objects.create(name="Fleet", slug="fleet")
    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="test CA", pem=ca.encode())


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


def test_certificates() -> int:
    """Works the tests of roll-overs that wait, as a worker does."""
    from mailboxes import handshakes

    return handshakes.run_due()


def clean_install(*, ca: str, email: str, password: str) -> None:
    """What whoever runs the portal does once, by the commands of the README: a trust bundle, a team and its first manager."""
    from certificates import services as certificates
    from meshportal.accounts import services as accounts

    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="test CA", pem=ca.encode())
    team = accounts.add_team(actor=ACTOR, name="Newtown", slug="newtown")
    person = accounts.add_person(actor=ACTOR, email=email, full_name="Nora New", password=password)
    accounts.set_role(actor=ACTOR, team=team, person=person, role="manager")


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


def notify(*, name: str, **arguments: Any) -> Any:
    """An operation of the tests of alerts."""
    from tests.notify import operations

    return getattr(operations, name)(**arguments)


def stage_calendar(**arguments: str) -> str:
    """A team of its own, for the tests of the calendar."""
    from tests.certificates import staging

    return staging.stage(**arguments)


def betray(**arguments: str) -> None:
    """Secrets written down on purpose, as the control of the search for them."""
    from tests.secrets import betraying

    betraying.betray(**arguments)
