"""A mailbox gets a folder: at the command line, with an audit row, and only one that is its own and stays below the root."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from mailboxes import folders
from mailboxes.checks import folder_root_is_usable
from mailboxes.models import Mailbox, WatchedFolder
from meshportal.audit.models import AuditEvent
from tests.conftest import Make

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(tmp_path: Path, settings: Any) -> Path:
    """The share, with a folder for each of two mailboxes."""
    settings.FOLDER_ROOT = tmp_path / "share"
    for name in ("one", "two"):
        (tmp_path / "share" / "boxes" / name).mkdir(parents=True)
    return tmp_path / "share"


def run(*arguments: str) -> str:
    said = io.StringIO()
    call_command("set_mailbox", *arguments, stdout=said, stderr=said)
    return said.getvalue()


def test_a_mailbox_is_wired_to_its_folder_and_unwired(root: Path, mailbox: Make, signed_in: Any) -> None:
    box = mailbox()
    said = run(box.mailbox_id, "--folder", "boxes/one", "--send-from-folder", "--reason", "cut-over")
    assert "Changed folder, send from folder" in said
    box.refresh_from_db()
    assert (box.folder, box.send_from_folder, box.revision) == ("boxes/one", True, 1)
    assert box.watched_folder.due_at is not None
    event = AuditEvent.objects.get(action="mailbox.changed")
    assert event.before == {"folder": "", "send_from_folder": False}
    assert event.after == {"folder": "boxes/one", "send_from_folder": True}
    page = signed_in("viewer").get(f"/t/{box.team.slug}/mailboxes/{box.pk}/").content.decode()
    assert "boxes/one" in page and "Documents put into its" in page and "Not looked at yet" in page
    WatchedFolder.objects.update(problem_code="folder_missing", problem="The share is away.", problem_since=box.created_at)
    run(box.mailbox_id, "--no-send-from-folder")
    box.refresh_from_db()
    assert (box.folder, box.send_from_folder) == ("boxes/one", False)
    assert WatchedFolder.objects.get().problem_code == ""
    run(box.mailbox_id, "--folder", "")
    box.refresh_from_db()
    assert box.folder == ""


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/etc", "Give a way below"),
        ("../share", "Give a way below"),
        ("boxes/../../etc", "Give a way below"),
        ("boxes//one", "Give a way below"),
        ("boxes/one/", "Give a way below"),
        ("./boxes", "Give a way below"),
        ("boxes\\one", "Give a way below"),
        ("boxes/one\n", "Give a way below"),
        ("boxes/.hidden", "Give a way below"),
        (" boxes", "Give a way below"),
        ("boxes/one/OUT", "not one of them"),
        ("x" * 201, "at most 200|is not there|File name too long"),
        ("nowhere", "is not there"),
        ("away", "symbolic link"),
        ("away/inside", "symbolic link"),
        ("file", "no folder at all"),
        ("boxes/two", "that of mailbox X26HC002"),
        ("BOXES/TWO", "that of mailbox X26HC002"),
        ("boxes", "one lies within the other"),
        ("boxes/two/deeper", "one lies within the other"),
    ],
)
def test_a_folder_that_is_no_good_is_refused_in_plain_words(
    root: Path, mailbox: Make, tmp_path: Path, folder: str, said: str
) -> None:
    box, other = mailbox(), mailbox()
    run(other.mailbox_id, "--folder", "boxes/two")
    (tmp_path / "elsewhere" / "inside").mkdir(parents=True)
    (root / "away").symlink_to(tmp_path / "elsewhere")
    (root / "file").write_text("")
    before = AuditEvent.objects.count()
    with pytest.raises(CommandError, match=said):
        run(box.mailbox_id, "--folder", folder, "--send-from-folder")
    box.refresh_from_db()
    assert (box.folder, box.send_from_folder) == ("", False)
    assert AuditEvent.objects.count() == before


def test_without_a_root_or_a_folder_nothing_is_wired(mailbox: Make, settings: Any) -> None:
    settings.FOLDER_ROOT = None
    box = mailbox()
    with pytest.raises(CommandError, match="set MESHPORTAL_FOLDER_ROOT"):
        run(box.mailbox_id, "--folder", "boxes/one")
    with pytest.raises(CommandError, match="no folder to send from"):
        run(box.mailbox_id, "--send-from-folder")
    assert not WatchedFolder.objects.exists()


def test_another_teams_mailbox_is_not_named(root: Path, mailbox: Make, other_team: Any) -> None:
    box, other = mailbox(), mailbox(team=other_team)
    run(other.mailbox_id, "--folder", "boxes/two")
    with pytest.raises(CommandError, match="another mailbox") as caught:
        run(box.mailbox_id, "--folder", "boxes/two")
    assert other.mailbox_id not in str(caught.value)


def test_the_database_itself_lets_no_two_share(root: Path, mailbox: Make) -> None:
    mailbox(folder="boxes/one")
    with pytest.raises(IntegrityError):
        mailbox(folder="Boxes/One")


def test_a_link_put_in_later_is_not_followed(root: Path, tmp_path: Path) -> None:
    with folders.open_at("boxes/one") as at:
        assert os.fstat(at).st_ino == (root / "boxes" / "one").stat().st_ino
    (root / "boxes" / "one").rmdir()
    (root / "boxes" / "one").symlink_to(tmp_path)
    with pytest.raises(folders.FolderTrouble, match="symbolic link"):
        folders.opened("boxes/one")


def test_the_check_says_when_the_share_is_away_or_not_ours(root: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder_root_is_usable() == []
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be read and written" in folder_root_is_usable()[0].msg
    settings.FOLDER_ROOT = root / "away"
    assert "is not there" in folder_root_is_usable()[0].msg
    settings.FOLDER_ROOT = None
    assert folder_root_is_usable() == []


def test_a_folder_in_trouble_stands_on_the_overview(root: Path, mailbox: Make, signed_in: Any) -> None:
    boxes = [mailbox(folder=f"boxes/{number}", send_from_folder=True) for number in range(5)]
    browser = signed_in("viewer")
    for box in boxes[:1]:
        WatchedFolder.objects.create(mailbox=box, problem_code="x", problem="The share is away.", problem_since=box.created_at)
    page = browser.get("/t/midshire/").content.decode()
    assert page.count("The share is away.") == 1
    for box in boxes[1:]:
        WatchedFolder.objects.create(mailbox=box, problem_code="x", problem="The share is away.", problem_since=box.created_at)
    page = browser.get("/t/midshire/").content.decode()
    assert page.count("The share is away.") == 1
    assert "5 mailboxes" in page
    assert "The share is away." in browser.get(f"/t/midshire/mailboxes/{boxes[0].pk}/").content.decode()
    assert Mailbox.objects.count() == 5
