"""Sending: once, or uncertain; never silently twice, never lost (promise P3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from meshportal.audit.models import AuditEvent
from meshportal.core import payloads
from meshportal.core.acts import Refused
from meshportal.mesh import MeshClient
from messages import outbox, send
from messages.models import Message, Outgoing, Payload, SendAttempt
from messages.states import State
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX
from tests.send.conftest import Put, Rounds, arrived, kinds, state

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 3500])
@pytest.mark.usefixtures("small_chunks")
def test_a_message_arrives_once_and_whole(double: Double, put: Put, rounds: Rounds, size: int, compress: bool) -> None:
    body = bytes(number % 251 for number in range(size))
    message = put(body, subject="A subject", file_name="letter.txt", content_type="text/plain", compress=compress)
    rounds()
    assert state(message) == State.ACCEPTED
    (sent,) = double.sent_by(BOX)
    assert (sent.message_id, sent.subject, sent.file_name, sent.local_id) == (
        message.mesh_id,
        "A subject",
        "letter.txt",
        message.local_id,
    )
    assert arrived(double) == [body]
    assert [attempt.outcome for attempt in SendAttempt.objects.order_by("id")] == ["accepted"] * max(1, -(-size // 1000))
    assert message.sent_at is not None
    assert message.problem == ""
    assert Outgoing.objects.get().lease_token is None


def test_the_attempt_is_committed_before_the_request(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = put()
    real = MeshClient.send

    def checked(client: MeshClient, *args: Any, **kwargs: Any) -> Any:
        assert SendAttempt.objects.get(message=message).outcome == ""
        assert Message.objects.get(pk=message.pk).state == State.SENDING
        return real(client, *args, **kwargs)

    monkeypatch.setattr(MeshClient, "send", checked)
    rounds()
    assert state(message) == State.ACCEPTED


@pytest.mark.faults
@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize("when", ["before_body", "during_body", "after"])
def test_a_first_request_without_an_answer_is_uncertain_and_then_settled(
    double: Double, put: Put, rounds: Rounds, when: Any
) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop(when))
    message = put()
    rounds()
    assert state(message) == State.UNCERTAIN
    assert len([record for record in double.recorder.records() if record.route == "send"]) == 1
    assert message.problem_code == "uncertain"
    rounds(10)
    assert state(message) == State.ACCEPTED
    assert arrived(double) == [b"a letter"]
    assert ("never_arrived" in kinds(message)) == (when != "after")


@pytest.mark.faults
@pytest.mark.usefixtures("small_chunks", "earlier")
@pytest.mark.parametrize("chunk", [1, 2, 3, 4])
@pytest.mark.parametrize("when", ["before_body", "during_body", "after", "during_answer"])
def test_a_chunk_without_an_answer_is_sent_again_until_all_are_there(
    double: Double, put: Put, rounds: Rounds, when: Any, chunk: int
) -> None:
    body = b"0123456789" * 350
    match = {"route": "send"} if chunk == 1 else {"route": "send_chunk", "chunk": chunk}
    double.faults.add(match=match, action=faults.drop(when), times=2)
    message = put(body)
    rounds(12)
    assert state(message) == State.ACCEPTED
    assert arrived(double) == [body]


@pytest.mark.crash
@pytest.mark.usefixtures("small_chunks", "earlier")
@pytest.mark.parametrize("where", ["before_request", "before_id", "after_id", "between_chunks", "after_last_chunk"])
def test_dying_at_each_step_sends_once(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The crash table of messages.send: a KeyboardInterrupt passes every handler, as death does."""
    body = b"0123456789" * 250
    message = put(body)

    def die(*_args: Any, **_kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        if where == "before_request":
            broken.setattr(MeshClient, "send", die)
        elif where == "before_id":
            broken.setattr(send, "accepted", die)
        else:
            real_begin, real_taken = send._Sending._begin, send._Sending._taken

            def begin(sending: Any, chunk: int) -> None:
                if (where, chunk) in (("after_id", 2), ("between_chunks", 3)):
                    die()
                real_begin(sending, chunk)

            def taken(sending: Any, chunk: int) -> None:
                if (where, chunk) == ("after_last_chunk", 3):
                    die()
                real_taken(sending, chunk)

            broken.setattr(send._Sending, "_begin", begin)
            broken.setattr(send._Sending, "_taken", taken)
        with pytest.raises(KeyboardInterrupt):
            rounds()
    rounds(12)
    assert state(message) == State.ACCEPTED
    assert arrived(double) == [body]
    assert len(double.sent_by(BOX)) == 2  # with the earlier one


@pytest.mark.faults
def test_an_uncertain_message_that_mesh_cannot_tell_of_waits_for_a_person(double: Double, put: Put, rounds: Rounds) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    double.faults.add(match={"route": "track_local"}, action=faults.status(400), times=None)
    message = put()
    rounds(30)
    assert state(message) == State.UNCERTAIN
    assert Outgoing.objects.get().due_at is None
    assert len(double.sent_by(BOX)) == 1


@pytest.mark.faults
def test_an_own_local_id_is_no_proof(double: Double, put: Put, rounds: Rounds) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("before_body"))
    message = put(local_id="RJ1")
    rounds(10)
    assert state(message) == State.UNCERTAIN
    assert double.sent_by(BOX) == []


