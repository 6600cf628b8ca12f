"""The folders of a running client become history: each record once, joined where it is known, and nothing there is touched."""

from __future__ import annotations

import io
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from mailboxes.models import Mailbox
from messages import ctl, inbox
from messages.client import watching
from messages.models import ClientRecord, Message, MessageEvent, Outgoing
from messages.states import State
from tests.conftest import Make

pytestmark = pytest.mark.django_db

BOX, OTHER = "X26CL001", "YGM24HC001"
NOW = datetime.now(UTC).replace(microsecond=0)


def mesh_id(number: int) -> str:
    return f"{NOW - timedelta(hours=1):%Y%m%d%H%M%S}{number:06d}_ABCDEF"


def control(number: int, **fields: Any) -> ctl.Control:
    """What the client writes when it sent a document."""
    said = ctl.StatusRecord(at=NOW, event="TRANSFER", status="SUCCESS", code="00", description="Transfer successful")
    given = {
        "from_dts": BOX,
        "to_dts": OTHER,
        "workflow_id": "TOC_FHIR_IP_DISCH",
        "subject": "PLANTED-subject",
        "local_id": f"L{number}",
        "dts_id": mesh_id(number),
        "status_record": said,
    }
    return ctl.Control(**{**given, **fields})


def received(number: int, **fields: Any) -> ctl.Control:
    return control(number, **{"from_dts": OTHER, "to_dts": BOX, **fields})


def failed(number: int, **fields: Any) -> ctl.Control:
    said = ctl.StatusRecord(at=NOW, event="SEND", status="ERROR", code="12", description="PLANTED")
    return control(number, **{"dts_id": "", "status_record": said, **fields})


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    settings.FOLDER_SETTLE_SECONDS = 0
    for name in ("IN", "OUT", "SENT", "FAILED", "TEMP"):
        (tmp_path / "data" / BOX / name).mkdir(parents=True)
    return tmp_path / "data" / BOX


@pytest.fixture
def box(mailbox: Make) -> Mailbox:
    made: Mailbox = mailbox(mailbox_id=BOX, mode="watch")
    return made


def put(home: Path, place: str, name: str, content: ctl.Control | bytes) -> Path:
    path = home / place / f"{name}.ctl"
    path.write_bytes(content if isinstance(content, bytes) else ctl.render(content))
    return path


def look(box: Mailbox, home: Path) -> tuple[watching.Tally, list[str]]:
    """One look, which leaves everything as it was."""
    before = everything(home)
    said: list[str] = []
    tally = watching.look(box, home, said.append)
    assert everything(home) == before
    return tally, said


def everything(home: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(home.rglob("*")):
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else b""
        found[str(path)] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_mode, content)
    return found


def counts() -> tuple[int, int, int]:
    return Message.objects.count(), MessageEvent.objects.count(), ClientRecord.objects.count()


def test_one_of_each_and_nothing_the_second_time(box: Mailbox, home: Path) -> None:
    put(home, "IN", "a", received(1))
    put(home, "SENT", "b", control(2))
    put(home, "FAILED", "c", failed(3))
    for name in ("b.dat", ".hidden.ctl", "note.txt"):
        (home / "SENT" / name).write_bytes(b"a letter")
    tally, said = look(box, home)
    assert (tally.logged, tally.waiting, tally.unusable, said) == (3, 0, 0, [])
    came, went, broke = (Message.objects.get(local_id=f"L{number}") for number in (1, 2, 3))
    assert (came.direction, came.state, came.sender, came.mesh_id) == ("in", State.LEFT, OTHER, mesh_id(1))
    assert (went.direction, went.state, went.recipient_mailbox, went.mesh_id) == ("out", State.ACCEPTED, OTHER, mesh_id(2))
    assert (broke.direction, broke.state, broke.mesh_id) == ("out", State.REFUSED, "")
    assert "code: 12" in broke.problem and "PLANTED" not in broke.problem
    assert {one.seen_at for one in (came, went, broke)} == {NOW}
    assert went.sent_at == inbox.accepted_at(mesh_id(2))
    assert Outgoing.objects.get(message=went).due_at is not None
    assert Outgoing.objects.get(message=broke).due_at is None
    assert {event.actor_label for event in MessageEvent.objects.all()} == {"MESH client"}
    assert "PLANTED" not in repr(list(MessageEvent.objects.values()))
    before = counts()
    tally, said = look(box, home)
    assert (tally.logged, tally.unusable, said, counts()) == (0, 0, [], before)


