"""Edges of a turn: what one message, or one outage, may do to the rest."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import services
from mailboxes.models import Mailbox, Mode
from meshportal.core import payloads
from meshportal.core.acts import Refused
from messages import receive
from messages import services as acts
from messages.models import Message, MessageEvent
from messages.states import State
from tests.conftest import Make
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX, Poll, states

pytestmark = pytest.mark.django_db


# --- One message and the others -------------------------------------------------------------------------------------
@pytest.mark.faults
def test_a_message_that_mesh_refuses_to_give_holds_up_nobody(box: Mailbox, double: Double, poll: Poll, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 3
    bad, good = double.put(BOX, b"a"), double.put(BOX, b"b")
    double.faults.add(match={"message_id": bad.message_id}, action=faults.status(403), times=None)
    for _ in range(4):
        poll(box)
        assert box.problem_code == ""
    assert states() == {bad.message_id: State.QUARANTINED, good.message_id: State.ACKNOWLEDGED}
    assert Message.objects.get(mesh_id=bad.message_id).problem_code == "message_refused"


@pytest.mark.faults
def test_an_acknowledge_that_mesh_refuses_holds_up_nobody(box: Mailbox, double: Double, poll: Poll) -> None:
    bad = double.put(BOX, b"a")
    match = {"message_id": bad.message_id, "route": "acknowledge"}
    double.faults.add(match=match, action=faults.status(403), times=None)
    poll(box)
    good = double.put(BOX, b"b")
    poll(box)
    assert states() == {bad.message_id: State.STORED, good.message_id: State.ACKNOWLEDGED}
    assert box.problem_code == ""


@pytest.mark.faults
def test_a_message_too_large_for_the_disk_lets_the_small_ones_through(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = double.put(BOX, b"x" * 5000), double.put(BOX, b"y")
    real = payloads.write

    def little_room(key: str, blocks: Any) -> payloads.Stored:
        found = b"".join(blocks)
        if len(found) > 1000:
            raise payloads.StorageFailed("No space left on device")
        return real(key, [found])

    monkeypatch.setattr(payloads, "write", little_room)
    poll(box)
    assert box.problem_code == "storage"
    assert states() == {large.message_id: State.LISTED, small.message_id: State.ACKNOWLEDGED}
    message = Message.objects.get(mesh_id=large.message_id)
    assert message.attempts == 0
    assert message.next_attempt_at is not None


@pytest.mark.crash
def test_a_message_that_kills_its_worker_is_put_aside_in_the_end(
    box: Mailbox, double: Double, poll: Poll, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_NETWORK_ATTEMPTS = 4
    double.put(BOX, b"x")

    def die(*_args: Any, **_kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as deadly:
        deadly.setattr(payloads, "write", die)
        for _ in range(4):
            with pytest.raises(KeyboardInterrupt):
                poll(box)
            Mailbox.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            # Not again at the very next poll.
            gets = len(double.recorder.gets(BOX))
            poll(box, skip_waits=False)
            assert len(double.recorder.gets(BOX)) == gets
        poll(box)
    message = Message.objects.get()
    assert (message.state, message.problem_code) == (State.QUARANTINED, "never_finished")
    acts.retry(actor=ACTOR, message=message)
    assert poll(box).acknowledged == 1


@pytest.mark.faults
def test_a_database_that_fails_counts_against_no_message(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    double.put(BOX, b"x")
    with monkeypatch.context() as broken:
        broken.setattr(receive, "_commit", lambda *_: (_ for _ in ()).throw(OperationalError("database is locked")))
        for _ in range(3):
            poll(box)
    assert Message.objects.get().attempts == 0
    assert poll(box).acknowledged == 1


# --- An outage is nobody's fault ------------------------------------------------------------------------------------
@pytest.mark.faults
def test_errors_of_the_service_put_no_message_aside_within_a_day(box: Mailbox, double: Double, poll: Poll, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 2
    double.put_many(BOX, 5)
    number = double.faults.add(match={"route": "get"}, action=faults.status(500), times=None)
    for _ in range(6):
        poll(box)
    assert set(states().values()) == {State.LISTED}
    double.faults.remove(number)
    assert poll(box).acknowledged == 5


@pytest.mark.faults
def test_bodies_that_are_cut_on_the_way_end_the_turn_and_put_no_message_aside(
    box: Mailbox, double: Double, poll: Poll, settings: Any
) -> None:
    settings.MAX_ATTEMPTS = 2
    double.put_many(BOX, 6, size=20_000)
    number = double.faults.add(match={"route": "get"}, action=faults.truncate(0.5), times=None)
    for _ in range(4):
        tally = poll(box)
        assert tally.failed == 3
        assert box.problem_code == "truncated"
    assert set(states().values()) == {State.LISTED}
    double.faults.remove(number)
    assert poll(box).acknowledged == 6


# --- Nothing is forgotten -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", [State.LISTED, State.QUARANTINED])
def test_a_message_that_is_no_longer_listed_is_asked_for_and_found_gone(
    box: Mailbox, double: Double, poll: Poll, settings: Any, state: State
) -> None:
    settings.MAX_ATTEMPTS = 1 if state == State.QUARANTINED else 5
    put = double.put(BOX, b"x", corrupt="cut")
    poll(box)
    assert states() == {put.message_id: state}
    double.withdraw(put.message_id)
    poll(box)
    message = Message.objects.get(mesh_id=put.message_id)
    assert (message.state, message.problem_code) == (State.GONE, "gone")


def test_a_message_that_only_the_filter_hides_is_not_taken_for_gone(box: Mailbox, double: Double, poll: Poll) -> None:
    put = double.put(BOX, b"x", corrupt="cut", workflow_id="ONE")
    poll(box)
    changed = services.change_mailbox(actor=ACTOR, mailbox=box, workflow_filter="OTHER")
    poll(changed)
    assert states() == {put.message_id: State.LISTED}


@pytest.mark.parametrize("mode", [Mode.WATCH, Mode.PAUSED])
def test_nobody_retries_or_discards_where_the_portal_does_not_collect(box: Mailbox, message: Make, mode: Mode) -> None:
    found = message(mailbox=box, state=State.QUARANTINED)
    Mailbox.objects.update(mode=mode)
    with pytest.raises(Refused, match="mode"):
        acts.discard(actor=ACTOR, message=found, reason="sent again")
    with pytest.raises(Refused, match="mode"):
        acts.retry(actor=ACTOR, message=found)
    found.refresh_from_db()
    assert found.state == State.QUARANTINED


def test_a_discarded_message_is_acknowledged_without_a_body(box: Mailbox, double: Double, poll: Poll, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 1
    put = double.put(BOX, b"x", corrupt="cut")
    poll(box)
    acts.discard(actor=ACTOR, message=Message.objects.get(), reason="the sender sent it again")
    tally = poll(box)
    assert (tally.discarded, tally.acknowledged) == (1, 0)
    assert states() == {put.message_id: State.DISCARDED}
    assert double.inbox(BOX) == []


@pytest.mark.faults
def test_what_mesh_says_is_kept_as_text_that_every_database_takes(box: Mailbox, double: Double, poll: Poll) -> None:
    double.faults.add(
        match={"route": "list"}, action=faults.status(400, message="half \ud83d of a pair, a NUL \x00 and \x1b[31m"), times=None
    )
    poll(box)
    assert box.problem_code == "bad_request"
    assert all(character.isprintable() for character in box.problem)


# --- Never a listing without a reason -------------------------------------------------------------------------------
@pytest.mark.faults
def test_a_service_that_takes_no_acknowledge_is_not_listed_without_a_pause(
    box: Mailbox, double: Double, poll: Poll, settings: Any
) -> None:
    settings.LIST_PAGE_SIZE = 10
    double.put_many(BOX, 12)
    double.faults.add(match={"route": "acknowledge"}, action=faults.status(400), times=None)
    poll(box)
    settings.TURN_SECONDS = 0
    tally = poll(box)
    assert not tally.more_waiting
    assert box.next_poll_at > timezone.now() + timedelta(minutes=4)


@pytest.mark.faults
def test_acknowledged_messages_that_stay_listed_are_no_reason_to_list_again(
    box: Mailbox, double: Double, poll: Poll, settings: Any
) -> None:
    settings.LIST_PAGE_SIZE = 10
    double.put_many(BOX, 10)
    double.faults.add(match={"route": "acknowledge"}, action=faults.status(200, body="empty"), times=None)
    assert poll(box).more_waiting
    tally = poll(box)
    assert (tally.listed, tally.acknowledged, tally.more_waiting) == (10, 0, False)


@pytest.mark.faults
def test_a_message_that_is_listed_and_gone_is_not_asked_for_at_every_poll(box: Mailbox, double: Double, poll: Poll) -> None:
    double.put(BOX, b"x")
    double.faults.add(match={"route": "get"}, action=faults.status(410), times=None)
    for _ in range(5):
        poll(box, skip_waits=False)
    assert len(double.recorder.gets(BOX)) == 1
    assert MessageEvent.objects.count() == 2


# --- Watching behind a filter ---------------------------------------------------------------------------------------
def test_a_filter_makes_no_watched_message_leave(box: Mailbox, double: Double, poll: Poll) -> None:
    Mailbox.objects.update(mode=Mode.WATCH)
    hidden = double.put(BOX, b"a", workflow_id="ONE")
    collected = double.put(BOX, b"b", workflow_id="ONE")
    box.refresh_from_db()
    poll(box)
    changed = services.change_mailbox(actor=ACTOR, mailbox=box, workflow_filter="OTHER")
    with double.state.lock:
        double.state.acknowledge(double.state.messages[collected.message_id])
    poll(changed)
    assert states() == {hidden.message_id: State.WATCHED, collected.message_id: State.LEFT}
    assert double.recorder.gets(BOX) == []
