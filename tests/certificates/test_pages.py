"""The pages of certificates: who may see and bring in, what they show, and that nothing secret comes back or stays behind."""

from __future__ import annotations

import csv
import io
import re
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import connection
from django.test import Client

from certificates import selectors
from certificates.models import ClientIdentity
from meshportal.audit.models import AuditEvent
from meshportal.web.small_uploads import MemoryOnly
from tests.certificates.making import CN, PASSPHRASE, Making, Pair
from tests.conftest import Make

pytestmark = pytest.mark.django_db
LIST = "/t/midshire/certificates/"
IMPORT = f"{LIST}import/"


def file(data: bytes, name: str = "client.p12") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


def send(browser: Client, **fields: Any) -> Any:
    return browser.post(IMPORT, {"name": "Pathology 2026", "environment": "int", **fields})


def said(answer: Any) -> str:
    """The words of a page, without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


@pytest.fixture
def manager(signed_in: Any) -> Client:
    found: Client = signed_in("manager")
    return found


@pytest.fixture
def brought(manager: Client, making: Making, good: Pair) -> ClientIdentity:
    """The good certificate with its chain, brought in by the page."""
    answer = send(manager, file=file(making.pkcs12(good)), passphrase=PASSPHRASE)
    assert answer.status_code == 302, said(answer)
    return ClientIdentity.objects.get()


def test_a_file_becomes_a_certificate_with_its_facts(brought: ClientIdentity, manager: Client, making: Making) -> None:
    assert (brought.name, brought.environment, brought.subject_cn) == ("Pathology 2026", "int", CN)
    assert (brought.key_kind, brought.key_size, brought.signature) == ("EC P-256", 256, "SHA-256 with ECDSA")
    assert (brought.local_id, brought.ods_code, brought.generation) == ("X26HC001", "X26", "")
    assert brought.effective_expiry == brought.not_after == datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert brought.certificate_pem.encode() == making.openssl("x509", given=brought.certificate_pem.encode()) + making.chain()
    event = AuditEvent.objects.get(action="certificate.added")
    assert event.after["fingerprint"] == brought.fingerprint
    assert event.after["warnings"] == []
    page = manager.get(f"{LIST}{brought.pk}/")
    for words in (CN, "Test Authority", "Test Root", "EC P-256, 256 bits", "SHA-256 with ECDSA", "Local ID, ODS code", "sealed"):
        assert words in said(page)
    assert ":".join(brought.fingerprint[at : at + 2].upper() for at in range(0, 64, 2)) in said(page)
    assert f'href="{LIST}{brought.pk}/"' in manager.get("/t/midshire/audit/").content.decode()


def test_pasted_text_and_two_files(manager: Client, making: Making, good: Pair) -> None:
    pasted = (good.key_pem + good.pem).decode()
    assert send(manager, name="pasted", pasted=pasted).status_code == 302
    ClientIdentity.objects.all().delete()
    assert send(manager, name="two", file=file(good.pem, "a.pem"), key_file=file(good.key_pem, "a.key")).status_code == 302
    detail = said(manager.get(f"{LIST}{ClientIdentity.objects.get().pk}/"))
    assert "What you should know" in detail
    assert "The certificate of its issuer, Test Authority, is not with it." in detail


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Choose the file with the certificate, or paste its text"),
        ({"pasted": " \n"}, "Choose the file with the certificate, or paste its text"),
        ({"name": ""}, "Enter the name of the certificate"),
        ({"environment": "moon"}, "Select a valid choice"),
        ({"pasted": "hello"}, "There is no certificate or key in the pasted text"),
        ({"pasted": "a\0b"}, "Null characters are not allowed"),
        ({"file": file(b"", "empty.pem")}, "There is nothing in the file empty.pem"),
        (
            {"file": file(b"\x00" * 2_000_000, "noise.bin")},
            "Too large to be a certificate: the file noise.bin holds more than 1 MB",
        ),
        ({"file": file(b"x", "<b>\x1b[1m.pem")}, "the file &lt;b&gt;[1m.pem"),
        ({"pasted": "hello", "passphrase": "x" * 501}, "at most 500 characters"),
        ({"file": "not a file"}, "Choose the file with the certificate, or paste its text"),
    ],
)
def test_a_mistake_is_a_sentence(manager: Client, fields: dict[str, Any], words: str) -> None:
    for given in fields.values():
        if isinstance(given, SimpleUploadedFile):
            given.seek(0)
    answer = send(manager, **fields)
    assert answer.status_code == 422
    assert words in said(answer)
    assert "were not kept" in said(answer)
    assert not ClientIdentity.objects.exists()
    assert not AuditEvent.objects.filter(action="certificate.added").exists()


def test_refusals_stand_at_what_would_help(manager: Client, making: Making, good: Pair) -> None:
    data = making.pkcs12(good)
    wrong = send(manager, file=file(data), passphrase="PLANTED-wrong")
    assert wrong.status_code == 422
    assert re.search(r'href="#id_passphrase"[^>]*>\s*The passphrase does not open the file client.p12', wrong.content.decode())
    missing = send(manager, file=file(data))
    assert "The key in the file client.p12 is protected: give its passphrase." in said(missing)
    assert "There is no private key in the pasted text" in said(send(manager, pasted=good.pem.decode()))


def test_the_same_certificate_or_name_twice(brought: ClientIdentity, manager: Client, making: Making, good: Pair) -> None:
    again = send(manager, name="Another name", file=file(making.pkcs12(good)), passphrase=PASSPHRASE)
    assert "The team has this certificate already, as “Pathology 2026”" in said(again)
    other = making.issue(CN, making.authority)
    named = send(manager, pasted=(other.pem + other.key_pem).decode())
    assert "another certificate called “Pathology 2026”" in said(named)
    assert ClientIdentity.objects.count() == 1


def test_nothing_secret_comes_back_or_is_kept_in_clear(
    manager: Client, making: Making, good: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: Any
) -> None:
    """P11: not in a page, the audit, the database, a log line or a temporary file, whether it goes well or not."""
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    caplog.set_level("DEBUG")

    def never(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("An upload was written to a disk.")

    monkeypatch.setattr(TemporaryUploadedFile, "__init__", never)
    protected = making.openssl("pkcs8", "-topk8", "-in", good.key, "-passout", f"pass:{PASSPHRASE}").decode()
    secrets = [PASSPHRASE, *_lines(good.key_pem.decode()), *_lines(protected)]
    answers = [
        send(manager, pasted=protected, passphrase=PASSPHRASE),
        send(manager, pasted=protected + good.pem.decode()[:-30], passphrase=PASSPHRASE),
        send(manager, pasted=protected + good.pem.decode(), passphrase=PASSPHRASE + "x"),
        send(manager, name="", pasted=good.key_pem.decode() + good.pem.decode(), passphrase=PASSPHRASE),
        send(manager, file=file(b"\0" * 50_000_000), pasted=protected, passphrase=PASSPHRASE),
        send(manager, file=file(good.key_pem + b"#" * 1_040_000), passphrase=PASSPHRASE),
        send(manager, pasted=protected + good.pem.decode(), passphrase=PASSPHRASE),
    ]
    assert [answer.status_code for answer in answers] == [422] * 6 + [302]
    identity = ClientIdentity.objects.get()
    pages = [answers[-1], *(manager.get(url) for url in (LIST, f"{LIST}{identity.pk}/", IMPORT, "/t/midshire/audit/"))]
    for answer in [*answers, *pages]:
        for secret in secrets:
            assert secret not in answer.content.decode()
    assert list(tmp_path.iterdir()) == []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            content = str([[bytes(cell) if isinstance(cell, memoryview) else cell for cell in row] for row in cursor.fetchall()])
            assert "PRIVATE KEY" not in content, table
            for secret in secrets:
                assert secret not in content, table
    assert identity.private_key.startswith("-----BEGIN " + "PRIVATE KEY-----")
    for secret in secrets:
        assert secret not in caplog.text


def _lines(pem: str) -> list[str]:
    return [line for line in pem.splitlines() if line and not line.startswith("-")]


def test_of_a_large_upload_nothing_is_kept(manager: Client) -> None:
    handler = MemoryOnly(most=1_000_000)
    handler.new_file("file", "noise", "application/octet-stream", None)
    began = time.monotonic()
    tracemalloc.start()
    for at in range(0, 50_000_000, 65_536):
        handler.receive_data_chunk(b"\x01" * 65_536, at)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000
    assert time.monotonic() - began < 10
    kept = handler.file_complete(50_000_000)
    assert (kept.size, kept.read()) == (50_000_000, b"")
    many = {"file": file(b"x"), **{f"more{number}": file(b"y" * 900_000) for number in range(30)}}
    assert send(manager, **many).status_code == 422


def test_a_form_of_another_site_is_refused(manager: Client, making: Making, good: Pair) -> None:
    """The page is exempt from the middleware that checks it, and checks it itself."""
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = manager.cookies
    fields = {"name": "x", "environment": "int", "pasted": (good.pem + good.key_pem).decode()}
    assert strict.post(IMPORT, fields).status_code == 403
    assert not ClientIdentity.objects.exists()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', strict.get(IMPORT).content.decode())
    assert token is not None
    assert strict.post(IMPORT, {**fields, "csrfmiddlewaretoken": token[1]}).status_code == 302


def test_only_a_manager_brings_in(signed_in: Any, identity: Any) -> None:
    for role, may in (("viewer", False), ("operator", False), ("auditor", False), ("manager", True)):
        browser = signed_in(role)
        assert browser.get(IMPORT).status_code == (200 if may else 404)
        assert send(browser).status_code == (422 if may else 404)
        assert (IMPORT in browser.get(LIST).content.decode()) == may


def test_the_list_is_sorted_filtered_counted_and_a_file(signed_in: Any, team: Any, identity: Any, mailbox: Make) -> None:
    now = datetime.now(UTC)
    for number, (name, days) in enumerate((("Beta", 400), ("alpha", 10), ("=gamma", 90))):
        ClientIdentity.objects.create(
            team=team, name=name, environment="int", certificate_pem="x", private_key="x", subject_cn=f"S{number}.X26.example",
            issuer="Another CA", serial="2", fingerprint=str(number) * 64, not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=900), effective_expiry=now + timedelta(days=days),
        )  # fmt: skip
    for _ in range(3):
        mailbox()
    browser = signed_in("viewer")

    def names(query: str = "") -> list[str]:
        html = browser.get(f"{LIST}{query}").content.decode()
        return re.findall(r'<th scope="row" class="portal-name"><a href="[^"]+">([^<]+)</a>', html)

    assert names() == ["alpha", "=gamma", "Midshire 2026", "Beta"]
    assert names("?sort=-lapses") == ["Beta", "Midshire 2026", "=gamma", "alpha"]
    assert names("?sort=name") == ["=gamma", "alpha", "Beta", "Midshire 2026"]
    assert names("?sort=-used")[0] == "Midshire 2026"
    assert names("?sort=nonsense&page=99") == names()
    assert names("?text=another+S1") == ["alpha"]
    assert names("?text=22:22") == ["=gamma"]
    assert names("?environment=sandbox") == ["Midshire 2026"]
    assert names("?text=nothing") == []
    assert "No certificate fits these filters" in said(browser.get(f"{LIST}?text=nothing"))
    whole = said(browser.get(LIST))
    assert "9 days left" in whole
    assert f"?certificate={identity.pk}" in browser.get(LIST).content.decode()
    answer = browser.get(f"{LIST}export/?sort=name")
    rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
    assert [row[0] for row in rows] == ["Name", "'=gamma", "alpha", "Beta", "Midshire 2026"]
    assert rows[4][5] == "3"


def test_a_certificate_names_its_mailboxes_and_they_it(signed_in: Any, identity: Any, mailbox: Make, other_team: Any) -> None:
    ours = mailbox(name="Radiology")
    mailbox(team=other_team, mailbox_id="RH8HC001", name="Theirs", identity=identity)
    browser = signed_in("viewer")
    page = browser.get(f"{LIST}{identity.pk}/")
    assert f'href="/t/midshire/mailboxes/{ours.pk}/"' in page.content.decode()
    assert "Theirs" not in said(page)
    assert "cannot be read" in said(page)
    assert f'href="{LIST}{identity.pk}/"' in browser.get(f"/t/midshire/mailboxes/{ours.pk}/").content.decode()


def test_a_page_shows_though_no_key_opens_the_private_key(signed_in: Any, brought: ClientIdentity) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE certificates_clientidentity SET private_key = %s", [b"lost"])
    browser = signed_in("viewer")
    assert browser.get(LIST).status_code == 200
    assert browser.get(f"{LIST}{brought.pk}/").status_code == 200
    assert browser.get(f"{LIST}export/").status_code == 200


def test_an_authority_that_ends_first_is_said(manager: Client, making: Making, team: Any) -> None:
    end = datetime.now(UTC) + timedelta(days=20)
    short = making.issue("Short Authority", making.root, extensions="authority", end=f"{end:%Y%m%d%H%M%SZ}")
    pair = making.issue(CN, short)
    assert send(manager, pasted=(pair.pem + pair.key_pem + short.pem).decode()).status_code == 302
    identity = ClientIdentity.objects.get()
    assert identity.lapses_at < identity.not_after
    page = said(manager.get(f"{LIST}{identity.pk}/"))
    assert "when its issuer Short Authority ends" in page
    assert "19 days left" in page
    assert list(selectors.identities_of(team).values_list("lapses", flat=True)) == [identity.lapses_at]


def test_an_empty_list_leads_on(signed_in: Any) -> None:
    assert "Add a certificate" in said(signed_in("manager").get(LIST))
    viewer = said(signed_in("viewer").get(LIST))
    assert "A manager of your team can add it" in viewer
