"""Edges of a turn: what one message, one person or one slow disk may do to the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections as databases
from django.utils import timezone

from mailboxes import polling, selectors, services
from mailboxes.models import Mailbox, Mode
from meshportal.core import crypto, payloads
from meshportal.core.acts import Refused
from meshportal.core.models import WorkerHeartbeat
from meshportal.mesh import MeshClient
from messages import receive, shard, turn
from messages import services as acts
from messages.models import Message, MessageEvent
from messages.states import State
from messages.tally import Tally
from tests.conftest import Make
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX, Poll

pytestmark = pytest.mark.django_db


def states() -> dict[str, str]:
    return dict(Message.objects.values_list("mesh_id", "state"))


# --- The lease ------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_save_that_outlasts_the_lease_keeps_it(
    box: Mailbox, double: Double, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LEASE_SECONDS = 2
    double.put(BOX, b"letter")
    real = payloads.write

    def slow(*args: Any, **kwargs: Any) -> payloads.Stored:
        done = real(*args, **kwargs)
        time.sleep(3)
        assert polling.claim_now(box) is None
        return done

    monkeypatch.setattr(payloads, "write", slow)
    claimed = polling.claim_now(box)
    assert claimed is not None
    tally = turn.work(claimed)
    assert (tally.stored, tally.acknowledged, tally.lease_lost) == (1, 1, False)
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


# --- A person in the middle of a turn -------------------------------------------------------------------------------
def during_first_download(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Does ``act`` once, after the first body came and before anything else happens."""
    real = payloads.write
    done: list[bool] = []

    def write(*args: Any, **kwargs: Any) -> payloads.Stored:
        kept = real(*args, **kwargs)
        if not done:
            done.append(True)
            act()
        return kept

    monkeypatch.setattr(payloads, "write", write)


