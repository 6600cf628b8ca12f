"""Sending while others go on meanwhile: late answers, late reports, decisions in the very moment, mailboxes that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connections
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from meshportal.core import lease
from meshportal.core.acts import Refused
from meshportal.mesh import MeshClient, Tracking, errors
from messages import dispatch, outbox, receive, send, shares, track
from messages.models import Message, MessageEvent, Outgoing, SendAttempt
from messages.states import State
from tests.conftest import Make
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX, Poll
from tests.send.conftest import make_due
from tests.send.test_send import REPORT, Put, Rounds, arrived, kinds, small_chunks, state

__all__ = ["small_chunks"]

pytestmark = pytest.mark.django_db


def answering(monkeypatch: pytest.MonkeyPatch, during: Callable[[], object], *, when: str = "before") -> None:
    """Runs ``during`` once, before the first request of a message or after its answer, as others would meanwhile."""
    real = MeshClient.send
    left = [during]

    def slow(client: MeshClient, *args: Any, on_accepted: Any, **kwargs: Any) -> Any:
        if left and when == "before":
            left.pop()()

        def late(mesh_id: str) -> None:
            if left and when == "after":
                left.pop()()
            on_accepted(mesh_id)

        return real(client, *args, on_accepted=late, **kwargs)

    monkeypatch.setattr(MeshClient, "send", slow)


def take_over() -> Outgoing:
    """Another worker claims the message whose lease ran out."""
    make_due()
    claimed = send.claim_due() or track.claim_due()
    assert claimed is not None
    return claimed


# --- The answer of the first request comes late -----------------------------------------------------------------------
def test_an_answer_that_comes_after_the_lease_was_lost_is_kept(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = put()
    answering(monkeypatch, lambda: dispatch.work(take_over()), when="after")
    rounds()
    assert (state(message), kinds(message)) == (State.ACCEPTED, ["queued", "sending", "uncertain", "accepted"])
    rounds(3)
    assert arrived(double) == [b"a letter"]


@pytest.mark.parametrize("meanwhile", ["again", "arrived", "again and cancelled"])
def test_an_answer_that_comes_after_a_decision_is_kept(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The worker stood still so long that its message was given up, and decided about."""
    message = put(local_id="OURS")

    def decide() -> None:
        dispatch.work(take_over())
        outbox.decide(actor=ACTOR, message=message, arrived=meanwhile == "arrived", reason="they rang")
        if meanwhile == "again and cancelled":
            outbox.cancel(actor=ACTOR, message=message, reason="they have it")

    answering(monkeypatch, decide, when="after")
    rounds()
    (sent,) = double.sent_by(BOX)
    assert (state(message), message.mesh_id) == (State.ACCEPTED, sent.message_id)
    rounds(3)
    assert arrived(double) == [b"a letter"]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("size", [8, 2500])
