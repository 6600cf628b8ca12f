"""Taking a private key out: only for a manager, with a reason, under a passphrase, in the audit first, and nowhere kept."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from certificates import exporting, services
from certificates.models import CertificateRequest, ClientIdentity
from certificates.reading import Source
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from tests.certificates.making import CN, KINDS, PASSPHRASE, Making, Pair
from tests.certificates.test_calendar import asked, words

pytestmark = pytest.mark.django_db
NEW = "PLANTED under guard 12"
GIVEN = {"reason": "The Java client needs it until Friday.", "passphrase": NEW, "again": NEW}


@pytest.fixture
def brought(team: Any, making: Making, good: Pair) -> ClientIdentity:
    return bring(team, making, good)


def bring(team: Any, making: Making, pair: Pair) -> ClientIdentity:
    found, _ = services.import_identity(
        actor=Actor.command("tests"),
        team=team,
        environment="int",
        name="Pathology 2026",
        sources=[Source("the file", making.pkcs12(pair))],
        passphrase=PASSPHRASE,
    )
    return found


def page(identity: Any) -> str:
    return f"/t/midshire/certificates/{identity.pk}/export-key/"


def opened(making: Making, content: bytes, *options: str, passphrase: str = NEW) -> bytes:
    path = making.path("p12")
    path.write_bytes(content)
    return making.openssl("pkcs12", "-in", path, "-passin", f"pass:{passphrase}", *options)


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_opens_the_file_and_finds_the_key_and_its_chain(
    team: Any, signed_in: Any, making: Making, kind: str, tmp_path: Path
) -> None:
    pair = making.issue(CN, making.authority, kind=kind)
    identity = bring(team, making, pair)
    answer = signed_in("manager").post(page(identity), GIVEN)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/x-pkcs12")
    assert answer["Content-Disposition"] == f'attachment; filename="{CN}.p12"'
    assert {"no-store", "no-cache", "private"} <= set(answer["Cache-Control"].split(", "))
    key = opened(making, answer.content, "-nocerts", "-nodes")
    public = making.openssl("pkey", "-pubout", given=key)
    assert public == making.openssl("pkey", "-pubout", given=pair.key_pem)
    assert public == making.openssl("x509", "-noout", "-pubkey", given=pair.pem)
    certificates = opened(making, answer.content, "-nokeys")
    assert certificates.count(b"BEGIN CERTIFICATE") == 3
    for one in (pair.pem, making.authority.pem, making.root.pem):
        assert making.openssl("x509", given=one) in certificates


def test_its_encryption_is_modern_and_the_passphrase_counts(
    brought: ClientIdentity, signed_in: Any, making: Making, tmp_path: Path
) -> None:
    content = signed_in("manager").post(page(brought), GIVEN).content
    file = tmp_path / "a.p12"
    file.write_bytes(content)
    command = ["openssl", "pkcs12", "-in", str(file), "-info", "-noout", "-passin", f"pass:{NEW}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "PBES2, PBKDF2, AES-256-CBC" in told
    assert "MAC: sha256" in told
    wrong = subprocess.run([*command[:-1], "pass:another one"], capture_output=True, text=True, check=False)
    assert wrong.returncode != 0
    assert b"PRIVATE KEY" not in content


def test_keytool_and_the_portal_itself_read_it(
    brought: ClientIdentity, signed_in: Any, making: Making, need: Any, tmp_path: Path
) -> None:
    need("keytool")
    browser = signed_in("manager")
    file = tmp_path / "a.p12"
    file.write_bytes(browser.post(page(brought), GIVEN).content)
    listed = making.run("keytool", "-list", "-keystore", file, "-storetype", "PKCS12", "-storepass", NEW)
    assert b"PrivateKeyEntry" in listed
    ClientIdentity.objects.all().delete()
    fields = {"name": "Back", "environment": "int", "passphrase": NEW}
    upload = SimpleUploadedFile("a.p12", file.read_bytes())
    assert browser.post("/t/midshire/certificates/import/", {**fields, "file": upload}).status_code == 302
    assert ClientIdentity.objects.get().fingerprint == brought.fingerprint


def test_it_is_in_the_audit_with_its_reason_and_without_its_passphrase(brought: ClientIdentity, signed_in: Any) -> None:
    browser = signed_in("manager")
    assert browser.post(page(brought), GIVEN).status_code == 200
    event = AuditEvent.objects.get(action="certificate.key_exported")
    assert (event.actor_label.partition(" <")[0], event.reason) == ("Manager Person", GIVEN["reason"])
    assert event.after == {"subject": CN, "fingerprint": brought.fingerprint}
    said = words(browser.get("/t/midshire/audit/"))
    assert "took the private key out of" in said and GIVEN["reason"] in said
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            assert NEW not in str(cursor.fetchall()), table


def test_no_byte_leaves_when_the_audit_cannot_be_written(
    brought: ClientIdentity, signed_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_given: Any) -> None:
        raise RuntimeError("The audit is away.")

    browser = signed_in("manager")
    browser.raise_request_exception = False
    monkeypatch.setattr(audit, "record", broken)
    answer = browser.post(page(brought), GIVEN)
    assert answer.status_code == 500
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"reason": ""}, "Say why the key is taken out"),
        ({"reason": " . "}, "Write it in words"),
        ({"reason": "for patient 999 000 0018"}, "Take the number out"),
        ({"reason": "x" * 501}, "Keep it within 500 characters"),
        ({"reason": f"it is {NEW}"}, "The reason holds the passphrase"),
        ({"passphrase": "", "again": ""}, "Enter a passphrase for the file"),
        ({"passphrase": "PLANTED-11c", "again": "PLANTED-11c"}, "Use at least 12 characters"),
        ({"passphrase": "PLANTED-12€€€", "again": "PLANTED-12€€€"}, "Use unaccented letters"),
        ({"passphrase": "PLANTED-12\n34", "again": "PLANTED-12\n34"}, "Use unaccented letters"),
        ({"passphrase": "aaaaaaaaaaaabb", "again": "aaaaaaaaaaaabb"}, "at least five different characters"),
        ({"passphrase": "x1y2z" * 101, "again": "x1y2z" * 101}, "at most 500 characters"),
        ({"again": ""}, "Enter the passphrase a second time"),
        ({"again": f"{NEW} "}, "The two passphrases differ"),
    ],
)
def test_a_mistake_is_a_sentence_and_takes_nothing_out(
    brought: ClientIdentity, signed_in: Any, changed: dict[str, str], sentence: str
) -> None:
    given = {**GIVEN, **changed}
    answer = signed_in("manager").post(page(brought), given)
    assert answer.status_code == 422
    assert sentence in words(answer)
    for name in ("passphrase", "again"):
        assert not given[name] or f'value="{given[name]}"' not in answer.content.decode()
    assert not AuditEvent.objects.filter(action="certificate.key_exported").exists()


def test_passphrases_of_12_characters_with_blanks_around_are_kept_as_typed(
    brought: ClientIdentity, signed_in: Any, making: Making
) -> None:
    exact = " PLANTED-12 "
    assert len(exact) == exporting.SHORTEST_PASSPHRASE
    answer = signed_in("manager").post(page(brought), {**GIVEN, "passphrase": exact, "again": exact})
    assert b"PRIVATE KEY" in opened(making, answer.content, "-nocerts", "-nodes", passphrase=exact)


def test_only_a_manager_finds_the_page(brought: ClientIdentity, signed_in: Any) -> None:
    for role in ("viewer", "operator", "auditor"):
        browser = signed_in(role)
        assert browser.get(page(brought)).status_code == 404
        assert browser.post(page(brought), GIVEN).status_code == 404
        assert "export-key" not in browser.get(f"/t/midshire/certificates/{brought.pk}/").content.decode()
    assert "export-key" in signed_in("manager").get(f"/t/midshire/certificates/{brought.pk}/").content.decode()
    assert not AuditEvent.objects.filter(action="certificate.key_exported").exists()


def test_a_request_without_its_certificate_has_no_key_to_take_out(team: Any, brought: ClientIdentity, signed_in: Any) -> None:
    """Its key is there, sealed; it leaves with its certificate only."""
    request: CertificateRequest = asked(team, "To come", brought)
    browser = signed_in("manager")
    assert browser.get(page(request)).status_code == 404
    assert browser.post(page(request), GIVEN).status_code == 404


def test_what_cannot_be_read_is_a_sentence(brought: ClientIdentity, identity: Any, making: Making, signed_in: Any) -> None:
    browser = signed_in("manager")
    assert "cannot be read. Add the certificate again" in words(browser.post(page(identity), GIVEN))
    ClientIdentity.objects.filter(pk=brought.pk).update(private_key=making.key("rsa2048", new=True).read_text())
    assert "does not belong to this certificate" in words(browser.post(page(brought), GIVEN))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE certificates_clientidentity SET private_key = %s", [b"lost"])
    answer = browser.post(page(brought), GIVEN)
    assert answer.status_code == 422
    assert "cannot be opened. Ask whoever runs the portal" in words(answer)
    assert browser.get(page(brought)).status_code == 200
    assert not AuditEvent.objects.filter(action="certificate.key_exported").exists()


def test_a_form_of_another_site_is_refused(brought: ClientIdentity, signed_in: Any) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = signed_in("manager").cookies
    assert strict.post(page(brought), GIVEN).status_code == 403


def test_the_service_refuses_what_the_form_would_never_pass_on(brought: ClientIdentity) -> None:
    for given in ({"reason": " ", "passphrase": NEW}, {"reason": "why", "passphrase": "short"}):
        with pytest.raises(ValueError):
            exporting.export_key(actor=Actor.command("tests"), identity=brought, **given)
