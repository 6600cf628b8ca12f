"""The watched folder: what is put into OUT is sent once and ends in SENT or FAILED, with what became of it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.audit.models import AuditEvent
from messages import ctl, outbox, refusals
from messages.folder import disk, turn
from messages.models import FolderPickup, Message, ResendPolicy, Stage, Workflow
from messages.states import State
from tests.double import Double, faults
from tests.folder.conftest import ACTOR, BOX, TO, WORKFLOW, Drop, Look, age, control, only, outcome, tree
from tests.send.conftest import Rounds

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = 3601


def test_a_document_goes_out_and_comes_to_sent(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds, double: Double, settings: Any
) -> None:
    settings.SEND_CHUNK_BYTES = 100_000
    body = os.urandom(350_000)
    drop("letter 1", body, subject="Café", local_id="L-1", compress=True)
    look()
    message = only()
    assert (message.state, message.subject, message.local_id, message.file_name) == ("queued", "Café", "L-1", "letter 1.dat")
    assert message.outgoing.compress and message.outgoing.requested_by == "meshportal folder watcher"
    assert AuditEvent.objects.get(action="message.queued").actor_label == "meshportal folder watcher"
    held = FolderPickup.objects.get().pk.hex
    assert tree(root) == {".taking": [f"{held}.ctl", f"{held}.dat"]}
    look(2)
    assert FolderPickup.objects.get().stage == Stage.QUEUED
    rounds(3)
    look()
    message.refresh_from_db()
    assert double.content(message.mesh_id) == body
    assert tree(root) == {"SENT": ["letter 1.ctl", "letter 1.dat"]}
    assert (root / "SENT" / "letter 1.dat").read_bytes() == body
    said = ctl.parse((root / "SENT" / "letter 1.ctl").read_bytes())
    assert (said.dts_id, said.local_id, said.subject, said.compress) == (message.mesh_id, "L-1", "Café", True)
    assert outcome(root / "SENT" / "letter 1.ctl") == ctl.StatusRecord(
        at=FolderPickup.objects.get().ended_at.replace(microsecond=0),  # type: ignore[union-attr]
        event="SEND",
        status="SUCCESS",
        code="00",
        description="Accepted by MESH",
    )
    look(2)
    assert Message.objects.count() == 1 and FolderPickup.objects.get().stage == Stage.DONE


def test_small_letters_and_missing_targets_will_do(root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds) -> None:
    drop()
    (root / "OUT" / "one.dat").rename(root / "OUT" / "one.DAT")
    (root / "OUT").rename(root / "out")
    (root / "SENT").rmdir()
    look()
    rounds()
    look()
    assert tree(root) == {"SENT": ["one.DAT", "one.ctl"]}


# --- Documents that cannot be sent ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "given", "code", "said"),
    [
        pytest.param(b"", {}, "02", "The file is empty", id="empty"),
        pytest.param(b"x" * (1024 * 1024 + 1), {}, "", "larger than the portal is set to send", id="over the limit"),
        pytest.param(b"x", {"raw": b"<DTSControl><"}, "", "", id="cut, still young"),
        pytest.param(b"x", {"raw": b"no xml"}, "06", "not well-formed XML at line 1", id="unreadable"),
        pytest.param(b"x", {"raw": b"\0" * 300}, "", "", id="zeros, still young"),
        pytest.param(b"x", {"raw": b"\0" * 300 + b"x"}, "06", "not well-formed XML", id="zeros and more"),
        pytest.param(b"x", {"raw": b'<!DOCTYPE a [<!ENTITY b "c">]><DTSControl/>'}, "06", "document type", id="entity bomb"),
        pytest.param(b"x", {"raw": b" " * (ctl.LIMIT + 1)}, "06", "larger than 64 KiB", id="large control file"),
        pytest.param(b"x", {"from_dts": "X26HC999"}, "07", f"From_DTS is not {BOX}", id="another sender"),
        pytest.param(b"x", {"from_dts": ""}, "07", f"From_DTS is not {BOX}", id="no sender"),
        pytest.param(b"x", {"to_dts": ""}, "08", "names no recipient", id="no recipient"),
        pytest.param(b"x", {"to_dts": "GP_1234567890_09011955_Smith"}, "12", "capital letters and digits", id="no mailbox ID"),
        pytest.param(b"x", {"workflow_id": ""}, "06", "WorkflowId is missing", id="no workflow"),
        pytest.param(b"x", {"subject": "two\nlines"}, "06", "Mex-Subject holds a control character", id="line break"),
        pytest.param(b"x", {"subject": "Ω"}, "06", "that MESH headers cannot carry", id="forbidden character"),
        pytest.param(b"x", {"subject": "x" * 501}, "06", "501 characters long", id="long subject"),
        pytest.param(b"x", {"local_id": "for 943 476 5919"}, "06", "holds an NHS number", id="NHS number in the local ID"),
        pytest.param(b"x", {"message_type": "Report"}, "11", "MessageType is not Data", id="a report"),
        pytest.param(b"x", {"address_type": "FAX"}, "06", "AddressType is none of", id="odd address type"),
        pytest.param(b"x", {"encrypted": True}, "06", "Encrypted is Y", id="a flag that is not passed on"),
        pytest.param(
            b"x", {"address_type": "SMTP", "to_esmtp": "a@example.test"}, "12", "no address that ends with", id="mail address"
        ),
    ],
)
def test_what_cannot_be_sent_comes_to_failed_with_a_sentence(
    root: Path, sending: Mailbox, drop: Drop, look: Look, settings: Any, body: bytes, given: dict[str, Any], code: str, said: str
) -> None:
    settings.MESH_MAX_MESSAGE_BYTES = 1024 * 1024
    drop("bad", body, **given)
    drop("good")
    look()
    assert only().file_name == "good.dat"
    if not said:
        assert tree(root)["OUT"] == ["bad.ctl", "bad.dat"]
        return
    assert {"bad.ctl", "bad.dat"} <= set(tree(root)["FAILED"])
    assert (root / "FAILED" / "bad.dat").read_bytes() == body
    record = outcome(root / "FAILED" / "bad.ctl")
    assert (record.event, record.status, record.code) == ("SEND", "ERROR", code)
    assert said in record.description
    raw = given.get("raw")
    if raw is not None:
        assert (root / "FAILED" / "bad.ctl.original").read_bytes() == raw
    look()
    assert "OUT" not in tree(root)
    kept = list(AuditEvent.objects.values()) + list(FolderPickup.objects.values())
    assert "9434765919" not in repr(kept).replace(" ", "")


def test_names_that_are_odd_do_no_harm(root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds) -> None:
    names = ["-rf", "..", "a b", "x" * 251, "tab\there", "943 476 5919", "Ωmega", "=cmd", ".hidden"]
    for name in names:
        drop(name, f"letter of {name}".encode())
    for ending in ("dat", "ctl"):
        (root / "OUT" / f"=cmd.{ending}").rename(root / "OUT" / os.fsdecode(b"\xff\xfe." + ending.encode()))
    look()
    rounds(20)
    look()
    # Two names begin with a dot: they belong to somebody who is still writing.
    assert tree(root)["OUT"] == ["...ctl", "...dat", ".hidden.ctl", ".hidden.dat"]
    assert {"-rf.dat", "a b.dat"} <= set(tree(root)["SENT"])
    failed = os.listdir(os.fsencode(root / "FAILED"))  # noqa: PTH208  bytes are what is asked
    assert {b"\xff\xfe.dat", "Ωmega.dat".encode(), b"tab\there.dat", b"943 476 5919.dat"} <= set(failed)
    assert Message.objects.count() == 3
    assert len(tree(root)["FAILED"]) + len(tree(root)["SENT"]) == 2 * 7
    assert ".taking" not in tree(root)


def test_links_are_refused_and_nothing_behind_them_is_read_or_moved(
    root: Path, sending: Mailbox, drop: Drop, look: Look, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    drop("linked", None)
    (root / "OUT" / "linked.dat").symlink_to(secret)
    drop("both", raw=None)
    (root / "OUT" / "both.ctl").symlink_to(secret)
    (root / "OUT" / "dangling.dat").symlink_to("nowhere")
    drop("dangling", None)
    look()
    assert not Message.objects.exists()
    assert "The document (.dat) is a symbolic link" in outcome(root / "FAILED" / "linked.ctl").description
    assert "The control file (.ctl) is a symbolic link" in outcome(root / "FAILED" / "both.ctl").description
    assert (root / "FAILED" / "linked.dat").is_symlink() and secret.read_bytes() == b"secret"
    assert not (root / "FAILED" / "both.ctl").is_symlink() and (root / "FAILED" / "both.ctl.original").is_symlink()
    assert (root / "FAILED" / "both.dat").read_bytes() == b"a letter"
    assert (root / "FAILED" / "dangling.dat").is_symlink()


def test_folders_pipes_and_other_files_are_passed_over(root: Path, sending: Mailbox, drop: Drop, look: Look) -> None:
    (root / "OUT" / "folder.dat").mkdir()
    os.mkfifo(root / "OUT" / "pipe.dat")
    (root / "OUT" / "note.txt").write_text("")
    drop("pipe", None)
    before = tree(root)
    look(2)
    assert tree(root) == before and not FolderPickup.objects.exists()


# --- Who receives it --------------------------------------------------------------------------------------------------
def test_the_recipient_is_looked_up_only_when_that_is_clear(
    root: Path, sending: Mailbox, drop: Drop, look: Look, double: Double
) -> None:
    double.add_mailbox("RAA01HC1", ods_code="RAA01", workflows=[WORKFLOW])
    for name in ("RBB02HC1", "RBB02HC2"):
        double.add_mailbox(name, ods_code="RBB02", workflows=[WORKFLOW])
    drop("one", address_type="ODS", to_dts="raa01")
    drop("several", address_type="ODS", to_dts="RBB02")
    drop("none", address_type="ODS", to_dts="RCC03")
    drop("mail", address_type="SMTP", to_dts="", to_esmtp="yGm24hc001@dts.nhs.uk")
    drop("all", b"another", address_type="ALL", to_dts=TO, to_esmtp="other@dts.nhs.uk")
    look()
    assert dict(Message.objects.values_list("file_name", "recipient_mailbox")) == {
        "one.dat": "RAA01HC1",
        "mail.dat": TO,
        "all.dat": TO,
    }
    several = outcome(root / "FAILED" / "several.ctl")
    assert several.code == "EPL-150" and "RBB02HC1" in several.description and "RBB02HC2" in several.description
    assert outcome(root / "FAILED" / "none.ctl").code == "EPL-151"


def test_while_nobody_can_look_it_up_the_document_waits(
    root: Path, sending: Mailbox, drop: Drop, look: Look, double: Double
) -> None:
    double.add_mailbox("RAA01HC1", ods_code="RAA01", workflows=[WORKFLOW])
    double.faults.add(match={"route": "lookup"}, action=faults.status(503), times=None)
    drop("waits", address_type="ODS", to_dts="RAA01")
    drop("goes")
    look()
    FolderPickup.objects.update(created_at=timezone.now() - timedelta(days=3))
    look()
    assert only().file_name == "goes.dat"
    assert FolderPickup.objects.get(stage=Stage.TAKING).tries == 2
    assert FolderPickup.objects.get(stage=Stage.TAKING).due_at > timezone.now()
    double.faults.clear()
    look()
    assert Message.objects.get(file_name="waits.dat").recipient_mailbox == "RAA01HC1"


# --- Half pairs and moving files --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"raw": None}, "06", "No control file"),
        ({"body": None}, "02", "No document"),
        ({"raw": b"<DTSControl><To_DTS>X"}, "06", "ends before its end, at line 1"),
        ({"raw": b"\0" * 300}, "06", "not well-formed XML at line 1"),
    ],
    ids=["lone .dat", "lone .ctl", "cut .ctl", "zeros"],
)
def test_half_a_pair_waits_and_then_fails(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any, given: dict[str, Any], code: str, said: str
) -> None:
    drop("half", **{"body": b"half a letter", **given})
    before = tree(root)
    look(2)
    assert tree(root) == before and not FolderPickup.objects.exists()
    monkeypatch.setattr(disk.Stamp, "age", lambda *_: HOUR)
    look()
    assert (outcome(root / "FAILED" / "half.ctl").code, said in outcome(root / "FAILED" / "half.ctl").description) == (code, True)
    if "body" not in given:
        assert (root / "FAILED" / "half.dat").read_bytes() == b"half a letter"
    assert set(tree(root)) == {"FAILED"} and not Message.objects.exists()
    look()
    assert FolderPickup.objects.get().stage == Stage.DONE


def test_half_a_pair_that_becomes_whole_is_sent(root: Path, sending: Mailbox, drop: Drop, look: Look) -> None:
    whole = ctl.render(control())
    for cut in (0, 1, 20, len(whole) - 3):
        drop(raw=whole[:cut] or None)
        look()
        assert not FolderPickup.objects.exists()
    drop()
    look()
    assert only().state == State.QUEUED


def test_the_age_of_a_file_is_not_what_its_copier_says(root: Path, drop: Drop) -> None:
    """Copying with times kept makes a file look old at once; only this machine's clock is believed."""
    drop()
    now = (root / "OUT" / "one.dat").stat().st_ctime + 5
    for seconds in (10**6, -(10**6)):
        age(root / "OUT" / "one.dat", seconds)
        with_times = disk.Stamp.of((root / "OUT" / "one.dat").stat())
        assert with_times.age(now) <= 6