def test_watch_mode_takes_effect_in_the_middle_of_a_turn(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.put_many(BOX, 5)
    during_first_download(monkeypatch, lambda: services.change_mailbox(actor=ACTOR, mailbox=box, mode=Mode.WATCH))
    tally = poll(box)
    assert tally.problem is None
    assert double.recorder.acks(BOX) == []
    assert len(double.recorder.gets(BOX)) == 1
    assert sorted(states().values()) == [State.LISTED] * 4 + [State.STORED]
    assert box.lease_token is None
    poll(box)
    assert double.recorder.acks(BOX) == []


def test_a_changed_setting_asks_for_a_handshake_and_forgets_none(box: Mailbox, double: Double, poll: Poll) -> None:
    poll(box)
    before = box.last_handshake_at
    changed = services.change_mailbox(actor=ACTOR, mailbox=box, name="Another name")
    changed.refresh_from_db()
    assert changed.last_handshake_at == before
    assert poll(changed).handshake
    assert not poll(changed).handshake


def test_poll_now_of_a_mailbox_that_is_due_in_a_moment_says_so(box: Mailbox, double: Double, poll: Poll) -> None:
    poll(box)
    with pytest.raises(Refused, match="try again in a minute"):
        services.poll_now(actor=ACTOR, mailbox=box)
    Mailbox.objects.update(next_poll_at=timezone.now() + timedelta(seconds=2))
    assert "about to be polled" in services.poll_now(actor=ACTOR, mailbox=box)


def test_a_password_that_is_mended_during_a_turn_is_not_blamed(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.update_mailbox(BOX, password="new")
    real = MeshClient.handshake

    def mended_meanwhile(client: MeshClient) -> None:
        services.change_mailbox(actor=ACTOR, mailbox=box, password="new")
        real(client)

    with monkeypatch.context() as patched:
        patched.setattr(MeshClient, "handshake", mended_meanwhile)
        poll(box)
    assert (box.problem_code, box.consecutive_failures) == ("", 0)
    assert box.next_poll_at <= timezone.now()
    assert poll(box).problem is None


def test_a_poll_that_a_person_brought_forward_during_a_turn_stays_so(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    Mailbox.objects.update(poll_interval_seconds=86_400)
    box.refresh_from_db()
    double.put(BOX, b"x")
    during_first_download(monkeypatch, lambda: services.bring_forward(Mailbox.objects.get()))
    poll(box)
    assert box.next_poll_at - timezone.now() < timedelta(minutes=2)


def test_the_interval_counts_from_the_listing(box: Mailbox, double: Double, poll: Poll) -> None:
    for route in ("handshake", "list"):
        double.faults.add(match={"route": route}, action=faults.delay(0.5))
    poll(box)
    assert box.last_listed_at is not None
    assert box.next_poll_at - box.last_listed_at >= box.poll_interval + timedelta(seconds=0.5)


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


# --- Secrets that no key opens --------------------------------------------------------------------------------------
@pytest.fixture
def unreadable(box: Mailbox) -> Mailbox:
    """Its password was sealed with a key that is gone."""
    from django.db import connection

    with connection.cursor() as cursor:
        # A token of another key.
        from cryptography.fernet import Fernet

        token = Fernet(Fernet.generate_key()).encrypt(b"password")
        cursor.execute("UPDATE mailboxes_mailbox SET password = %s", [token])
    return box


def test_an_unreadable_password_is_said_and_can_be_replaced(
    unreadable: Mailbox, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = polling.claim_due(slow=False)
    assert claimed is not None
    tally = turn.work(claimed)
    assert tally.problem is not None
    assert tally.problem.code == "secret_unreadable"
    monkeypatch.setenv("MESHPORTAL_MAILBOX_PASSWORD", "password")
    call_command("set_mailbox", BOX, "--password")
    again = polling.claim_now(selectors.named(BOX) or unreadable)
    assert again is not None
    assert turn.work(again).problem is None
    with pytest.raises(crypto.CannotUnseal):
        crypto.unseal(b"gAAAA")


# --- The pool -------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_long_download_keeps_the_pool_from_nothing(
    box: Mailbox, double: Double, mailbox: Make, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TURN_SECONDS = 1
    settings.LEASE_SECONDS = 10
    other = mailbox(mailbox_id="X26HC002", identity=box.identity)
    double.add_mailbox("X26HC002")
    double.put(BOX, b"long")
    released = threading.Event()
    real = payloads.write

    def long(*args: Any, **kwargs: Any) -> payloads.Stored:
        assert released.wait(20)
        return real(*args, **kwargs)

    monkeypatch.setattr(payloads, "write", long)
    pool = shard.pool(threads=2, slow_threads=1, seconds=0.5)

    def run() -> None:
        pool.run()
        databases.close_all()

    runner = threading.Thread(target=run)
    runner.start()
    listed = []
    try:
        for _ in range(3):
            time.sleep(1.2)
            Mailbox.objects.filter(pk=other.pk).update(next_poll_at=timezone.now())
        time.sleep(1.2)
        listed = double.recorder.listings("X26HC002")
    finally:
        released.set()
        runner.join(20)
    assert len(listed) >= 3
    assert not runner.is_alive()
    assert WorkerHeartbeat.objects.filter(queue="poll").exists()
    assert Message.objects.get().state == State.ACKNOWLEDGED


@pytest.mark.django_db(transaction=True)
def test_a_mailbox_whose_turn_breaks_leaves_the_pool_working(
    box: Mailbox, double: Double, mailbox: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = mailbox(mailbox_id="X26HC002", identity=box.identity)
    double.add_mailbox("X26HC002")
    real = turn.work

    def broken(claimed: Mailbox) -> Tally:
        if claimed.mailbox_id == BOX:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return real(claimed)

    monkeypatch.setattr(turn, "work", broken)
    shard.pool(threads=1, slow_threads=1, seconds=2).run()
    other.refresh_from_db()
    assert other.last_polled_at is not None


def test_a_mailbox_that_is_being_worked_on_is_not_overdue(box: Mailbox) -> None:
    Mailbox.objects.update(next_poll_at=timezone.now() - timedelta(hours=1))
    assert selectors.overdue_count() == 1
    assert polling.claim_now(box) is not None
    Mailbox.objects.update(next_poll_at=timezone.now() - timedelta(hours=1))
    assert selectors.overdue_count() == 0


@pytest.mark.faults
def test_what_mesh_says_is_kept_as_text_that_every_database_takes(box: Mailbox, double: Double, poll: Poll) -> None:
    double.faults.add(
        match={"route": "list"}, action=faults.status(400, message="half \ud83d of a pair, a NUL \x00 and \x1b[31m"), times=None
    )
    poll(box)
    assert box.problem_code == "bad_request"
    assert all(character.isprintable() for character in box.problem)


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


# --- Locks ----------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_people_and_the_poller_lock_in_one_order(box: Mailbox, double: Double, message: Make) -> None:
    """On PostgreSQL another order deadlocks within a few rounds."""
    waiting = [message(mailbox=box, state=State.QUARANTINED) for _ in range(12)]
    failed: list[BaseException] = []

    def run(act: Callable[[int], object]) -> threading.Thread:
        def body() -> None:
            try:
                for number in range(12):
                    try:
                        act(number)
                    except Refused:
                        continue
            except BaseException as error:
                failed.append(error)
            finally:
                databases.close_all()

        return threading.Thread(target=body)

    threads = [
        run(lambda number: acts.retry(actor=ACTOR, message=waiting[number])),
        run(lambda number: services.poll_now(actor=ACTOR, mailbox=box)),
        run(lambda number: services.change_mailbox(actor=ACTOR, mailbox=box, name=f"Name {number}")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
