"""One of everything that a team can have, and another team with its own."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from meshportal.core import payloads
from tests.conftest import Make, MakeMember


@pytest.fixture
def world(team: Any, other_team: Any, mailbox: Make, message: Make, member: MakeMember) -> dict[str, Any]:
    """A mailbox and messages of ``team``, in every state that an act needs, and another team with its own."""
    from certificates.models import ClientIdentity
    from mailboxes.models import Outlet
    from messages import registry
    from messages.models import HandOver

    box = mailbox()
    theirs = mailbox(team=other_team, mailbox_id="RH8HC001")
    stored = message(mailbox=box, body=b"a letter", subject="PLANTED-SUBJECT")
    outlet = Outlet.objects.create(team=team, mailbox=box, channel="folder", enabled=True)
    HandOver.objects.create(team=team, message=stored, outlet=outlet, state="failed", problem="The share is away.")
    quarantined = message(mailbox=box, state="quarantined")
    queued = message(mailbox=box, state="queued", body=b"a letter to go", subject="PLANTED-SUBJECT")
    uncertain = message(mailbox=box, state="uncertain", body=b"a letter gone", subject="PLANTED-SUBJECT")
    returned = message(mailbox=box, state="returned", body=b"a letter that came back", subject="PLANTED-SUBJECT")
    message(mailbox=theirs, body=b"their letter")
    written_down(other_team, "G81086", theirs.mailbox_id)
    begun(other_team, message(mailbox=theirs, state="returned", body=b"their letter that came back"))
    alert, channel = warned(team, box.name)
    warned(other_team, theirs.mailbox_id)
    return {
        "alert": alert,
        "channel": channel,
        "team": team,
        "mailbox": box,
        "stored": stored,
        "quarantined": quarantined,
        "queued": queued,
        "uncertain": uncertain,
        "returned": returned,
        "workflow": registry.known(team.pk, "TOC_FHIR_IP_DISCH"),
        "composed": composed(box),
        "resend": begun(team, returned),
        "identity": ClientIdentity.objects.get(team=team, name="Midshire 2026"),
        "asked": asked(team),
        "roll_over": rolling(box),
        "onboarding": onboarded(team),
        "imports": [filed(team, 1), filed(team, 2, apply=True)],
        "their_import": filed(other_team, 3),
        "entry": written_down(team, "G81086", "YGM24HC001"),
        "case": switching(team, box),
        "client": brought(team, "X26CLIENT1"),
        "their_client": brought(other_team, "RH8HC001C"),
    }


def onboarded(team: Any) -> Any:
    """A mailbox on its way into use, with the answers of its first step."""
    from mailboxes import onboarding
    from meshportal.audit.actors import Actor

    answers = {"ods_code": "X26", "organisation_name": "Midshire", "organisation_type": "trust", "environment": "sandbox"}
    return onboarding.begin(actor=Actor.command("test"), team=team, purpose="Pathology", **answers)


def written_down(team: Any, code: str, mailbox_id: str) -> Any:
    """An entry of the address book whose mailbox MESH does not answer any more, and what was answered."""
    from django.utils import timezone

    from mailboxes.addresses import answers, services
    from mailboxes.models import AddressPair
    from meshportal.audit.actors import Actor

    entry = services.add(
        actor=Actor.command("test"), team=team, environment="sandbox", ods_code=code, workflow_id="TOC_FHIR_IP_DISCH",
        mailbox_id=mailbox_id,
    )  # fmt: skip
    now, results = timezone.now(), [{"id": "X26HC099", "name": "New"}]
    AddressPair.objects.filter(pk=entry.pair_id).update(asked_at=now, answered_at=now, results=results)
    answers.keep(AddressPair.objects.get(pk=entry.pair_id), results, now)
    return entry


def switching(team: Any, box: Any) -> Any:
    """A frozen switch of a practice that holds a message."""
    from mailboxes.models import CaseAddress, Organisation, SwitchCase
    from meshportal.audit.actors import Actor
    from messages import outbox

    practice = Organisation.objects.create(ods_code="G81087", name="Example Surgery")
    values = {"environment": box.environment, "organisation": practice, "came_from": "confirmed", "state": "frozen"}
    case = SwitchCase.objects.create(team=team, **values)
    CaseAddress.objects.create(case=case, workflow_id="TEST", old_mailbox="G81087GP1")
    draft = outbox.Draft(recipient="G81087GP1", workflow_id="TEST", subject="PLANTED-SUBJECT")
    assert outbox.put(actor=Actor.command("test"), mailbox=box, draft=draft, body=[b"held"]).state == "on_hold"
    return case


def rolling(box: Any) -> Any:
    """A roll-over of ``box`` whose test passed."""
    from certificates.models import ClientIdentity
    from mailboxes import rollover
    from meshportal.audit.actors import Actor

    old = box.identity
    fields = {field.attname: getattr(old, field.attname) for field in ClientIdentity._meta.fields}
    new = ClientIdentity.objects.create(**{**fields, "id": uuid.uuid4(), "name": "Midshire 2029", "fingerprint": "1" * 64})
    made = rollover.begin(actor=Actor.command("test"), team=box.team, old=old, new=new)
    made.rows.update(test="passed")
    return made


def filed(team: Any, number: int, *, apply: bool = False) -> Any:
    """A file of one mailbox, looked at or carried out too."""
    from mailboxes import importing
    from meshportal.audit.actors import Actor

    head = "mailbox_id,environment,ods_code,name,password"
    data = f"{head}\nX26CSV{number},sandbox,X26,PLANTED of {team.slug},PLANTED-password".encode()
    made = importing.prepare(actor=Actor.command("test"), team=team, data=data, file_name=f"{team.slug}.csv")
    if apply:
        importing.apply(actor=Actor.command("test"), imported=made, digest=made.digest)
        made.refresh_from_db()
    return made


def brought(team: Any, mailbox_id: str) -> Any:
    """The files of a MESH client that wait."""
    from datetime import timedelta

    from django.utils import timezone

    from mailboxes.models import ClientImport
    from meshportal.audit.actors import Actor

    box = {"line": 2, "mailbox_id": mailbox_id, "kind": "add", "typed": True, "interface_root": ""}
    now = timezone.now()
    return ClientImport.objects.create(
        team=team,
        environment="sandbox",
        held={"passphrase": "PLANTED"},
        boxes=[box],
        certificate={"name": team.name, "subject": mailbox_id, "known": False, "until": now.isoformat(), "ods_code": "X26"},
        expires_at=now + timedelta(hours=1),
        **ClientImport.asked_by_actor(Actor.command("test")),
    )


def asked(team: Any) -> Any:
    """A request for a certificate that has not come."""
    from certificates.models import CertificateRequest

    return CertificateRequest.objects.create(
        team=team, environment="int", name="To come", local_id="X26HC001", ods_code="X26", organisation="Midshire", why="new",
        key_size=2048, csr_pem="a request", private_key="PLANTED key",
    )  # fmt: skip


def composed(box: Any) -> Any:
    """A message that waits for its last word, with its file."""
    from messages.models import Composed

    kept = payloads.write(f"composed/{box.pk}", [b"a letter that is not sent yet"])
    facts = {"storage_key": kept.key, "sha256": kept.sha256, "size": kept.size, "stored_size": kept.stored_size}
    given = {"recipient": "YGM24HC001", "known": "traffic", "workflow_id": "TEST", "subject": "PLANTED-SUBJECT", **facts}
    return Composed.objects.create(team=box.team, mailbox=box, made_by="somebody", author="other", **given)


def begun(team: Any, row: Any) -> Any:
    """A bulk resend that waits for its worker."""
    from meshportal.audit.actors import Actor
    from messages import bulk, registry, selectors
    from messages.states import Direction

    workflow = registry.known(team.pk, row.workflow_id)
    registry.change(actor=Actor.command("test"), workflow=workflow, resend_policy="allowed")
    rows = selectors.listed(team, Direction.OUT).filter(state="returned")
    digest = bulk.plan(team, rows).digest
    return bulk.start(
        actor=Actor.command("test"), team=team, rows=rows, digest=digest, reason="because", filters=[("State", "Returned")]
    )


def warned(team: Any, name: str) -> tuple[Any, Any]:
    """An alert, and a channel that is told of it."""
    from meshportal.audit.actors import Actor
    from meshportal.notify import channels, registry, services

    kind = registry.kinds()[0].name
    condition = registry.Condition(kind=kind, key="one", subject=name, sentence="is not well.", team=team)
    alert = services.raise_alert(actor=Actor.system("tests"), condition=condition)
    config = {"url": "https://hook.example/PLANTED-SUBJECT", "secret": "a secret of the tests"}
    channel = channels.add(actor=Actor.command("test"), team=team, name=f"Channel of {name}", transport="webhook", config=config)
    return alert, channel