def test_a_document_that_changes_between_two_looks_waits(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any
) -> None:
    drop()

    def grow(_seconds: float) -> None:
        with (root / "OUT" / "one.dat").open("ab") as file:
            file.write(b" and more")

    with monkeypatch.context() as patch:
        patch.setattr(turn.time, "sleep", grow)  # type: ignore[attr-defined]
        look(2)
        assert not FolderPickup.objects.exists()
    look()
    assert only().size == len(b"a letter and more and more")


@pytest.mark.parametrize("how", ["grows", "shrinks", "is rewritten"])
def test_a_document_that_changes_while_it_is_read_is_read_again(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any, how: str
) -> None:
    drop(body=b"x" * 3_000_000)
    real, left = os.read, [2]

    def read(descriptor: int, size: int) -> bytes:
        found = real(descriptor, size)
        held = next((root / ".taking").glob("*.dat"), None)
        if left[0] and held is not None and len(found) == size:
            left[0] -= 1
            with held.open("r+b" if how != "grows" else "ab") as file:
                if how == "shrinks":
                    file.truncate(1_500_000 if left[0] else 10)
                else:
                    file.write(b"more")
        return found

    monkeypatch.setattr(disk.os, "read", read)  # type: ignore[attr-defined]
    look()
    assert not Message.objects.exists() and FolderPickup.objects.get().tries == 1
    look(2)
    assert only().payload.size == (root / ".taking" / f"{FolderPickup.objects.get().pk.hex}.dat").stat().st_size


