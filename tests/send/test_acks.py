"""Acknowledgements by a recipient's system find their message by what they name, or stay without one; nothing is guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse

from mailboxes.models import Mailbox
from meshportal.core import payloads
from messages import acks, fhir
from messages.models import Ack, Message, Workflow
from messages.states import State
from tests.double import Double, faults
from tests.receive.conftest import BOX, Poll
from tests.send.conftest import TO, Put, Rounds, kinds, state

pytestmark = pytest.mark.django_db

FLOW, ACK = "GPCONNECT_SEND_DOCUMENT", "GPCONNECT_SEND_DOCUMENT_ACK"
NAME = "8e3b7a52-6f10-4f0c-9a51-1d2c3b4a5f60"
KINDS = {
    "business ok": ("ok", "30001", "business", "positive"),
    "infrastructure ok": ("ok", "20013", "infrastructure", "positive"),
    "business rejected": ("fatal-error", "30003", "business", "negative"),
    "infrastructure rejected": ("transient-error", "20002", "infrastructure", "negative"),
    "a yes with a code that says no": ("ok", "30002", "business", "negative"),
    "no code": ("ok", "", "", "positive"),
    "a word as code": ("fatal-error", "not-found", "", "negative"),
}


def letter(name: str = NAME) -> bytes:
    header = {"resourceType": "MessageHeader", "id": name}
    return json.dumps({"resourceType": "Bundle", "type": "message", "entry": [{"resource": header}]}).encode()


def ack_json(answers: str = NAME, response: str = "ok", code: str = "30001") -> bytes:
    header = {"resourceType": "MessageHeader", "id": "ack", "response": {"identifier": answers, "code": response}}
    issue = [{"severity": "information", "details": {"coding": [{"code": code}]}}] if code else []
    outcome = {"resourceType": "OperationOutcome", "issue": issue}
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": header}, {"resource": outcome}]}).encode()


def ack_xml(answers: str = NAME, response: str = "ok", code: str = "30001") -> bytes:
    issue = f'<issue><details><coding><code value="{code}"/></coding></details></issue>' if code else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Bundle xmlns="http://hl7.org/fhir"><entry><resource><MessageHeader>'
        f'<id value="ack"/><response><identifier value="{answers}"/><code value="{response}"/></response>'
        f"</MessageHeader></resource></entry><entry><resource><OperationOutcome>{issue}</OperationOutcome></resource></entry></Bundle>"
    ).encode()


def bomb() -> bytes:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE Bundle [<!ENTITY e0 "x">{levels}]><Bundle><id value="&e11;"/></Bundle>'.encode()


def sent(put: Put, rounds: Rounds, body: bytes = b"a letter", **fields: Any) -> Message:
    message = put(body, **{"workflow_id": FLOW, **fields})
    rounds(1)
    message.refresh_from_db()
    return message


def pair() -> int:
    Ack.objects.filter(about__isnull=True).update(due_at="2020-01-01T00:00:00Z")
    return acks.work_due()


def answer(double: Double, body: bytes = b"plain words", **fields: Any) -> None:
    double.put(BOX, body, **{"workflow_id": ACK, "sender": TO, **fields})


@pytest.mark.parametrize("form", [ack_json, ack_xml])
@pytest.mark.parametrize("said", KINDS)
def test_every_kind_is_paired_by_the_name_that_the_body_answers(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, form: Any, said: str
) -> None:
    response, code, kind, verdict = KINDS[said]
    message = sent(put, rounds, letter())
    answer(double, form(f"urn:uuid:{NAME.upper()}", response, code))
    poll(box)
    assert pair() == 1
    ack = Ack.objects.get()
    assert (ack.about, ack.kind, ack.answer, ack.code) == (message, kind, verdict, code)
    assert state(message) == State.ACCEPTED
    assert kinds(message)[-1] == ("ack_rejected" if verdict == "negative" else "ack_received")
    assert pair() == 0


@pytest.mark.parametrize(("field", "quoted"), [(f, q) for f in ("local_id", "subject") for q in ("local_id", "mesh_id")])
def test_one_that_quotes_our_ids_is_paired(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, field: str, quoted: str
) -> None:
    message = sent(put, rounds)
    answer(double, **{field: getattr(message, quoted)})
    poll(box)
    assert (pair(), Ack.objects.get().about, Ack.objects.get().answer) == (1, message, "")


def test_several_that_fit_leave_it_without_a_message(box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll) -> None:
    sent(put, rounds, letter(), local_id="ODS")
    sent(put, rounds, letter() + b" ", local_id="ODS")
    answer(double, ack_json())
    answer(double, local_id="ODS")
    poll(box)
    assert pair() == 0
    assert Ack.objects.filter(about__isnull=True).count() == 2


def test_one_that_answers_another_body_is_not_paired_by_a_local_id_that_is_not_unique(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll
) -> None:
    sent(put, rounds, letter(), local_id="ODS")
    answer(double, ack_json("another-name"), local_id="ODS")
    poll(box)
    assert pair() == 0


@pytest.mark.tenancy
@pytest.mark.parametrize("differs", ["mailbox", "team", "environment", "sender", "workflow", "no ack workflow", "report"])
def test_what_is_not_of_the_same_place_is_never_paired(
    box: Mailbox, mailbox: Any, other_team: Any, double: Double, put: Put, rounds: Rounds, poll: Poll, differs: str
) -> None:
    message = sent(put, rounds, letter())
    answer(double, ack_json(), local_id=message.local_id)
    poll(box)
    rows = Message.objects.filter(pk=message.pk)
    if differs == "mailbox":
        rows.update(mailbox=mailbox(mailbox_id="X26HC099"))
    elif differs == "team":
        rows.update(team=other_team)
    elif differs == "environment":
        rows.update(environment="int")
    elif differs == "sender":
        rows.update(recipient_mailbox="A1HC001")
    elif differs == "workflow":
        rows.update(workflow_id="OTHER")
    elif differs == "no ack workflow":
        Workflow.objects.update(ack_workflow_id="")
    else:
        Message.objects.filter(direction="in").update(message_type="REPORT")
    assert pair() == 0
    assert not Ack.objects.filter(about__isnull=False).exists()


def test_one_that_came_before_its_messages_own_commit_is_paired_later(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll
) -> None:
    message = put(letter(), workflow_id=FLOW)
    answer(double, ack_json())
    poll(box)
    Message.objects.filter(pk=message.pk).update(state=State.SENDING)
    assert pair() == 0
    Message.objects.filter(pk=message.pk).update(state=State.QUEUED)
    rounds(1)
    assert (state(message), pair()) == (State.ACCEPTED, 1)


@pytest.mark.faults
@pytest.mark.parametrize("response", ["ok", "fatal-error"])
def test_an_uncertain_message_that_is_answered_has_arrived(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, response: str
) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    message = sent(put, rounds, letter())
    assert message.state == State.UNCERTAIN
    answer(double, ack_json(response=response))
    poll(box)
    assert pair() == 1
    assert (state(message), message.problem, message.outgoing.due_at) == (State.CONFIRMED, "", None)
    double.recorder.clear()
    rounds(3)
    assert double.recorder.records() == []


@pytest.mark.fuzz
@pytest.mark.parametrize(
    "body",
    [
        bomb(),
        b"<a>" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"<Bundle",
        b"\x00\xff",
        b'{"resourceType": 1e999}',
        ack_xml() + b"<",
    ],
    ids=["bomb", "deep xml", "deep array", "deep json", "cut", "bytes", "number", "trailing"],
)
def test_a_poisonous_one_is_stored_and_acknowledged_as_always(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, body: bytes
) -> None:
    sent(put, rounds, letter())
    answer(double, body)
    poll(box)
    assert pair() == 0
    received = Message.objects.get(direction="in")
    assert (received.state, received.ack.answer, received.ack.about) == (State.ACKNOWLEDGED, "", None)


def test_one_that_kills_its_reader_is_not_read_for_ever(
    box: Mailbox, double: Double, poll: Poll, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(put, rounds)
    answer(double, ack_json())
    poll(box)
    calls: list[bytes] = []

    def die(body: bytes) -> None:
        calls.append(body)
        raise KeyboardInterrupt

    monkeypatch.setattr(fhir, "read", die)
    for _ in range(acks.MOST_READS):
        with pytest.raises(KeyboardInterrupt):
            pair()
    assert (pair(), len(calls)) == (0, acks.MOST_READS)


def test_a_large_body_is_not_read(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = sent(put, rounds, letter())
    answer(double, ack_json() + b" " * 50_000_000, local_id=message.local_id)
    poll(box)
    monkeypatch.setattr(payloads, "read_all", lambda *_a, **_k: pytest.fail("read"))
    assert (pair(), Ack.objects.get().about) == (1, message)


def test_a_body_whose_name_cannot_be_read_is_sent_all_the_same(
    put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, box: Mailbox
) -> None:
    def fail(*_rest: Any, **_more: Any) -> None:
        raise OSError("away")

    with monkeypatch.context() as broken:
        broken.setattr(payloads, "read_all", fail)
        message = put(letter(), workflow_id=FLOW)
    assert not message.body_names.exists()
    rounds(1)
    assert state(message) == State.ACCEPTED


def test_a_rejection_is_told_on_both_pages_the_list_and_the_overview(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, signed_in: Any
) -> None:
    message = sent(put, rounds, letter())
    answer(double, ack_json(response="fatal-error", code="30003"))
    answer(double, b"who knows")
    poll(box)
    pair()
    ack, lost = Ack.objects.get(about=message).message, Ack.objects.get(about__isnull=True).message
    slug, browser = message.team.slug, signed_in("viewer")

    def page(route: str, key: Any = None, **query: str) -> str:
        path = reverse(route, kwargs={"team": slug, **({"pk": key} if key else {})})
        shown: str = browser.get(path, query).content.decode()
        assert "delivered" not in shown.lower()
        return shown

    ours = page("messages:detail", message.pk)
    assert "Rejected by the recipient’s system" in ours
    assert "code 30003" in ours
    assert "A business acknowledgement" in ours
    assert str(ack.pk) in ours
    assert str(message.pk) in page("messages:detail", ack.pk)
    assert "The portal does not guess" in page("messages:detail", lost.pk)
    unmatched = page("messages:inbox", box.pk, type="acks-unmatched")
    assert lost.mesh_id in unmatched
    assert ack.mesh_id not in unmatched
    assert ack.mesh_id in page("messages:inbox", box.pk, type="acks-rejected")
    assert "in which the recipient’s system rejects a message" in page("console:overview")
