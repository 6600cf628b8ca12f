"""Who works on a mailbox: the lease, the pool, and what a person changes in the middle of a turn."""

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
from messages import services as acts
from messages import shard, turn
from messages.models import Message
from messages.states import State
from messages.tally import Tally
from tests.conftest import Make
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX, Poll, states

pytestmark = pytest.mark.django_db


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