def test_what_the_watch_knows_is_joined(box: Mailbox, home: Path, message: Make) -> None:
    known = message(mailbox=box, mesh_id=mesh_id(1), state="watched", sender="", workflow_id="")
    put(home, "IN", "a", received(1))
    look(box, home)
    assert Message.objects.count() == 1
    known.refresh_from_db()
    assert (known.state, known.sender, known.workflow_id) == ("watched", OTHER, "TOC_FHIR_IP_DISCH")
    assert [event.kind for event in known.events.all()] == ["client_received"]
    assert ClientRecord.objects.get().message == known


def test_the_watch_joins_what_the_client_logged(box: Mailbox, home: Path) -> None:
    put(home, "IN", "a", received(1))
    look(box, home)
    found = inbox.register(box, [mesh_id(1)])
    assert Message.objects.count() == 1 and found[0].state == State.WATCHED


def test_what_the_portal_stored_or_sent_itself_is_left_alone(box: Mailbox, home: Path, message: Make) -> None:
    mine = message(mailbox=box, mesh_id=mesh_id(1), body=b"a letter")
    sent = message(mailbox=box, mesh_id=mesh_id(2), state="collected")
    put(home, "IN", "a", received(1))
    put(home, "SENT", "b", control(2))
    tally, _ = look(box, home)
    assert tally.logged == 2 and counts() == (2, 0, 2)
    assert {row.message for row in ClientRecord.objects.all()} == {mine, sent}


def test_a_transfer_report_is_about_what_was_sent(box: Mailbox, home: Path) -> None:
    put(home, "SENT", "a", control(1))
    put(home, "IN", "b", control(1, message_type="Report"))
    put(home, "IN", "poll", received(2, message_type="Report", dts_id="", status_record=None))
    tally, said = look(box, home)
    assert (tally.logged, said, Message.objects.count()) == (3, [], 1)
    assert Message.objects.get().events.count() == 2


def test_a_report_of_mesh_is_a_report(box: Mailbox, home: Path) -> None:
    said = ctl.StatusRecord(at=NOW, event="COLLECT", status="ERROR", code="14", description="not collected")
    put(home, "IN", "a", received(1, message_type="Report", status_record=said))
    look(box, home)
    assert Message.objects.get().message_type == "REPORT"


def test_patient_numbers_are_no_mailbox_and_are_not_printed(box: Mailbox, home: Path) -> None:
    put(home, "SENT", "a", control(1, to_dts="9434765919"))
    put(home, "SENT", "letter of 943 476 5919", b"nothing")
    out = io.StringIO()
    call_command("watch_client", str(home), stdout=out)
    row = Message.objects.get()
    assert row.recipient_mailbox == "" and row.recipient_sealed == "9434765919"
    assert "943" not in out.getvalue() and "NHS number hidden" in out.getvalue()


def test_a_half_file_is_waited_for_and_told_once_at_last(box: Mailbox, home: Path) -> None:
    whole = ctl.render(control(1))
    for cut in (0, 1, len(whole) // 2, len(whole) - 3):
        path = put(home, "SENT", "a", whole[:cut])
        tally, said = look(box, home)
        assert (tally.waiting, tally.logged, said) == (1, 0, []), cut
    past = time.time() - 2 * watching.HALF_SECONDS
    os.utime(path, (past, past))
    # Its change time is now: whoever writes may set the other.
    assert look(box, home)[0].waiting == 1
    path.write_bytes(whole)
    assert look(box, home)[0].logged == 1
    assert Message.objects.count() == 1


def test_half_for_too_long(box: Mailbox, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(home, "SENT", "a", ctl.render(control(1))[:40])
    monkeypatch.setattr(watching, "HALF_SECONDS", 0)
    assert [len(look(box, home)[1]) for _ in range(3)] == [1, 0, 0]
    path.write_bytes(ctl.render(control(1)))
    assert look(box, home)[0].logged == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"nothing", "not well-formed"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><DTSControl/>", "DOCTYPE"),
        (b"<DTSControl>" + b" " * 70_000, "larger than"),
        (ctl.render(control(1, from_dts="X26HC999")), "another mailbox"),
        (ctl.render(control(1, dts_id="")), "no DTSId"),
        (ctl.render(control(1, dts_id="a b")), "no message ID"),
    ],
)
def test_unusable_files_are_told_once(box: Mailbox, home: Path, raw: bytes, words: str) -> None:
    path = put(home, "SENT", "a", raw)
    put(home, "SENT", "b", control(2))
    tally, said = look(box, home)
    assert tally.logged == 1 and len(said) == 1 and words in said[0] and "PLANTED" not in said[0]
    assert look(box, home)[1] == []
    os.utime(path)
    assert look(box, home)[1] == []
    path.write_bytes(ctl.render(control(3)))
    assert look(box, home)[0].logged == 1
    assert Message.objects.count() == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(box: Mailbox, home: Path) -> None:
    path = put(home, "SENT", "a", control(1))
    path.chmod(0)
    assert [len(look(box, home)[1]) for _ in range(2)] == [1, 0]
    path.chmod(0o600)
    assert look(box, home)[0].logged == 1