def test_a_document_that_never_stops_changing_fails(
    root: Path, sending: Mailbox, drop: Drop, look: Look, monkeypatch: Any
) -> None:
    drop()
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        for held in (root / ".taking").glob("*.dat"):
            with held.open("ab") as file:
                file.write(b".")
        return real(descriptor, size)

    monkeypatch.setattr(disk.os, "read", read)  # type: ignore[attr-defined]
    look(2)
    FolderPickup.objects.update(created_at=timezone.now() - timedelta(seconds=HOUR))
    look()
    assert "was written to while it was read. It stayed so for too long." in outcome(root / "FAILED" / "one.ctl").description
    assert not Message.objects.exists()


# --- Twins and what becomes of messages -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (ResendPolicy.ALLOWED, "within the last 30 days"),
        (ResendPolicy.ON_REQUEST, "within the last 30 days"),
        (ResendPolicy.NEVER, "never sends messages of"),
    ],
)
def test_a_twin_is_refused_as_a_file_gives_no_reason(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds, policy: str, said: str
) -> None:
    Workflow.objects.create(team=sending.team, workflow_id=WORKFLOW, resend_policy=policy)
    drop("one")
    look()
    rounds()
    drop("two")
    look()
    record = outcome(root / "FAILED" / "two.ctl")
    assert said in record.description
    assert ("A file cannot say why" in record.description) == (policy != ResendPolicy.NEVER)
    assert Message.objects.count() == 1


