"""Reports join the message that failed, whichever of the two comes first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from messages import outbox, receive, send
from messages.models import Message, Outgoing
from messages.states import State
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX, Poll
from tests.send.conftest import REPORT, Put, Rounds, kinds, state

pytestmark = pytest.mark.django_db


def test_a_report_returns_its_message(box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll) -> None:
    message = put()
    rounds(1)
    assert state(message) == State.ACCEPTED
    double.put(BOX, report={**REPORT, "linked_message_id": message.mesh_id})
    poll(box)
    assert (state(message), message.status_code) == (State.RETURNED, "14")
    report = Message.objects.get(message_type="REPORT")
    assert report.linked_message == message
    assert "report_received" in kinds(message)


def test_a_report_that_came_before_the_messages_own_commit_is_joined_later(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = put()
    real = send.accepted

    def late(late_message: Message, mesh_id: str, **rest: Any) -> None:
        double.put(BOX, report={**REPORT, "linked_message_id": mesh_id})
        poll(box)
        assert Message.objects.get(message_type="REPORT").linked_message is None
        real(late_message, mesh_id, **rest)

    monkeypatch.setattr(send, "accepted", late)
    rounds(1)
    assert state(message) == State.RETURNED
    assert Message.objects.get(message_type="REPORT").linked_message == message


@pytest.mark.faults
def test_a_report_settles_an_uncertain_message_by_its_local_id(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll
) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    message = put()
    rounds(1)
    assert state(message) == State.UNCERTAIN
    (sent,) = double.sent_by(BOX)
    double.put(BOX, report={**REPORT, "linked_message_id": sent.message_id}, local_id=message.local_id)
    poll(box)
    assert (state(message), message.mesh_id) == (State.RETURNED, sent.message_id)


def test_a_report_that_came_before_the_message_was_known_to_be_uncertain(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = put()

    def die(mesh_id: str, **_rest: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(send, "accepted", lambda _message, mesh_id, **_rest: die(mesh_id))
        with pytest.raises(KeyboardInterrupt):
            rounds()
    (sent,) = double.sent_by(BOX)
    double.put(BOX, report={**REPORT, "linked_message_id": sent.message_id}, local_id=message.local_id)
    poll(box)
    assert state(message) == State.SENDING
    double.faults.add(match={"route": "track_local"}, action=faults.status(400), times=None)
    rounds(2)
    assert (state(message), message.mesh_id) == (State.RETURNED, sent.message_id)


def test_a_report_undoes_a_decision_that_it_arrived(box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    message = put()
    rounds()
    outbox.decide(actor=ACTOR, message=message, arrived=True, reason="they rang")
    (sent,) = double.sent_by(BOX)
    double.put(BOX, report={**REPORT, "linked_message_id": sent.message_id}, local_id=message.local_id)
    poll(box)
    assert state(message) == State.RETURNED


def test_a_report_that_was_committed_in_the_same_moment_is_joined_at_the_next_look(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither transaction saw the other's row."""
    message = put()
    rounds()
    assert state(message) == State.ACCEPTED
    with monkeypatch.context() as blind:
        blind.setattr(receive, "link_report", lambda _report: None)
        double.put(BOX, report={**REPORT, "code": "17", "linked_message_id": message.mesh_id})
        poll(box)
    rounds()
    assert (state(message), message.status_code) == (State.RETURNED, "17")
    assert Message.objects.get(message_type="REPORT").linked_message == message


def test_a_report_in_a_watched_mailbox_returns_its_message(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll
) -> None:
    message = put()
    rounds()
    Mailbox.objects.update(mode=Mode.WATCH)
    box.refresh_from_db()
    assert state(message) == State.ACCEPTED
    double.put(BOX, report={**REPORT, "linked_message_id": message.mesh_id})
    poll(box)
    assert state(message) == State.RETURNED
    poll(box)
    assert kinds(message).count("report_received") == 1


@pytest.mark.parametrize("then", ["accepted", "acknowledged"])
def test_a_returned_message_that_was_put_back_is_seen(
    box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll, then: str
) -> None:
    """The service desk can put a message back for 30 days; version 2 of tracking does not say when."""
    message = put()
    rounds()
    assert state(message) == State.ACCEPTED
    long_ago = timezone.now() - timedelta(days=6)
    Message.objects.update(sent_at=long_ago, seen_at=long_ago)
    double.withdraw(message.mesh_id)
    poll(box)
    assert state(message) == State.RETURNED
    Message.objects.filter(pk=message.pk).update(status_at=timezone.now() - timedelta(days=1))
    due = Outgoing.objects.get().due_at
    assert due is not None and due > timezone.now() + timedelta(hours=20)
    rounds()
    assert state(message) == State.RETURNED
    with double.state.lock:
        known = double.state.messages[message.mesh_id]
        double.state.deliver(known)
        if then == "acknowledged":
            double.state.acknowledge(known)
    rounds()
    assert state(message) == (State.ACCEPTED if then == "accepted" else State.COLLECTED)
    if then == "accepted":
        assert "put_back" in kinds(message)
        assert message.leaves_inbox_at > timezone.now() + timedelta(days=4)


def test_a_message_returned_for_good_is_not_asked_about(double: Double, put: Put, rounds: Rounds) -> None:
    message = put()
    rounds()
    Message.objects.update(state=State.RETURNED, status_code="17", status_description="")
    double.recorder.clear()
    rounds(3)
    assert (state(message), Outgoing.objects.get().due_at) == (State.RETURNED, None)
    assert double.recorder.records() == []