def test_a_message_that_was_taken_twice_says_so(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Two answers, two ids: the second must neither vanish nor go on uploading as if it were the first."""
    message = put(b"x" * size, local_id="OURS")

    def again() -> None:
        dispatch.work(take_over())
        outbox.decide(actor=ACTOR, message=message, arrived=False, reason="they rang")
        dispatch.work(take_over())

    answering(monkeypatch, again, when="after")
    rounds()
    rounds(3)
    first, second = double.sent_by(BOX)
    assert (state(message), message.mesh_id) == (State.ACCEPTED, second.message_id)
    (told,) = MessageEvent.objects.filter(message=message, kind="accepted_again")
    assert told.detail == {"message_id": first.message_id}
    # Of a larger one the recipient sees one: the other upload stays unfinished.
    assert len(arrived(double)) == (2 if size == 8 else 1)


def test_a_decision_in_the_moment_of_a_look_is_not_overwritten(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("before_body"))
    message = put(local_id="OURS")
    rounds()
    assert state(message) == State.UNCERTAIN
    real = track._reconcile

    def meanwhile(*args: Any) -> Any:
        outbox.decide(actor=ACTOR, message=message, arrived=False, reason="they rang")
        return real(*args)

    monkeypatch.setattr(track, "_reconcile", meanwhile)
    rounds()
    assert state(message) == State.QUEUED
    assert Outgoing.objects.get().due_at is not None
    rounds()
    assert state(message) == State.ACCEPTED


@pytest.mark.parametrize("status", [201, 204, 299])
def test_every_kind_of_success_may_be_an_acceptance(double: Double, put: Put, rounds: Rounds, status: int) -> None:
    double.faults.add(match={"route": "send"}, action=faults.status(status, "empty", processed=True))
    message = put()
    rounds()
    assert state(message) == State.UNCERTAIN
    rounds(2)
    assert state(message) == State.ACCEPTED
    assert arrived(double) == [b"a letter"]


@pytest.mark.django_db(transaction=True)
def test_a_cancel_in_the_moment_of_the_first_request_waits_for_it(
    double: Double, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever locks the message and its sending does so in one order: else the database ends one of the two."""
    message = put()
    claimed = send.claim_due()
    assert claimed is not None
    told: list[BaseException] = []

    def cancel() -> None:
        try:
            outbox.cancel(actor=ACTOR, message=message, reason="wrong document")
        except Exception as error:
            told.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=cancel)
    real = lease.hold

    def hold(row: Any) -> None:
        real(row)
        if not thread.ident:
            thread.start()
            time.sleep(0.5)

    monkeypatch.setattr(lease, "hold", hold)
    dispatch.work(claimed)
    thread.join()
    assert [type(error) for error in told] == [Refused]
    assert state(message) == State.ACCEPTED


# --- Nothing found ----------------------------------------------------------------------------------------------------
@pytest.mark.faults
def test_not_found_proves_nothing_where_local_ids_are_not_tracked(double: Double, put: Put, rounds: Rounds, earlier: Any) -> None:
    """The call is deprecated. A service without it answers 404 to every local id, also of messages that it accepted."""
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    double.faults.add(match={"route": "track_local"}, action=faults.status(404, "string", message="Not Found"), times=None)
    message = put()
    rounds(30)
    assert state(message) == State.UNCERTAIN
    assert Outgoing.objects.get(message=message).due_at is None
    assert arrived(double) == [b"a letter"]


@pytest.mark.faults
def test_not_found_proves_nothing_before_a_message_was_ever_found(double: Double, put: Put, rounds: Rounds) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("before_body"))
    message = put()
    rounds(8)
    assert state(message) == State.UNCERTAIN
    put(b"an earlier letter")
    rounds(8)
    assert state(message) == State.ACCEPTED


@pytest.mark.faults
def test_looks_that_failed_are_no_looks_that_found_nothing(double: Double, put: Put, rounds: Rounds, earlier: Any) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("before_body"))
    message = put()
    rounds()
    double.faults.add(match={"route": "track_local"}, action=faults.status(400), times=track.LOOKS_FOR_NOTHING)
    rounds(track.LOOKS_FOR_NOTHING + 1)
    assert state(message) == State.UNCERTAIN
    rounds(track.LOOKS_FOR_NOTHING)
    assert state(message) == State.ACCEPTED


@pytest.mark.faults
def test_a_message_that_is_lost_every_time_is_left_to_a_person(double: Double, put: Put, rounds: Rounds, earlier: Any) -> None:
    double.faults.add(match={"route": "send"}, action=faults.status(500), times=None)
    message = put()
    rounds(60)
    assert state(message) == State.UNCERTAIN
    assert Outgoing.objects.get(message=message).due_at is None
    assert len([one for one in double.recorder.records() if one.route == "send"]) == 6


