"""Sending while others go on meanwhile: late answers, decisions in the very moment, pauses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from meshportal.core import lease
from meshportal.core.acts import Refused
from meshportal.mesh import MeshClient, Tracking
from messages import dispatch, outbox, send, track
from messages.models import MessageEvent, Outgoing, SendAttempt
from messages.states import State
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX
from tests.send.conftest import Put, Rounds, arrived, kinds, make_due, state

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
