"""Received messages come into the mailbox's folder whole, once, and whatever dies."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailboxes.models import Mailbox, Outlet
from messages import ctl
from messages.handing import folder, services
from messages.models import Handed, HandOver, Message, MessageEvent
from tests.double import Double
from tests.handover.conftest import ACTOR, BOX, Go, Stored, only, wired
from tests.handover.consumer import Consumer

pytestmark = pytest.mark.django_db

STEPS = [
    "create .dat",
    "write .dat",
    "sync .dat",
    "create .ctl",
    "write .ctl",
    "sync .ctl",
    "sync .handing",
    "commit staged",
    "rename .dat",
    "sync IN .dat",
    "rename .ctl",
    "sync IN .ctl",
    "commit done",
]


class Died(BaseException):
    """Stands for the end of the process: nothing catches it."""


def waiting_for(home: Path, *rows: Message) -> Consumer:
    return Consumer(home, {row.mesh_id: row.payload.sha256 for row in rows})


@pytest.fixture
def dies_at(monkeypatch: Any) -> Callable[..., None]:
    """Lets the process die (or the disk fail) before a step, once."""

    def set_up(name: str, error: BaseException | None = None, *, times: int = 1) -> None:
        left = [times]

        def step(here: str) -> None:
            if here == name and left[0]:
                left[0] -= 1
                raise error or Died

        monkeypatch.setattr(folder, "step", step)

    return set_up


def names(home: Path) -> list[str]:
    return sorted(one.name for one in (home / "IN").iterdir())


def test_a_message_is_handed_on_as_a_pair(to_folder: Mailbox, home: Path, stored: Stored, go: Go) -> None:
    row = stored(b"a letter", subject="A letter", local_id="L1", file_name="letter.pdf", workflow_id="WF")
    go()
    assert names(home) == [f"{row.mesh_id}.ctl", f"{row.mesh_id}.dat"]
    assert (home / "IN" / f"{row.mesh_id}.dat").read_bytes() == b"a letter"
    said = ctl.parse((home / "IN" / f"{row.mesh_id}.ctl").read_bytes())
    assert (said.from_dts, said.to_dts, said.dts_id) == ("YGM24HC001", to_folder.mailbox_id, row.mesh_id)
    assert (said.subject, said.local_id, said.workflow_id, said.message_type) == ("A letter", "L1", "WF", "Data")
    assert said.status_record is not None and said.status_record.event == "TRANSFER"
    assert only().state == Handed.DONE and only().tries == 1
    assert stat.S_IMODE((home / "IN" / f"{row.mesh_id}.dat").stat().st_mode) == 0o640
    assert list((home / ".handing").iterdir()) == []
    assert list(MessageEvent.objects.filter(message=row).values_list("kind", flat=True)) == ["handed_on"]


def test_a_report_is_its_control_file_alone(to_folder: Mailbox, home: Path, stored: Stored, go: Go) -> None:
    row = stored(
        b"",
        message_type="REPORT",
        status_code="14",
        status_event="SEND",
        status_description="Message not collected by recipient after 5 days",
        linked_mesh_id="20261101000000000001_AAAAAA",
        sender="",
    )
    go()
    assert names(home) == [f"{row.mesh_id}.ctl"]
    said = ctl.parse((home / "IN" / f"{row.mesh_id}.ctl").read_bytes())
    assert (said.message_type, said.dts_id) == ("Report", "20261101000000000001_AAAAAA")
    assert said.status_record is not None
    assert (said.status_record.status, said.status_record.code, said.status_record.event) == ("ERROR", "14", "SEND")


def test_an_empty_document_and_an_id_that_is_no_file_name(to_folder: Mailbox, home: Path, stored: Stored, go: Go) -> None:
    row = stored(b"", mesh_id="../../etc/passwd")
    go()
    assert names(home) == [f"{row.pk.hex}.ctl", f"{row.pk.hex}.dat"]
    assert (home / "IN" / f"{row.pk.hex}.dat").read_bytes() == b""


def test_what_is_switched_off_hands_nothing_on(to_folder: Mailbox, home: Path, stored: Stored, mailbox: Any, go: Go) -> None:
    from mailboxes import outlets

    assert not HandOver.objects.filter(message=stored(mailbox=mailbox())).exists()
    stored(mailbox=to_folder)
    outlets.set_folder(actor=ACTOR, mailbox=to_folder, enabled=False)
    stored(mailbox=to_folder)
    go()
    assert names(home) == []
    assert (only().state, only().problem_code) == (Handed.FAILED, "handing_on_off")


@pytest.mark.crash
@pytest.mark.parametrize("takes", [True, False], ids=["taken at once", "taken later"])
@pytest.mark.parametrize("name", STEPS)
def test_dying_at_any_step_shows_no_half_file_and_hands_on_once(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, dies_at: Callable[..., None], name: str, takes: bool
) -> None:
    rows = [stored(b"x" * 200_000, mailbox=to_folder), stored(b"the second", mailbox=to_folder)]
    consumer = waiting_for(home, *rows)
    dies_at(name)
    with pytest.raises(Died):
        go()
    if takes:
        consumer.look()
    for _ in range(3):
        if HandOver.objects.filter(state=Handed.PENDING).exists():
            go()
            consumer.look()
    consumer.look()
    assert consumer.wrong == []
    assert consumer.came == [row.mesh_id for row in rows], "in order, each once"
    assert set(HandOver.objects.values_list("state", flat=True)) == {Handed.DONE}
    assert list((home / ".handing").iterdir()) == []


@pytest.mark.faults
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("name", [one for one in STEPS if not one.startswith("commit")])
def test_a_disk_that_fails_loses_nothing_and_says_so(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, dies_at: Callable[..., None], name: str, code: int
) -> None:
    row = stored(b"a letter", mailbox=to_folder)
    consumer = waiting_for(home, row)
    dies_at(name, OSError(code, os.strerror(code)), times=3)
    go(3)
    consumer.look()
    outlet = Outlet.objects.get()
    assert outlet.problem_code.startswith("folder_") and outlet.failures == 3 and outlet.problem_since is not None
    assert only().state == Handed.PENDING and only().problem == outlet.problem
    go()
    consumer.look()
    outlet.refresh_from_db()
    assert (outlet.problem_code, outlet.failures) == ("", 0)
    assert consumer.came == [row.mesh_id] and consumer.wrong == []
    kinds = list(MessageEvent.objects.filter(message=row).order_by("id").values_list("kind", flat=True))
    assert kinds == ["hand_over_failed", "handed_on"], "one step for an outage, however long"


@pytest.mark.faults
def test_a_real_write_that_finds_no_space_and_a_folder_that_is_gone(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, monkeypatch: Any
) -> None:
    row = stored(b"a letter", mailbox=to_folder)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        go()
    assert Outlet.objects.get().problem_code == "folder_full" and names(home) == []
    assert list((home / ".handing").iterdir()) == [], "nothing of it stays to fill the disk"
    home.rename(home.with_name("away"))
    go()
    assert Outlet.objects.get().problem_code == "folder_missing"
    home.with_name("away").rename(home)
    go()
    assert names(home) == [f"{row.mesh_id}.ctl", f"{row.mesh_id}.dat"]


def test_a_message_that_cannot_be_read_holds_up_no_other(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, monkeypatch: Any
) -> None:
    from meshportal.core import payloads
    from messages.handing import turn

    poisonous, good = stored(b"broken", mailbox=to_folder), stored(b"good", mailbox=to_folder)
    payloads.delete(poisonous.payload.storage_key)
    monkeypatch.setattr(turn, "_UNREADABLE_TRIES", 2)
    go()
    assert names(home) == [f"{good.mesh_id}.ctl", f"{good.mesh_id}.dat"]
    go()
    row = HandOver.objects.get(message=poisonous)
    assert (row.state, row.problem_code) == (Handed.FAILED, "body_unreadable")


def test_a_message_that_breaks_the_portal_itself_holds_up_no_other(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, monkeypatch: Any
) -> None:
    poisonous, good = stored(b"broken", local_id="BREAKS"), stored(b"good")
    real = ctl.render

    def render(control: ctl.Control) -> bytes:
        if control.local_id == "BREAKS":
            raise ValueError("unforeseen")
        return real(control)

    monkeypatch.setattr(ctl, "render", render)
    go()
    assert names(home) == [f"{good.mesh_id}.ctl", f"{good.mesh_id}.dat"]
    assert HandOver.objects.get(message=poisonous).state == Handed.PENDING
    assert list((home / ".handing").iterdir()) == []


def test_a_dat_that_was_taken_before_its_ctl_is_for_a_person(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, dies_at: Callable[..., None]
) -> None:
    row = stored(mailbox=to_folder)
    dies_at("rename .ctl")
    with pytest.raises(Died):
        go()
    (home / "IN" / f"{row.mesh_id}.dat").unlink()
    go()
    assert (only().state, only().problem_code) == (Handed.FAILED, "folder_taken_early")
    assert names(home) == []


def test_a_folder_that_was_changed_meanwhile_is_finished_where_it_began(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, dies_at: Callable[..., None]
) -> None:
    row = stored(mailbox=to_folder)
    dies_at("rename .ctl")
    with pytest.raises(Died):
        go()
    (home.with_name("new") / "IN").mkdir(parents=True)
    Mailbox.objects.filter(pk=to_folder.pk).update(folder="new")
    go()
    assert names(home) == [f"{row.mesh_id}.ctl", f"{row.mesh_id}.dat"] and only().state == Handed.DONE
    assert names(home.with_name("new")) == []


def test_a_worker_that_stood_still_changes_nothing(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, monkeypatch: Any
) -> None:
    """It comes back when another one has finished the message and its consumer has it."""
    row = stored(mailbox=to_folder)
    consumer = waiting_for(home, row)
    began: list[str] = []

    def step(here: str) -> None:
        if here == "commit staged" and not began:
            began.append(here)
            go()
            consumer.look()

    monkeypatch.setattr(folder, "step", step)
    go()
    consumer.look()
    assert consumer.came == [row.mesh_id] and consumer.wrong == []
    assert only().state == Handed.DONE and names(home) == []
    assert list((home / ".handing").iterdir()) == []
    assert MessageEvent.objects.filter(message=row, kind="handed_on").count() == 1


def test_a_person_hands_on_again(to_folder: Mailbox, home: Path, stored: Stored, go: Go) -> None:
    row = stored(mailbox=to_folder)
    consumer = waiting_for(home, row)
    go()
    consumer.look()
    first = only().delivery_id
    services.hand_on_again(actor=ACTOR, message=row, channel="folder", reason="the consumer lost it")
    go()
    consumer.look()
    assert consumer.came == [row.mesh_id, row.mesh_id]
    assert only().delivery_id != first


def test_sent_to_a_mailbox_and_handed_on_byte_for_byte(box: Mailbox, home: Path, double: Double, poll: Any, go: Go) -> None:
    """From the service to the folder: what is stored is handed on, in the order in which it came."""
    wired(box)
    body = os.urandom(300_000)
    found = double.put(BOX, body, subject="A subject", workflow_id="WF", chunks=3).message_id
    poll(box)
    assert HandOver.objects.count() == 1
    go()
    taken = (home / "IN" / f"{found}.dat").read_bytes()
    assert hashlib.sha256(taken).digest() == hashlib.sha256(body).digest()
    assert ctl.parse((home / "IN" / f"{found}.ctl").read_bytes()).subject == "A subject"


def test_watched_mailboxes_hand_nothing_on(box: Mailbox, home: Path, double: Double, poll: Any) -> None:
    wired(box)
    Mailbox.objects.filter(pk=box.pk).update(mode="watch")
    box.refresh_from_db()
    double.put(BOX, b"not ours")
    poll(box)
    assert not HandOver.objects.exists()