@pytest.mark.usefixtures("small_chunks")
def test_a_whole_message_that_mesh_still_works_on_is_accepted(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    message = put()
    rounds()
    (sent,) = double.sent_by(BOX)
    found = Tracking(raw={}, message_id=sent.message_id, status="uploading", uploaded_at=timezone.now() - timedelta(hours=1))
    monkeypatch.setattr(MeshClient, "track_by_local_id", lambda *_args: found)
    rounds()
    assert state(message) == State.ACCEPTED
    # The five days count from when MESH took it, not from when that was found out.
    assert message.sent_at == found.uploaded_at


# --- Reports ------------------------------------------------------------------------------------------------------------
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


# --- Chunks -----------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("small_chunks")
def test_a_finalised_upload_that_was_returned_is_returned(
    double: Double, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last chunk arrived, its answer did not, and the recipient's mailbox is closed: 423 for ever after."""
    message = put(b"x" * 2500)
    double.faults.add(match={"route": "send_chunk", "chunk": 3}, action=faults.status(503, processed=True))
    double.update_mailbox("YGM24HC001", active=False)
    rounds(4)
    assert (state(message), message.status_code) == (State.RETURNED, "14")


@pytest.mark.usefixtures("small_chunks")
def test_a_pause_stops_a_long_upload_at_the_next_chunk(
    double: Double, box: Mailbox, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = put(b"x" * 3500)
    real = send._Sending._taken

    def taken(sending: Any, chunk: int) -> None:
        real(sending, chunk)
        Mailbox.objects.update(mode=Mode.PAUSED)

    with monkeypatch.context() as paused:
        paused.setattr(send._Sending, "_taken", taken)
        rounds(5)
    assert (state(message), Outgoing.objects.get().next_chunk) == (State.UPLOADING, 3)
    Mailbox.objects.update(mode=Mode.COLLECT)
    rounds()
    assert state(message) == State.ACCEPTED
    assert arrived(double) == [b"x" * 3500]


def test_a_pause_in_the_very_moment_sends_nothing(double: Double, box: Mailbox, put: Put) -> None:
    message = put()
    claimed = send.claim_due()
    assert claimed is not None
    Mailbox.objects.update(mode=Mode.PAUSED)
    dispatch.work(claimed)
    assert state(message) == State.QUEUED
    assert not SendAttempt.objects.exists()
    assert double.recorder.records() == []


def test_what_a_dead_worker_left_is_settled_in_a_paused_mailbox_too(
    box: Mailbox, put: Put, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = put()

    def die(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(MeshClient, "send", die)
        with pytest.raises(KeyboardInterrupt):
            rounds()
    Mailbox.objects.update(mode=Mode.PAUSED)
    rounds(3)
    assert state(message) == State.UNCERTAIN


# --- Mailboxes that fail ------------------------------------------------------------------------------------------------
@pytest.fixture
def other_box(double: Double, mailbox: Make, real_identity: Any) -> Mailbox:
    double.add_mailbox("X26HC002")
    made: Mailbox = mailbox(mailbox_id="X26HC002", identity=real_identity)
    return made


def queue(mailbox: Mailbox, number: int) -> list[Message]:
    draft = outbox.Draft(recipient="YGM24HC001", workflow_id="TEST_WORKFLOW")
    return [
        outbox.put(
            actor=ACTOR,
            mailbox=mailbox,
            draft=draft,
            body=[b"%d" % one],
            again=outbox.Again(reason="a test", asked_by="the recipient"),
        )
        for one in range(number)
    ]


def test_a_mailbox_with_much_to_send_leaves_threads_to_the_others(box: Mailbox, other_box: Mailbox, settings: Any) -> None:
    settings.SEND_THREADS = 4
    queue(box, 10)
    late = queue(other_box, 1)[0]
    claimed = [send.claim_due() for _ in range(3)]
    assert [one.message.mailbox for one in claimed if one is not None] == [box, box, other_box]
    assert claimed[2] is not None and claimed[2].message_id == late.pk
    assert send.claim_due() is None


def test_a_refused_sign_in_is_not_hammered(double: Double, box: Mailbox, other_box: Mailbox, settings: Any) -> None:
    settings.RETRY_BASE_SECONDS = 60
    double.update_mailbox(BOX, password="another")
    queue(box, 5)
    others = queue(other_box, 2)
    while (claimed := send.claim_due()) is not None:
        dispatch.work(claimed)
    assert [state(message) for message in others] == [State.ACCEPTED] * 2
    assert len([one for one in double.recorder.records() if one.mailbox == BOX]) == 1
    assert Outgoing.objects.filter(due_at__gt=timezone.now() + timedelta(seconds=30), message__mailbox=box).count() == 5
    double.update_mailbox(BOX, password="password")
    make_due()
    while (claimed := send.claim_due()) is not None:
        dispatch.work(claimed)
    assert Message.objects.filter(mailbox=box, state=State.ACCEPTED).count() == 5


def test_a_wait_that_mesh_asks_for_is_kept(double: Double, box: Mailbox) -> None:
    double.faults.add(match={"route": "send"}, action=faults.status(429, retry_after=1800))
    queue(box, 2)
    claimed = send.claim_due()
    assert claimed is not None
    dispatch.work(claimed)
    assert send.claim_due() is None
    assert Outgoing.objects.filter(due_at__gt=timezone.now() + timedelta(minutes=29)).count() == 2


@pytest.mark.parametrize("status", [404, 410])
def test_a_wrong_address_refuses_no_message_for_good(double: Double, put: Put, rounds: Rounds, status: int) -> None:
    double.faults.add(match={"route": "send"}, action=faults.status(status))
    message = put()
    rounds()
    assert state(message) == State.QUEUED
    rounds()
    assert state(message) == State.ACCEPTED


def test_a_request_that_is_too_large_for_what_stands_before_mesh_is_refused(double: Double, put: Put, rounds: Rounds) -> None:
    double.configure(max_body=5)
    message = put()
    rounds(3)
    assert (state(message), message.problem_code) == (State.REFUSED, "too_large")


def test_columns_that_the_keys_do_not_open_are_a_sentence(put: Put, rounds: Rounds, settings: Any) -> None:
    message = put(subject="S")
    kept = settings.MESHPORTAL_KEYS
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    rounds()
    found = Message.objects.values("state", "problem_code").get()
    assert found == {"state": State.QUEUED, "problem_code": "secret_unreadable"}
    assert Outgoing.objects.get().lease_token is None
    settings.MESHPORTAL_KEYS = kept
    rounds()
    assert state(message) == State.ACCEPTED
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    rounds()
    assert Outgoing.objects.get().lease_token is None


def test_an_uncertain_message_is_looked_for_before_the_others(double: Double, box: Mailbox, put: Put, rounds: Rounds) -> None:
    for number in range(3):
        put(b"%d" % number)
    rounds(3)
    Outgoing.objects.update(due_at=timezone.now() - timedelta(hours=1))
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    message = put()
    claimed = send.claim_due()
    assert claimed is not None
    dispatch.work(claimed)
    Outgoing.objects.filter(message=message).update(due_at=timezone.now())
    looked = track.claim_due()
    assert looked is not None
    assert looked.message_id == message.pk


def test_what_concerns_the_whole_mailbox() -> None:
    lost = errors.SendUncertain("?")
    lost.__cause__ = errors.ResponseTimeout("?")
    broken = errors.SendUncertain("?")
    broken.__cause__ = errors.ServerError("?")
    found = {
        type(error).__name__: shares.concerns_mailbox(error)
        for error in (
            errors.AuthenticationFailed(),
            errors.HostUnknown(),
            errors.Refused(),
            errors.ServerError(),
            errors.Unavailable(),
        )
    }
    assert found == {
        "AuthenticationFailed": True,
        "HostUnknown": True,
        "Refused": False,
        "ServerError": False,
        "Unavailable": False,
    }
    assert (shares.concerns_mailbox(lost), shares.concerns_mailbox(broken)) == (True, False)


def test_chunks_stay_below_the_limit_of_their_environment(box: Mailbox, put: Put, settings: Any) -> None:
    settings.SEND_CHUNK_BYTES = 90_000
    settings.MESH_MAX_REQUEST_BYTES = {**settings.MESH_MAX_REQUEST_BYTES, "sandbox": 50_000}
    message = put(b"x" * 100_000)
    assert Outgoing.objects.get().chunk_size == 49_500
    assert message.chunk_count == Outgoing.objects.get().chunk_total == 3