@pytest.mark.parametrize("arrived_by", ["person", "again"])
@pytest.mark.faults
def test_a_person_decides(double: Double, put: Put, rounds: Rounds, arrived_by: str) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("before_body"))
    message = put(local_id="RJ1")
    rounds()
    with pytest.raises(Refused, match="how you know"):
        outbox.decide(actor=ACTOR, message=message, arrived=True, reason=" ")
    outbox.decide(actor=ACTOR, message=message, arrived=arrived_by == "person", reason="the practice rang")
    rounds(3)
    assert state(message) == (State.CONFIRMED if arrived_by == "person" else State.ACCEPTED)
    assert len(double.sent_by(BOX)) == (0 if arrived_by == "person" else 1)
    with pytest.raises(Refused, match="any more"):
        outbox.decide(actor=ACTOR, message=message, arrived=True, reason="again")
    assert AuditEvent.objects.filter(action="message.decided").count() == 1


@pytest.mark.faults
@pytest.mark.parametrize("action", [faults.status(503), faults.status(429), faults.refuse_tls("reset")])
def test_what_surely_did_not_arrive_is_tried_again(double: Double, put: Put, rounds: Rounds, action: Any) -> None:
    match = {} if action["kind"] == "refuse_tls" else {"route": "send"}
    double.faults.add(match=match, action=action, times=3)
    message = put()
    rounds(8)
    assert state(message) == State.ACCEPTED
    assert arrived(double) == [b"a letter"]


def test_nothing_is_lost_while_mesh_is_down(double: Double, put: Put, rounds: Rounds) -> None:
    double.down()
    message = put()
    rounds(3)
    assert state(message) == State.QUEUED
    assert message.problem_code == "connection_refused"
    double.up()
    rounds()
    assert state(message) == State.ACCEPTED


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"recipient": "NOBODY"}, "mesh_12"), ({"workflow_id": "OTHER"}, "mesh_17")],
)
def test_what_mesh_refuses_is_refused_for_good_with_what_to_do(
    double: Double, put: Put, rounds: Rounds, fields: dict[str, str], code: str
) -> None:
    double.configure(enforce_workflows=True)
    message = put(**fields)
    rounds(5)
    assert state(message) == State.REFUSED
    assert message.problem_code == code
    assert len(message.problem_advice) > 20
    assert len([record for record in double.recorder.records() if record.route == "send"]) == 1


def test_a_body_that_cannot_be_read_waits_for_it_and_is_refused_in_the_end(
    double: Double, put: Put, rounds: Rounds, settings: Any
) -> None:
    """The storage may be away for an hour, or a key not set: that refuses nobody's letters."""
    message = put()
    file = Path(payloads.storage().path(Payload.objects.get().storage_key))
    whole = file.read_bytes()
    for damaged in (None, whole[:-20], whole[:100]):
        file.unlink(missing_ok=True) if damaged is None else file.write_bytes(damaged)
        rounds()
        assert (state(message), message.problem_code) == (State.QUEUED, "body_unreadable")
    assert double.sent_by(BOX) == []
    file.write_bytes(whole)
    rounds()
    assert state(message) == State.ACCEPTED

    settings.MAX_NETWORK_ATTEMPTS = 2
    message = put()
    payloads.delete(Payload.objects.get(message=message).storage_key)
    rounds(2)
    assert (state(message), message.problem_code) == (State.REFUSED, "body_missing")
    assert len(double.sent_by(BOX)) == 1


def test_a_purged_body_is_refused_and_nothing_is_sent(double: Double, put: Put, rounds: Rounds) -> None:
    message = put()
    Payload.objects.update(purged_at=timezone.now())
    rounds()
    assert (state(message), message.problem_code) == (State.REFUSED, "body_missing")
    assert double.sent_by(BOX) == []


def test_a_paused_mailbox_sends_nothing(double: Double, box: Mailbox, put: Put, rounds: Rounds) -> None:
    message = put()
    Mailbox.objects.update(mode=Mode.PAUSED)
    rounds(3)
    assert state(message) == State.QUEUED
    assert double.recorder.records() == []


def test_a_wrong_password_waits_for_a_person_and_loses_nothing(double: Double, put: Put, rounds: Rounds) -> None:
    double.update_mailbox(BOX, password="another")
    message = put()
    rounds()
    assert (state(message), message.problem_code) == (State.QUEUED, "sign_in_refused")
    double.update_mailbox(BOX, password="password")
    rounds()
    assert state(message) == State.ACCEPTED