def test_a_name_that_is_taken_in_sent_gets_a_number(root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds) -> None:
    for number in range(3):
        drop("same", f"letter {number}".encode())
        look()
        rounds()
        look()
    assert tree(root) == {"SENT": ["same-2.ctl", "same-2.dat", "same-3.ctl", "same-3.dat", "same.ctl", "same.dat"]}
    assert (root / "SENT" / "same.dat").read_bytes() == b"letter 0"
    assert (root / "SENT" / "same-3.dat").read_bytes() == b"letter 2"


def test_refused_and_cancelled_messages_come_to_failed(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds
) -> None:
    drop("refused", b"one", to_dts="NOBODY1")
    look()
    rounds()
    drop("cancelled", b"two")
    look()
    outbox.cancel(actor=ACTOR, message=Message.objects.get(state=State.QUEUED), reason="a test")
    look()
    assert tree(root) == {"FAILED": ["cancelled.ctl", "cancelled.dat", "refused.ctl", "refused.dat"]}
    refused = outcome(root / "FAILED" / "refused.ctl")
    words = refusals.said_of("12", "")
    assert refused.code == "12" and words is not None and words[0] in refused.description
    assert "Cancelled in the portal" in outcome(root / "FAILED" / "cancelled.ctl").description


def test_an_uncertain_message_keeps_its_files_until_somebody_decides(
    root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds, double: Double
) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop("during_answer"))
    drop(local_id="L-1")
    look()
    rounds()
    look()
    message = only()
    assert message.state == State.UNCERTAIN and set(tree(root)) == {".taking"}
    outbox.decide(actor=ACTOR, message=message, arrived=True, reason="they have it")
    look()
    assert tree(root) == {"SENT": ["one.ctl", "one.dat"]}
    assert outcome(root / "SENT" / "one.ctl").description == "Arrived, as a person confirmed"


def test_what_was_returned_had_been_sent(root: Path, sending: Mailbox, drop: Drop, look: Look, rounds: Rounds) -> None:
    drop("whole", b"one")
    look()
    rounds()
    Message.objects.update(state=State.RETURNED, status_code="14")
    drop("part", b"two")
    look()
    part = Message.objects.get(state=State.QUEUED)
    Message.objects.filter(pk=part.pk).update(state=State.RETURNED, mesh_id="M1", status_code="14", problem="It came back.")
    look()
    assert tree(root) == {"SENT": ["whole.ctl", "whole.dat"], "FAILED": ["part.ctl", "part.dat"]}
    assert outcome(root / "FAILED" / "part.ctl").code == "14"
