"""A client is brought in: on its pages, by its command, all or nothing, in watch mode; taken over, and given back."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from certificates.models import ClientIdentity
from certificates.reading import Source
from mailboxes import keeping
from mailboxes.client import bringing, taking_over
from mailboxes.models import ClientImport, ClientMailbox, Examination, Mailbox, MailboxImport, Outlet, WatchedFolder
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from tests.certificates.making import KEYTOOL_PASSPHRASE, Making, Pair
from tests.clients.conftest import ACTOR, PASSWORD, STORE, Bring, cfg, client
from tests.conftest import Make, Need

pytestmark = pytest.mark.django_db


def address(name: str, team: Any, **more: Any) -> str:
    return reverse(f"mailboxes:{name}", kwargs={"team": team.slug, **more})


def said(answer: Any) -> str:
    assert b"PLANTED" not in answer.content
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def upload(browser: Client, team: Any, data: bytes, keystore: bytes, **more: Any) -> Any:
    files = {"config": SimpleUploadedFile("meshclient.cfg", data), "keystore": SimpleUploadedFile("mesh.keystore", keystore)}
    given = {"environment": "sandbox", "ods_code": "X26", "passphrase": "", **more}
    return browser.post(address("client-import", team), {**files, **given})


def refused(bring: Bring, data: bytes | None = None, **more: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        bring(data, **more)
    assert not ClientImport.objects.exists()
    assert "PLANTED" not in str(error.value)
    return error.value.message_dict


# --- The way of a good client ---------------------------------------------------------------------------------------------
def test_upload_look_type_a_password_and_add(signed_in: Any, team: Any, keystore: bytes, share: Path) -> None:
    browser = signed_in("manager")
    data = cfg(client(), client("X26CL002", ClientAuthentication="ENC(PLANTED)", Shiny="PLANTED"))
    answer = upload(browser, team, data, keystore)
    assert answer.status_code == 302
    assert not Mailbox.objects.exists() and not ClientIdentity.objects.exists()
    page = browser.get(answer["Location"])
    text = said(page)
    assert "This would add 2 mailboxes in watch mode. Nothing was done yet." in text
    for words in ("Password of X26CL002", "looks encrypted", "not a documented setting", "polled every 30 minutes"):
        assert words in text
    assert "Password of X26CL001" not in text
    without = browser.post(answer["Location"], {})
    assert without.status_code == 422
    assert "Enter the password of X26CL002" in said(without)
    assert not Mailbox.objects.exists()
    done = browser.post(answer["Location"], {"password_X26CL002": "PLANTED-typed"}, follow=True)
    assert "only watched" in said(done)
    boxes = {box.mailbox_id: box for box in Mailbox.objects.all()}
    assert {name: (box.mode, box.password, box.poll_interval_seconds) for name, box in boxes.items()} == {
        "X26CL001": ("watch", PASSWORD, 1800),
        "X26CL002": ("watch", "PLANTED-typed", 1800),
    }
    assert {box.identity for box in boxes.values()} == {ClientIdentity.objects.get()}
    assert {(box.folder, box.send_from_folder) for box in boxes.values()} == {("", False)}
    assert boxes["X26CL001"].client.switches["SaveSent"] == "Y"
    imported = ClientImport.objects.get()
    assert imported.held is None and imported.examination == Examination.objects.get()
    assert "2 mailboxes added in watch mode" in said(browser.get(address("client-imported", team, pk=imported.pk)))
    assert "PLANTED" not in repr(list(AuditEvent.objects.values()))
    trail = said(browser.get(reverse("console:audit", kwargs={"team": team.slug})))
    assert "import of a MESH client" in trail


@pytest.mark.parametrize("kind", ["JKS", "JCEKS", "PKCS12"])
def test_keystores_as_keytool_writes_them(kind: str, need: Need, making: Making, good: Pair, bring: Bring) -> None:
    need("keytool")
    source = Source("the file mesh.keystore", making.keystore(good, kind))
    if kind == "JCEKS":
        with pytest.raises(ValidationError):
            bring(cfg(KeyStorePassword=KEYTOOL_PASSPHRASE), keystore=source)
        return
    imported = bring(cfg(KeyStorePassword=KEYTOOL_PASSPHRASE), keystore=source)
    bringing.apply(actor=ACTOR, imported=imported, passwords={})
    assert ClientIdentity.objects.get().subject_cn.startswith("X26HC001")


def test_two_clients_with_one_certificate_share_it(team: Any, bring: Bring) -> None:
    bringing.apply(actor=ACTOR, imported=bring(), passwords={})
    second = bring(cfg(client("X26CL002")))
    assert second.certificate["known"]
    bringing.apply(actor=ACTOR, imported=second, passwords={})
    assert ClientIdentity.objects.count() == 1 and Mailbox.objects.count() == 2


def test_two_that_were_uploaded_before_the_first_was_added_share_it_too(bring: Bring) -> None:
    first, second = bring(), bring(cfg(client("X26CL002")))
    for one in (first, second):
        bringing.apply(actor=ACTOR, imported=one, passwords={})
    assert ClientIdentity.objects.count() == 1


def test_a_mailbox_that_is_there_is_left_as_it_is(team: Any, mailbox: Make, bring: Bring) -> None:
    box = mailbox(mailbox_id="X26CL001", mode="collect")
    imported = bring(cfg(client(), client("X26CL002")))
    assert [one["kind"] for one in imported.boxes] == ["same", "add"]
    bringing.apply(actor=ACTOR, imported=imported, passwords={})
    before = (box.mode, box.password, box.revision, box.identity_id)
    box = Mailbox.objects.get(pk=box.pk)
    assert (box.mode, box.password, box.revision, box.identity_id) == before
    assert box.client.interface_root == r"D:\MESH-DATA-HOME\X26CL001"
    with pytest.raises(Refused, match="in the portal already"):
        bringing.apply(actor=ACTOR, imported=bring(cfg()), passwords={})


# --- What is refused -------------------------------------------------------------------------------------------------------
def test_refusals_name_the_field_and_the_line(bring: Bring, mailbox: Make, other_team: Any) -> None:
    assert refused(bring, b"<MESHConfig>\n<Client>")["config"][0].startswith("Line 2: this is not well-formed")
    assert refused(bring, b'<!DOCTYPE x [<!ENTITY a "PLANTED">]>' + cfg())["config"][0].startswith("Line 1: ")
    live = refused(bring, cfg(PrimaryURL="https://mesh-sync.spineservices.nhs.uk"))
    assert live["environment"] == ["Line 2: this client works in live, and you chose sandbox."]
    assert "passphrase" in refused(bring, cfg(KeyStorePassword="PLANTED-wrong"))
    assert "passphrase" in refused(bring, cfg(KeyStorePassword=None))
    assert "keystore" in refused(bring, keystore=Source("the file x", b"nothing"))
    mailbox(team=other_team, mailbox_id="X26CL001")
    assert refused(bring)["config"] == [
        "Line 14: A mailbox with this ID cannot be added to this environment. Ask whoever runs the portal why."
    ]


def test_files_that_are_too_large(signed_in: Any, team: Any, keystore: bytes) -> None:
    browser = signed_in("manager")
    for data, store in ((b"<" * 300_000, keystore), (cfg(), b"\0" * 1_200_000), (b" " * 50_000_000, keystore)):
        answer = upload(browser, team, data, store)
        assert answer.status_code == 422
        assert "larger than 256 KiB" in said(answer) or "Too large to be a keystore" in said(answer)


def test_all_or_nothing(bring: Bring, mailbox: Make, team: Any) -> None:
    imported = bring(cfg(client(), client("X26CL002", ClientAuthentication="")))
    with pytest.raises(ValidationError) as error:
        bringing.apply(actor=ACTOR, imported=imported, passwords={})
    assert list(error.value.message_dict) == ["password_X26CL002"]
    mailbox(mailbox_id="X26CL002")
    with pytest.raises(Refused, match="since you looked"):
        bringing.apply(actor=ACTOR, imported=imported, passwords={"X26CL002": "x"})
    assert Mailbox.objects.count() == 1
    assert ClientIdentity.objects.filter(name__startswith="MESH client").count() == 0
    assert not ClientMailbox.objects.exists() and not Examination.objects.exists()


def test_done_once_discarded_once_and_expired(bring: Bring) -> None:
    imported = bring()
    bringing.apply(actor=ACTOR, imported=imported, passwords={})
    with pytest.raises(Refused):
        keeping.discard(actor=ACTOR, upload=imported)
    with pytest.raises(Refused):
        bringing.apply(actor=ACTOR, imported=imported, passwords={})
    late = bring(cfg(client("X26CL002")))
    ClientImport.objects.filter(pk=late.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Refused, match="two hours"):
        bringing.apply(actor=ACTOR, imported=late, passwords={})
    assert keeping.sweep(ClientImport) == 1
    assert keeping.sweep(ClientImport) == 0
    late.refresh_from_db()
    assert late.held is None and Mailbox.objects.count() == 1


# --- The command ----------------------------------------------------------------------------------------------------------
def test_the_command(team: Any, tmp_path: Path, keystore: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meshclient.cfg").write_bytes(cfg(client(), client("X26CL002", ClientAuthentication=None)))
    (tmp_path / "mesh.keystore").write_bytes(keystore)
    arguments = ["import_client", str(tmp_path / "meshclient.cfg"), "--keystore", str(tmp_path / "mesh.keystore")]
    arguments += ["--team", team.slug, "--environment", "sandbox", "--ods-code", "X26"]
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    assert "Line 9: PollPeriod: taken over." in out.getvalue()
    assert not Mailbox.objects.exists() and not ClientImport.objects.filter(ended_at=None).exists()
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(CommandError, match="Type the password of mailbox X26CL002"):
        call_command(*arguments, "--apply", stdout=out)
    assert not Mailbox.objects.exists() and not ClientImport.objects.filter(ended_at=None).exists()
    monkeypatch.setenv("MESHPORTAL_PASSWORD_X26CL002", "PLANTED-typed")
    call_command(*arguments, "--apply", stdout=out)
    assert "Added 2 mailboxes in watch mode" in out.getvalue()
    assert {box.mode for box in Mailbox.objects.all()} == {"watch"}
    assert "PLANTED" not in out.getvalue()
    (tmp_path / "meshclient.cfg").write_bytes(b"<MESHConfig>\n\n<x>")
    with pytest.raises(CommandError, match="Line 3: this is not well-formed"):
        call_command(*arguments, stdout=out)


# --- Taking over and giving back --------------------------------------------------------------------------------------------
@pytest.fixture
def brought(bring: Bring, share: Path) -> Mailbox:
    bringing.apply(actor=ACTOR, imported=bring(), passwords={})
    return Mailbox.objects.get()


def take(box: Mailbox, **more: Any) -> None:
    given = {"folder": "MESH-DATA-HOME/X26CL001", "stopped": True, "send_waiting": False, "reason": "a test", **more}
    taking_over.cut_over(actor=ACTOR, mailbox=box, **given)


def test_over_and_back_in_the_same_folders(signed_in: Any, team: Any, brought: Mailbox) -> None:
    browser = signed_in("manager")
    url = address("cut-over", team, pk=brought.pk)
    page = browser.get(url)
    assert 'value="MESH-DATA-HOME/X26CL001"' in page.content.decode()
    assert "You confirm it" in said(page)
    answer = browser.post(url, {"folder": "MESH-DATA-HOME/X26CL001", "stopped": "on", "reason": "the old server ends"})
    assert answer.status_code == 302
    brought.refresh_from_db()
    assert (brought.mode, brought.folder, brought.send_from_folder) == ("collect", "MESH-DATA-HOME/X26CL001", True)
    assert Outlet.objects.get(mailbox=brought, channel="folder").enabled
    assert WatchedFolder.objects.filter(mailbox=brought).exists()
    assert "Give back to the client" in said(browser.get(url))
    assert browser.post(url, {"reason": ""}).status_code == 422
    answer = browser.post(url, {"reason": "not yet"})
    assert answer.status_code == 302
    brought.refresh_from_db()
    assert (brought.mode, brought.folder, brought.send_from_folder) == ("watch", "MESH-DATA-HOME/X26CL001", False)
    assert not Outlet.objects.get(mailbox=brought, channel="folder").enabled
    reasons = AuditEvent.objects.filter(action="mailbox.changed").values_list("reason", flat=True)
    assert set(reasons) == {"the old server ends", "not yet"}
    take(brought)
    with pytest.raises(Refused):
        take(brought)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"stopped": False}, "stopped", "Stop the client"),
        ({"reason": " "}, "reason", "Say why"),
        ({"folder": ""}, "folder", "below the portal’s root"),
        ({"folder": "../outside"}, "folder", "below MESHPORTAL_FOLDER_ROOT"),
        ({"folder": r"D:\MESH-DATA-HOME\X26CL001"}, "folder", "below MESHPORTAL_FOLDER_ROOT"),
        ({"folder": "nothing/here"}, "folder", "is not there"),
        ({"folder": "MESH-DATA-HOME"}, "folder", "has no folder IN in it"),
        ({"folder": "MESH-DATA-HOME/X26CL001/IN"}, "folder", "not one of them"),
        ({"folder": "linked"}, "folder", "symbolic link"),
    ],
)
def test_a_refused_take_over_changes_nothing(
    brought: Mailbox, share: Path, tmp_path: Path, given: dict[str, Any], field: str, words: str
) -> None:
    (tmp_path / "outside" / "IN").mkdir(parents=True)
    (share / "linked").symlink_to(tmp_path / "outside")
    with pytest.raises(ValidationError) as error:
        take(brought, **given)
    assert words in error.value.message_dict[field][0]
    brought.refresh_from_db()
    assert (brought.mode, brought.folder) == ("watch", "")
    assert not Outlet.objects.exists() and not WatchedFolder.objects.exists()


def test_what_stands_in_out_is_sent_only_when_somebody_says_so(brought: Mailbox, share: Path) -> None:
    (share / "MESH-DATA-HOME" / "X26CL001" / "OUT" / "one.dat").write_bytes(b"a letter")
    with pytest.raises(ValidationError, match="1 file still stands in OUT"):
        take(brought)
    brought.refresh_from_db()
    assert brought.mode == "watch"
    take(brought, send_waiting=True)
    brought.refresh_from_db()
    assert brought.mode == "collect"


def test_without_a_root_it_says_what_to_do(brought: Mailbox, settings: Any, signed_in: Any, team: Any) -> None:
    settings.FOLDER_ROOT = None
    assert "MESHPORTAL_FOLDER_ROOT" in said(signed_in("manager").get(address("cut-over", team, pk=brought.pk)))
    with pytest.raises(ValidationError, match="no root for the folders"):
        take(brought)


def test_what_was_uploaded_is_sealed(bring: Bring) -> None:
    from django.db import connection

    bring()
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute(f"SELECT * FROM {ClientImport._meta.db_table}")  # noqa: S608
        cells = repr([bytes(cell) if isinstance(cell, memoryview) else cell for row in cursor.fetchall() for cell in row])
    assert "PLANTED" not in cells and STORE not in cells
    assert not MailboxImport.objects.exists()
