"""The pages of a file of mailboxes, and its command: what is said, to whom, and that no secret comes back."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mailboxes import examining, sheet
from mailboxes.models import Examination, ExaminationRow, Mailbox, MailboxImport
from meshportal.audit.models import AuditEvent
from tests.conftest import Make
from tests.imports.conftest import PASSWORD, Prepare, new
from tests.imports.conftest import sheet as filed
from tests.receive.conftest import ACTOR

pytestmark = pytest.mark.django_db


def address(name: str, team: Any, **more: Any) -> str:
    return reverse(f"mailboxes:{name}", kwargs={"team": team.slug, **more})


def said(answer: Any) -> str:
    text = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert PASSWORD.encode() not in text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.decode()))


def upload(browser: Client, team: Any, data: bytes, name: str = "boxes.csv") -> Any:
    return browser.post(address("import", team), {"file": SimpleUploadedFile(name, data, "text/csv")})


def digest(answer: Any) -> str:
    found = re.search(r'name="digest" value="([0-9a-f]{64})"', answer.content.decode())
    assert found is not None
    return found[1]


# --- The way of a good file -----------------------------------------------------------------------------------------------
def test_upload_look_import_and_see_the_connections(signed_in: Any, team: Any, identity: Any) -> None:
    browser = signed_in("manager")
    answer = upload(browser, team, filed(new(1), new(2, mode="collect")))
    assert answer.status_code == 302
    assert not Mailbox.objects.exists()
    page = browser.get(answer["Location"])
    text = said(page)
    assert "This file would add 2 mailboxes. Nothing was done yet." in text
    assert "1 mailbox will collect" in text
    assert "Import: add 2" in text
    assert "password given" in text
    answer = browser.post(answer["Location"], {"digest": digest(page), "reason": ""}, follow=True)
    text = said(answer)
    assert "2 mailboxes added, 0 mailboxes changed, 0 unchanged." in text
    assert "0 of 2 checked" in text
    assert 'data-refresh="2"' in answer.content.decode()
    assert {box.password for box in Mailbox.objects.all()} == {f"{PASSWORD}-1", f"{PASSWORD}-2"}
    imported = MailboxImport.objects.get()
    text = said(browser.get(address("imported", team, pk=imported.pk)))
    assert "Which of them connect" in text
    assert "Import: add" not in text
    assert "boxes.csv" in said(browser.get(address("import", team)))
    trail = said(browser.get(reverse("console:audit", kwargs={"team": team.slug})))
    assert "carried out the" in trail and "which adds 2 mailboxes and changes 0 mailboxes" in trail


def test_what_was_said_of_the_file_stands_on_its_page(signed_in: Any, team: Any, identity: Any) -> None:
    browser = signed_in("manager")
    data = filed(new(1, name="Zoë’s ward", certificate="")).decode("utf-8-sig").encode("cp1252")
    text = said(browser.get(upload(browser, team, data, name="wards\x07\u202e.csv")["Location"]))
    assert "The file was read as Windows-1252." in text
    assert "Zoë’s ward" in text
    assert "wards.csv" in text


def test_a_change_of_mode_asks_why_beside_the_field(signed_in: Any, team: Any, prepare: Prepare, mailbox: Make) -> None:
    box = mailbox(mode="watch")
    imported = prepare({"mailbox_id": box.mailbox_id, "environment": "sandbox", "mode": "collect"})
    browser = signed_in("manager")
    url = address("imported", team, pk=imported.pk)
    answer = browser.post(url, {"digest": imported.digest, "reason": " "})
    assert answer.status_code == 422
    assert "Say why the mode of mailboxes changes" in said(answer)
    assert Mailbox.objects.get().mode == "watch"
    browser.post(url, {"digest": imported.digest, "reason": "cut-over"})
    assert Mailbox.objects.get().mode == "collect"
    assert AuditEvent.objects.get(action="mailbox.changed").reason == "cut-over"


def test_what_changed_meanwhile_is_said_and_shown(signed_in: Any, team: Any, prepare: Prepare, mailbox: Make) -> None:
    box = mailbox(name="Old")
    imported = prepare({"mailbox_id": box.mailbox_id, "environment": "sandbox", "name": "New"})
    Mailbox.objects.update(name="Other", revision=5)
    answer = signed_in("manager").post(
        address("imported", team, pk=imported.pk), {"digest": imported.digest, "reason": ""}, follow=True
    )
    text = said(answer)
    assert "Something in the portal changed since you looked" in text
    assert "name from Other to New" in text
    assert digest(answer) != imported.digest


def test_discarded(signed_in: Any, team: Any, prepare: Prepare) -> None:
    imported = prepare(new(1))
    browser = signed_in("manager")
    answer = browser.post(address("imported-discard", team, pk=imported.pk), follow=True)
    assert "Discarded. Nothing was imported" in said(answer)
    text = said(browser.get(address("imported", team, pk=imported.pk)))
    assert "what was uploaded is gone" in text and "Import: add" not in text
    answer = browser.post(address("imported", team, pk=imported.pk), {"digest": imported.digest, "reason": ""}, follow=True)
    assert "imported already, or it was discarded" in said(answer)


def test_one_that_expired_says_so_before_the_sweep_comes(signed_in: Any, team: Any, prepare: Prepare) -> None:
    imported = prepare(new(1))
    MailboxImport.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    text = said(signed_in("manager").get(address("imported", team, pk=imported.pk)))
    assert "Expired" in text and "Import: add" not in text
    assert imported.digest


# --- Files that are refused -------------------------------------------------------------------------------------------------
def test_every_problem_stands_with_its_row(signed_in: Any, team: Any, identity: Any) -> None:
    browser = signed_in("manager")
    answer = upload(browser, team, filed(new(1, mode=PASSWORD), new(2, name="")))
    assert answer.status_code == 422
    text = said(answer)
    assert "The file has 2 problems. Nothing was imported" in text
    assert "Row 2 mode Write one of: collect, watch, paused." in text
    assert "Row 3 name This mailbox is new, so it needs a name." in text
    assert not MailboxImport.objects.exists()
    many = said(upload(browser, team, filed(*[new(number, poll_seconds="never") for number in range(120)])))
    assert "The file has 120 problems." in many
    assert "And 20 more." in many


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty."),
        (f"{PASSWORD},x\n".encode(), "Column A is not known."),
        (b"\xff\xfe" + "mailbox_id".encode("utf-16-le"), "The file is in UTF-16"),
        (b"x" * 1_100_000, "The file holds more than 1,000 KB, which is the most that is taken."),
        (filed(*[new(number) for number in range(1_001)]), "The file has more than 1,000 rows"),
    ],
)
def test_a_file_that_is_none(signed_in: Any, team: Any, data: bytes, sentence: str) -> None:
    answer = upload(signed_in("manager"), team, data)
    assert answer.status_code == 422
    assert sentence in said(answer)


def test_no_file_at_all(signed_in: Any, team: Any) -> None:
    answer = signed_in("manager").post(address("import", team))
    assert answer.status_code == 422
    assert "Choose the CSV file" in said(answer)


def test_an_upload_needs_its_token(team: Any, member: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(member("manager"))
    assert upload(browser, team, filed(new(1))).status_code == 403


# --- Template and export ------------------------------------------------------------------------------------------------------
def test_the_template_is_a_head_and_the_export_has_no_secret(signed_in: Any, team: Any, mailbox: Make) -> None:
    browser = signed_in("manager")
    answer = browser.get(address("import-template", team))
    assert b"".join(answer.streaming_content).decode() == f"\ufeff{','.join(sheet.TABLE.header)}\r\n"
    mailbox(password=PASSWORD, name="=1+1")
    answer = browser.get(address("export", team), {"environment": "sandbox"})
    assert f'filename="mailboxes-{team.slug}-sandbox-' in answer["Content-Disposition"]
    assert "'=1+1" in said(answer)
    assert AuditEvent.objects.get(action="mailboxes.exported").after == {"environment": "sandbox", "mailboxes": 1}
    # One environment needs no choice; none that is known leads back.
    assert browser.get(address("export", team)).status_code == 200
    assert browser.get(address("export", team), {"environment": "else"})["Location"] == address("import", team)


# --- The connections ----------------------------------------------------------------------------------------------------------
def test_the_page_of_the_connections(signed_in: Any, team: Any, mailbox: Make) -> None:
    boxes = [mailbox(name=f"Ward {number:02}") for number in range(60)]
    examination = examining.begin(actor=ACTOR, team=team, environment="sandbox", mailboxes=[box.pk for box in boxes])
    viewer = signed_in("viewer")
    url = address("examination", team, pk=examination.pk)
    page = viewer.get(url)
    assert "0 of 60 checked" in said(page)
    assert page.content.decode().count("<tr data-key") == 50
    now = timezone.now()
    ExaminationRow.objects.update(finding="good", due_at=None, examined_at=now)
    ExaminationRow.objects.filter(mailbox=boxes[59]).update(finding="bad", found="It fails at “DNS”.", remedy="Mend it.")
    page = viewer.get(url)
    text = said(page)
    assert "59 mailboxes connect, 1 mailbox does not." in text
    assert text.index("Ward 59") < text.index("Ward 00")
    assert "It fails at “DNS”. Mend it." in text
    assert "data-refresh" not in page.content.decode().partition("<main")[2]
    assert "Check those that failed again" not in text
    assert "Ward 00" not in said(viewer.get(url, {"finding": "bad"}))
    Examination.objects.update(asked_at=now - examining.GAP)
    operator = signed_in("operator")
    answer = operator.post(address("examination-retry", team, pk=examination.pk), follow=True)
    assert "1 mailbox will be checked again." in said(answer)
    assert "59 of 60 checked" in said(answer)


# --- The command ---------------------------------------------------------------------------------------------------------------
def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("import_mailboxes", *arguments, stdout=out, stderr=out)
    assert PASSWORD not in out.getvalue()
    return out.getvalue()


def test_the_command_says_and_then_does(team: Any, identity: Any, mailbox: Make, tmp_path: Path) -> None:
    box = mailbox(name="Old", mode="watch")
    path = tmp_path / "boxes.csv"
    change = {"mailbox_id": box.mailbox_id, "environment": "sandbox", "name": "New", "mode": "collect", "password": PASSWORD}
    path.write_bytes(filed(new(1), change))
    told = run(str(path), "--team", "midshire")
    assert "Row 2: add Ward 1 (X26IM001) ods_code X26; password given; certificate Midshire 2026; mode Watch only" in told
    assert f"Row 3: change Old ({box.mailbox_id}) name from Old to New; password changed; mode from Watch only to Collect" in told
    assert "1 to add, 1 to change, 0 unchanged." in told
    assert (Mailbox.objects.count(), MailboxImport.objects.count(), AuditEvent.objects.count()) == (1, 0, 0)
    with pytest.raises(CommandError, match="Say why the mode"):
        run(str(path), "--team", "midshire", "--apply")
    assert MailboxImport.objects.get().rows is None
    told = run(str(path), "--team", "midshire", "--apply", "--reason", "cut-over")
    assert f"see /t/midshire/mailboxes/checks/{Examination.objects.get().pk}/" in told
    box.refresh_from_db()
    assert (Mailbox.objects.count(), box.name, box.password) == (2, "New", PASSWORD)


def test_the_commands_mistakes(team: Any, identity: Any, tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_bytes(filed(new(1, mode=PASSWORD), new(2, name="")))
    with pytest.raises(CommandError) as caught:
        run(str(path), "--team", "midshire")
    assert str(caught.value).splitlines() == [
        "Nothing was imported. The file has 2 problems:",
        "Row 2, mode: Write one of: collect, watch, paused.",
        "Row 3, name: This mailbox is new, so it needs a name.",
    ]
    with pytest.raises(CommandError, match="There is no team other"):
        run(str(path), "--team", "other")
    with pytest.raises(CommandError, match="cannot be read"):
        run(str(tmp_path / "none.csv"), "--team", "midshire")
    assert not AuditEvent.objects.exists()
