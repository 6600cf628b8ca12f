"""A watched folder that cannot be worked, two workers at one, and what one bad document may not do to the others."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox, WatchedFolder
from messages import ctl, outbox
from messages.folder import disk, turn
from messages.models import FolderPickup, Message, Stage
from messages.states import State
from tests.folder.conftest import Drop, Look, control, only, outcome, tree, wired
from tests.send.conftest import Rounds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("failing", "number", "code"),
    [
        ("rename", errno.EROFS, "folder_read_only"),
        ("rename", errno.ENOSPC, "folder_full"),
        ("rename", errno.EXDEV, "folder_split"),
        ("rename", errno.EIO, "folder_unreachable"),
        ("fsync", errno.EDQUOT, "folder_full"),
        ("scandir", errno.ESTALE, "folder_unreachable"),
        ("open", errno.EACCES, "folder_forbidden"),
    ],
)
def test_a_folder_that_cannot_be_worked_loses_nothing_and_is_seen(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds, monkeypatch: Any, failing: str, number: int, code: str
) -> None:
    """While it is taken from, and while what was sent is put into place."""

    def fails(*_args: Any, **_kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    def real_open(name: Any, flags: int, *args: Any, _open: Any = os.open, **kwargs: Any) -> int:
        if "dir_fd" in kwargs and failing == "open":
            fails()
        return int(_open(name, flags, *args, **kwargs))

    def in_trouble(times: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(disk.os, failing, real_open if failing == "open" else fails)  # type: ignore[attr-defined]
            for _ in range(times):
                look()
        watched = WatchedFolder.objects.get()
        assert (watched.problem_code, watched.failures, watched.lease_token) == (code, times, None)
        assert watched.due_at > timezone.now() and watched.problem_since is not None and watched.problem_advice

    drop("one", b"one")
    in_trouble(2)
    look()
    assert WatchedFolder.objects.get().problem_code == "" and WatchedFolder.objects.get().problem_since is None
    rounds()
    in_trouble(3)
    assert {path.read_bytes() for path in root.rglob("*.dat")} == {b"one"}
    look()
    assert tree(root) == {"SENT": ["one.ctl", "one.dat"]}
    assert Message.objects.count() == 1


def test_a_share_that_is_away_is_never_taken_for_an_empty_one(root: Path, sending: Mailbox, drop: Drop, look: Look) -> None:
    away = root.with_name("away")
    root.rename(away)
    look()
    assert WatchedFolder.objects.get().problem_code == "folder_missing"
    root.mkdir()
    look()
    assert WatchedFolder.objects.get().problem == "The mailbox's folder has no folder OUT in it."
    assert tree(root) == {}
    root.rmdir()
    away.rename(root)
    drop()
    look()
    assert only().state == State.QUEUED


def test_the_portals_own_storage_being_full_stops_the_folder_too(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any
) -> None:
    from meshportal.core import payloads

    def full(*_args: Any) -> None:
        raise payloads.StorageFailed("no space")

    drop()
    with monkeypatch.context() as patch:
        patch.setattr(payloads, "write", full)
        look()
    assert WatchedFolder.objects.get().problem_code == "storage" and not Message.objects.exists()
    look()
    assert only().state == State.QUEUED


def test_one_document_that_breaks_the_portal_does_not_hold_up_the_others(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any, settings: Any
) -> None:
    settings.MAX_ATTEMPTS = 2
    real = outbox.put

    def put(**arguments: Any) -> Message:
        if arguments["draft"].file_name == "bad.dat":
            raise ZeroDivisionError
        return real(**arguments)

    monkeypatch.setattr(outbox, "put", put)
    drop("bad", b"one")
    drop("good", b"two")
    look()
    assert only().file_name == "good.dat"
    look(2)
    assert outcome(root / "FAILED" / "bad.ctl").description == turn.BROKE


def test_one_file_that_cannot_be_moved_does_not_hold_up_the_others(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any
) -> None:
    real = os.rename

    def rename(name: Any, *args: Any, **kwargs: Any) -> None:
        if name in ("locked.dat", b"locked.dat"):
            raise PermissionError(errno.EACCES, "sharing violation")
        real(name, *args, **kwargs)

    drop("locked", b"one")
    drop("good", b"two")
    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "rename", rename)  # type: ignore[attr-defined]
        look(2)
        assert only().file_name == "good.dat"
        assert WatchedFolder.objects.get().problem_code == "folder_forbidden"
    look()
    assert Message.objects.count() == 2


def test_one_file_that_cannot_be_placed_does_not_hold_up_the_others(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds, monkeypatch: Any
) -> None:
    for number in range(3):
        drop(f"n{number}", f"letter {number}".encode())
    look()
    rounds(3)
    locked = f"{FolderPickup.objects.order_by('created_at')[0].pk.hex}.dat"
    real = os.rename

    def rename(name: Any, *args: Any, **kwargs: Any) -> None:
        if name == locked:
            raise PermissionError(errno.EACCES, "sharing violation")
        real(name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "rename", rename)  # type: ignore[attr-defined]
        look()
        assert FolderPickup.objects.filter(stage=Stage.DONE).count() == 2
        assert WatchedFolder.objects.get().problem_code == "folder_forbidden"
    look()
    assert len(tree(root)["SENT"]) == 6 and ".taking" not in tree(root)


def test_an_earlier_folder_that_is_away_does_not_hold_up_the_present_one(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds
) -> None:
    drop("one", b"one")
    look()
    away = root.with_name("away")
    root.rename(away)
    for name in ("OUT", "SENT", "FAILED"):
        (root.with_name("new") / name).mkdir(parents=True)
    Mailbox.objects.update(folder="new")
    rounds()
    (root.with_name("new") / "OUT" / "two.dat").write_bytes(b"two")
    (root.with_name("new") / "OUT" / "two.ctl").write_bytes(ctl.render(control()))
    look()
    assert Message.objects.get(file_name="two.dat").state == State.QUEUED
    assert WatchedFolder.objects.get().problem_code == "folder_missing"
    away.rename(root)
    rounds()
    look()
    assert tree(root) == {"SENT": ["one.ctl", "one.dat"]}
    assert tree(root.with_name("new")) == {"SENT": ["two.ctl", "two.dat"]}


def test_files_without_a_record_are_told_and_left(root: Path, sending: Mailbox, drop: Drop, look: Look) -> None:
    drop()
    look()
    (root / ".taking" / "0123.dat").write_bytes(b"whose?")
    look()
    assert WatchedFolder.objects.get().problem_code == "folder_stray"
    assert WatchedFolder.objects.get().looked_at is not None
    (root / ".taking" / "0123.dat").rename(root / "OUT" / "back.dat")
    look()
    assert WatchedFolder.objects.get().problem_code == ""


def test_a_paused_mailbox_takes_nothing_and_an_unwired_one_ends_what_it_has(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds
) -> None:
    Mailbox.objects.update(mode="paused")
    assert turn.claim_due() is None
    Mailbox.objects.update(mode="watch")
    drop("one", b"one")
    look()
    Mailbox.objects.update(folder="", send_from_folder=False)
    drop("two", b"two")
    rounds()
    look()
    assert tree(root) == {"OUT": ["two.ctl", "two.dat"], "SENT": ["one.ctl", "one.dat"]}
    assert turn.claim_due() is None


def test_two_workers_never_have_the_same_folder(root: Path, box: Mailbox, drop: Drop) -> None:
    wired(box)
    first = turn.claim_due()
    assert first is not None and turn.claim_due() is None


def test_a_worker_that_lost_its_lease_queues_nothing(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any
) -> None:
    """It stood still while it read, and another took over."""
    drop()
    real = outbox.put

    def put(**arguments: Any) -> Message:
        WatchedFolder.objects.update(lease_token=FolderPickup.objects.get().pk)
        return real(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "put", put)
        look()
    assert not Message.objects.exists()
    WatchedFolder.objects.update(lease_token=None, lease_until=None)
    look()
    assert only().state == State.QUEUED


def test_more_than_one_turn_holds_is_gone_on_with(root: Path, sending: Mailbox, drop: Drop, monkeypatch: Any) -> None:
    monkeypatch.setattr(turn, "MOST_TAKEN", 2)
    for number in range(5):
        drop(f"n{number}", f"letter {number}".encode())
    turns = 0
    while (claimed := turn.claim_due()) is not None:
        turn.work(claimed)
        turns += 1
    assert (turns, Message.objects.count()) == (3, 5)
    monkeypatch.setattr(disk, "MOST_NAMES", 3)
    for number in range(5):
        (root / "OUT" / f"{number}.txt").write_text("")
    WatchedFolder.objects.update(due_at=timezone.now())
    claimed = turn.claim_due()
    assert claimed is not None
    turn.work(claimed)
    assert WatchedFolder.objects.get().problem_code == "folder_crowded"


def test_documents_that_were_not_sent_stand_on_the_overview(
    root: Path, sending: Mailbox, drop: Drop, look: Look, signed_in: Any
) -> None:
    drop("bad", from_dts="X26HC999")
    drop("good")
    look()
    browser = signed_in("viewer")
    page = browser.get(f"/t/{sending.team.slug}/").content.decode()
    assert "has 1 document in FAILED of its folder that was not sent" in page
    assert "X26HC999" not in page
    page = browser.get(f"/t/{sending.team.slug}/mailboxes/{sending.pk}/").content.decode()
    assert "Last looked at" in page
    FolderPickup.objects.filter(sent=False).update(ended_at=timezone.now() - timedelta(days=8))
    assert "in FAILED" not in browser.get(f"/t/{sending.team.slug}/").content.decode()