def test_links_and_folders_are_passed_over(box: Mailbox, home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.ctl"
    outside.write_bytes(ctl.render(control(1)))
    (home / "SENT" / "a.ctl").symlink_to(outside)
    (home / "SENT" / "b.ctl").mkdir()
    os.mkfifo(home / "SENT" / "c.ctl")
    (home / "FAILED").rmdir()
    (home / "FAILED").symlink_to(tmp_path)
    said: list[str] = []
    tally = watching.look(box, home, said.append)
    assert (tally.logged, said) == (0, []) and "symbolic link" in tally.troubles[0]


def test_touched_copied_and_reused_names(box: Mailbox, home: Path) -> None:
    path = put(home, "SENT", "a", control(1))
    look(box, home)
    os.utime(path)
    path.replace(home / "x")
    (home / "SENT" / "a.ctl").write_bytes(ctl.render(control(1)))
    (home / "SENT" / "copy.ctl").write_bytes(ctl.render(control(1)))
    look(box, home)
    assert Message.objects.count() == 1
    put(home, "SENT", "a", control(2))
    look(box, home)
    assert Message.objects.count() == 2


def test_old_records_are_not_tracked(box: Mailbox, home: Path) -> None:
    said = ctl.StatusRecord(at=NOW - timedelta(days=40), event="TRANSFER", status="SUCCESS", code="00")
    put(home, "SENT", "a", control(1, dts_id="OLD1", status_record=said))
    look(box, home)
    assert Outgoing.objects.get().due_at is None
    assert Message.objects.get().seen_at == said.at


def test_a_small_letter_tree_and_the_whole_data_folder(box: Mailbox, mailbox: Make, home: Path) -> None:
    collected = mailbox(mailbox_id="X26CL002", mode="collect")
    small = home.parent / "x26cl003"
    (small / "sent").mkdir(parents=True)
    mailbox(mailbox_id="X26CL003", mode="watch")
    (small / "sent" / "a.CTL").write_bytes(ctl.render(control(1, from_dts="X26CL003")))
    for name in ("_TEMPLATE", collected.mailbox_id, "nobody"):
        (home.parent / name / "SENT").mkdir(parents=True)
    put(home.parent / collected.mailbox_id, "SENT", "b", control(2, from_dts="X26CL002"))
    put(home, "SENT", "c", control(3))
    out = io.StringIO()
    call_command("watch_client", str(home.parent), stdout=out)
    assert {row.sender for row in Message.objects.all()} == {BOX, "X26CL003"}
    for words in ("There is no mailbox nobody", "does not merely watch", f"{BOX}: 1 logged", "X26CL003: 1 logged"):
        assert words in out.getvalue()
    assert "_TEMPLATE" not in out.getvalue()


def test_refusals_of_the_command(box: Mailbox, home: Path, tmp_path: Path) -> None:
    for directory, words in ((tmp_path / "nowhere", "cannot be read"), (tmp_path, "no watched mailbox")):
        with pytest.raises(CommandError, match=words):
            call_command("watch_client", str(directory))
    with pytest.raises(CommandError, match="--every"):
        call_command("watch_client", str(home), "--every", "0")
    Mailbox.objects.update(mode="collect")
    with pytest.raises(CommandError, match="merely watch"):
        call_command("watch_client", str(home))


def test_they_stand_on_the_pages_beside_the_portals_own(box: Mailbox, home: Path, signed_in: Any, team: Any) -> None:
    put(home, "IN", "a", received(1))
    put(home, "SENT", "b", control(2))
    put(home, "FAILED", "c", failed(3))
    look(box, home)
    for role in ("viewer", "operator", "manager"):
        browser = signed_in(role)
        for row in Message.objects.all():
            answer = browser.get(reverse("messages:detail", kwargs={"team": team.slug, "pk": row.pk}))
            assert answer.status_code == 200
            assert b"PLANTED" not in answer.content
            assert "MESH client" in answer.content.decode()
    for name, number in (("list", 1), ("outbox", 2)):
        address = reverse(f"messages:{name}", kwargs={"team": team.slug})
        assert mesh_id(number) in browser.get(address).content.decode()


def test_the_tracker_asks_about_what_the_client_sent(box: Mailbox, home: Path) -> None:
    from messages import track

    put(home, "SENT", "a", control(1))
    look(box, home)
    Outgoing.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    claimed = track.claim_due()
    assert claimed is not None and claimed.message_id == Message.objects.get().pk
