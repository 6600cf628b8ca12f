"""Asking for a certificate: from the form to the certificate that came back, and everything that may come instead."""

from __future__ import annotations

import re
import threading
import uuid
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, connections
from django.test import Client

from certificates import reading, requesting
from certificates.models import CertificateRequest, ClientIdentity
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from tests.certificates.making import CN, Making, Pair

pytestmark = pytest.mark.django_db
ACTOR = Actor.command("tests")
LIST = "/t/midshire/certificates/"
START = f"{LIST}request/"
FIELDS = {
    "environment": "int",
    "name": "Pathology 2029",
    "local_id": "x26hc001",
    "ods_code": "x26",
    "organisation": "Midshire Hospitals",
    "why": "expiring",
}


def ask(team: Team, **changes: Any) -> CertificateRequest:
    fields: dict[str, Any] = {"once": uuid.uuid4(), "key_size": 2048, **FIELDS, **changes}
    return requesting.request_certificate(actor=ACTOR, team=team, **fields)


def sign(making: Making, request: CertificateRequest, **options: Any) -> bytes:
    """The test authority signs the CSR, as the service desk does."""
    csr, made = making.path("csr"), making.path("pem")
    csr.write_text(request.csr_pem)
    options = {"start": "20260101000000Z", "end": "20291231235959Z", **options}
    making.openssl(
        "ca", "-batch", "-notext", "-config", making.config, "-cert", making.authority.certificate, "-keyfile",
        making.authority.key, "-extensions", "client", "-startdate", options["start"], "-enddate", options["end"], "-in", csr,
        "-out", made,
    )  # fmt: skip
    return made.read_bytes()


def give(request: CertificateRequest, *pems: bytes, name: str = "Pathology 2029") -> ClientIdentity:
    sources = [reading.Source("the pasted text", pem) for pem in pems]
    return requesting.receive_certificate(actor=ACTOR, request=request, name=name, sources=sources)[0]


def said(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


@pytest.fixture
def manager(signed_in: Any) -> Client:
    found: Client = signed_in("manager")
    return found


@pytest.mark.parametrize("size", requesting.KEY_SIZES)
def test_the_round_trip(manager: Client, making: Making, team: Any, size: int, settings: Any) -> None:
    settings.CERTIFICATE_REQUEST_ADDRESSES = {"live": "", "int": "desk@example.nhs.uk", "sandbox": ""}
    answer = manager.post(START, {**FIELDS, "once": str(uuid.uuid4()), "key_size": str(size)})
    assert answer.status_code == 302, said(answer)
    request = CertificateRequest.objects.get()
    csr = x509.load_pem_x509_csr(request.csr_pem.encode())
    key = csr.public_key()
    assert csr.is_signature_valid
    assert isinstance(key, rsa.RSAPublicKey) and key.key_size == size
    assert csr.subject.rfc4514_string() == f"CN={CN}"
    page = manager.get(answer["Location"])
    for words in ("Requested", "To: desk@example.nhs.uk", f"Common name: {CN}", "about to expire", "BEGIN CERTIFICATE REQUEST"):
        assert words in said(page)
    assert manager.get(f"{answer['Location']}csr/").content.decode() == request.csr_pem
    assert request.csr_pem.strip() in manager.get(f"{answer['Location']}text/").content.decode()
    assert "Requested, not received yet" in said(manager.get(LIST))

    upload = SimpleUploadedFile("signed.pem", sign(making, request) + making.chain())
    taken = manager.post(answer["Location"], {"name": "Pathology 2029", "file": upload})
    assert taken.status_code == 302, said(taken)
    identity = ClientIdentity.objects.get()
    assert (identity.subject_cn, identity.environment, identity.key_size) == (CN, "int", size)
    assert "It belongs to the key of the request" in said(manager.get(taken["Location"]))
    request.refresh_from_db()
    assert (request.identity, request.private_key) == (identity, None)
    assert "Received" in said(manager.get(answer["Location"]))
    assert "Requested, not received yet" not in said(manager.get(LIST))
    actions = list(AuditEvent.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["certificate.requested", "certificate.added", "certificate.received"]
    # The identity can be used: its key fits its certificate.
    assert making.openssl("pkey", "-pubout", given=identity.private_key.encode()) == making.openssl(
        "x509", "-pubkey", "-noout", given=identity.certificate_pem.encode()
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "Enter the name of the certificate"),
        ({"environment": "moon"}, "Select a valid choice"),
        ({"local_id": "a b"}, "letters, digits"),
        ({"local_id": "x/../y"}, "letters, digits"),
        ({"local_id": "X" * 60}, "Too long"),
        ({"ods_code": "X"}, "3 to 12 letters and digits"),
        ({"ods_code": "X26.evil"}, "3 to 12 letters and digits"),
        ({"why": "because"}, "Select a valid choice"),
        ({"key_size": "1024"}, "Select a valid choice"),
        ({"organisation": "x" * 201}, "at most 200 characters"),
        ({"once": "no id"}, "valid UUID"),
    ],
)
def test_a_mistake_is_a_sentence_and_makes_no_key(manager: Client, fields: dict[str, Any], words: str) -> None:
    answer = manager.post(START, {**FIELDS, "once": str(uuid.uuid4()), "key_size": "2048", **fields})
    assert answer.status_code == 422
    assert words in said(answer)
    assert not CertificateRequest.objects.exists()


def test_a_form_sent_twice_makes_one_request(manager: Client, team: Any, other_team: Any) -> None:
    given = {**FIELDS, "once": str(uuid.uuid4()), "key_size": "2048"}
    first, second = manager.post(START, given), manager.post(START, given)
    assert first["Location"] == second["Location"]
    assert CertificateRequest.objects.count() == AuditEvent.objects.filter(action="certificate.requested").count() == 1
    with pytest.raises(ValidationError, match="sent before"):
        ask(other_team, once=uuid.UUID(given["once"]))
    with pytest.raises(ValidationError, match="asked for a certificate called"):
        ask(team)


@pytest.mark.django_db(transaction=True)
def test_a_form_sent_twice_at_once_makes_one_request(team: Any) -> None:
    once, made, both = uuid.uuid4(), [], threading.Barrier(2)

    def send() -> None:
        both.wait()
        try:
            made.append(ask(team, once=once).pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [once, once]
    assert CertificateRequest.objects.count() == AuditEvent.objects.count() == 1


def test_what_is_not_the_certificate_that_was_asked_for_changes_nothing(team: Any, making: Making, good: Pair) -> None:
    request = ask(team)
    expired = sign(making, request, start="20240101000000Z", end="20250101000000Z")
    for pems, words in (
        ((good.pem,), "requested with another key"),
        ((good.pem, good.key_pem), "with another key"),
        ((expired,), "expired on 1 January 2025"),
        ((making.authority.pem,), "requested with another key"),
        ((b"hello",), "no certificate|no PEM|There is"),
        ((request.csr_pem.encode(),), "certificate"),
        ((b"",), "nothing in"),
    ):
        with pytest.raises(ValidationError, match=words):
            give(request, *pems)
        assert not ClientIdentity.objects.exists()
    request.refresh_from_db()
    assert request.identity is None
    assert request.private_key.startswith("-----BEGIN " + "PRIVATE KEY")
    assert not AuditEvent.objects.exclude(action="certificate.requested").exists()
    assert give(request, sign(making, request)).subject_cn == CN


def test_given_twice_it_is_there_once(team: Any, making: Making) -> None:
    request = ask(team)
    pem = sign(making, request)
    assert give(request, pem) == give(request, pem)
    assert ClientIdentity.objects.count() == AuditEvent.objects.filter(action="certificate.received").count() == 1


def test_dying_at_any_step_leaves_the_request_as_it_was(team: Any, making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask(team)
    pem = sign(making, request)
    real = audit.record
    for at in (1, 2):
        calls: list[str] = []

        def dies(*, at: int = at, calls: list[str] = calls, **fields: Any) -> Any:
            calls.append(fields["action"])
            if len(calls) == at:
                raise RuntimeError("killed")
            return real(**fields)

        with monkeypatch.context() as patch:
            patch.setattr(audit, "record", dies)
            with pytest.raises(RuntimeError, match="killed"):
                give(request, pem)
        assert not ClientIdentity.objects.exists()
        request.refresh_from_db()
        assert request.private_key
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", lambda **_fields: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            ask(team, name="Another")
    assert CertificateRequest.objects.count() == 1
    assert give(request, pem)


def test_a_name_that_was_taken_meanwhile_can_be_changed(manager: Client, team: Any, making: Making, identity: Any) -> None:
    request = ask(team)
    ClientIdentity.objects.filter(pk=identity.pk).update(name=request.name, environment="int")
    url = f"{LIST}requests/{request.pk}/"
    fields = {"pasted": sign(making, request).decode()}
    assert "another certificate called" in said(manager.post(url, {"name": request.name, **fields}))
    assert manager.post(url, {"name": "Pathology, the second", **fields}).status_code == 302


def test_another_name_than_asked_for_is_said(manager: Client, team: Any, making: Making) -> None:
    request = ask(team)
    key = making.path("key")
    key.write_text(request.private_key)
    issued = making.issue("OTHER.X26.api.mesh-client.nhs.uk", making.authority, key=key)
    answer = manager.post(f"{LIST}requests/{request.pk}/", {"name": "n", "pasted": issued.pem.decode()})
    assert "OTHER.X26.api.mesh-client.nhs.uk, and X26HC001.X26.api.mesh-client.nhs.uk was asked for" in said(
        manager.get(answer["Location"])
    )


def test_other_people(signed_in: Any, other_team: Any, team: Any) -> None:
    theirs = ask(other_team, name="Theirs")
    ours = ask(team)
    for role in ("viewer", "operator", "auditor"):
        browser = signed_in(role)
        assert browser.get(START).status_code == 404
        assert browser.get(f"{LIST}requests/{ours.pk}/").status_code == 404
        assert "Pathology 2029" in said(browser.get(LIST))
    manager = signed_in("manager")
    for tail in ("", "csr/", "text/"):
        assert manager.get(f"{LIST}requests/{theirs.pk}/{tail}").status_code == 404
    assert manager.post(f"{LIST}requests/{theirs.pk}/", {"name": "x", "pasted": "x"}).status_code == 404
    assert "Theirs" not in said(manager.get(LIST))
    assert manager.get(f"{START}?like={uuid.uuid4()}").status_code == 404


def test_a_present_certificate_fills_the_form(manager: Client, identity: Any) -> None:
    ClientIdentity.objects.filter(pk=identity.pk).update(local_id="SERVER001", ods_code="RH8")
    assert f"{START}?like={identity.pk}" in manager.get(f"{LIST}{identity.pk}/").content.decode()
    html = manager.get(f"{START}?like={identity.pk}").content.decode()
    assert 'value="SERVER001"' in html
    assert 'value="RH8"' in html


def test_the_key_stands_nowhere_in_clear(manager: Client, team: Any, making: Making, caplog: Any) -> None:
    """P11, for a key that was made here."""
    caplog.set_level("DEBUG")
    request = ask(team)
    secrets = [line for line in request.private_key.splitlines() if not line.startswith("-")]
    url = f"{LIST}requests/{request.pk}/"
    pages = [manager.get(address) for address in (url, f"{url}csr/", f"{url}text/", LIST, "/t/midshire/audit/")]
    pages.append(manager.post(url, {"name": "n", "pasted": request.private_key}))
    pages.append(manager.post(url, {"name": "n", "pasted": request.private_key + sign(making, request).decode()}))
    pages.append(manager.get(pages[-1]["Location"]))
    for answer in pages:
        assert "PRIVATE KEY" not in answer.content.decode()
        for secret in secrets:
            assert secret not in answer.content.decode()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            content = str([[bytes(cell) if isinstance(cell, memoryview) else cell for cell in row] for row in cursor.fetchall()])
            for secret in secrets:
                assert secret not in content, table
    for secret in secrets:
        assert secret not in caplog.text


# --- Withdrawing ------------------------------------------------------------------------------------------------------
def withdraw(request: CertificateRequest, reason: str = "asked for the wrong organisation") -> None:
    requesting.withdraw_request(actor=ACTOR, request=request, reason=reason)


def test_a_request_is_withdrawn_with_a_reason_and_its_key_destroyed(manager: Client, team: Any, making: Making) -> None:
    request = ask(team)
    signed = sign(making, request)
    page = f"{LIST}requests/{request.pk}/"
    assert "Withdraw this request" in said(manager.get(page))
    for reason, words in (
        ("", "Say why the request is withdrawn"),
        ("   ", "Say why the request is withdrawn"),
        ("...", "Write it in words"),
        ("for 943 476 5919", "looks like an NHS number"),
        ("x" * 501, "within 500 characters"),
    ):
        answer = manager.post(f"{page}withdraw/", {"reason": reason}, follow=True)
        assert words in said(answer)
        request.refresh_from_db()
        assert request.private_key is not None and request.withdrawn_at is None
    answer = manager.post(f"{page}withdraw/", {"reason": "Asked for <b>the wrong</b> one"}, follow=True)
    assert "was withdrawn, and its key destroyed" in said(answer)
    assert "Asked for &lt;b&gt;the wrong&lt;/b&gt; one" in answer.content.decode()
    for words in ("Withdraw this request", "The certificate has come", "What to send"):
        assert words not in said(answer)
    request.refresh_from_db()
    assert (request.private_key, request.identity, request.received_at) == (None, None, None)
    event = AuditEvent.objects.latest("id")
    assert (event.action, event.reason) == ("certificate.request_withdrawn", "Asked for <b>the wrong</b> one")
    assert "withdrew the request for the certificate" in said(manager.get("/t/midshire/audit/"))
    assert "Requested, not received yet" not in said(manager.get(LIST))
    # What still comes is of no use, and what was done stays done.
    with pytest.raises(ValidationError, match="was withdrawn, and its key is gone"):
        give(request, signed)
    with pytest.raises(Refused, match="withdrawn already"):
        withdraw(request)
    assert not ClientIdentity.objects.exists()
    # Its name is free again.
    assert ask(team).withdrawn_at is None
    assert audit.verify().broken is None


def test_what_was_received_cannot_be_withdrawn(team: Any, making: Making) -> None:
    request = ask(team)
    give(request, sign(making, request))
    with pytest.raises(Refused, match="Its certificate has come"):
        withdraw(request)
    assert ClientIdentity.objects.count() == 1


def test_dying_while_it_is_withdrawn_leaves_it_as_it_was(team: Any, making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask(team)

    def dies(**_given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            withdraw(request)
    assert give(request, sign(making, request)).pk


@pytest.mark.django_db(transaction=True)
def test_given_and_withdrawn_at_once_one_of_them_holds(team: Any, making: Making) -> None:
    request = ask(team)
    signed = sign(making, request)
    start, refused = threading.Barrier(2), []

    def work(act: Any) -> None:
        start.wait()
        try:
            act()
        except (ValidationError, Refused) as error:
            refused.append(str(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(act,)) for act in (lambda: give(request, signed), lambda: withdraw(request))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    request = CertificateRequest.objects.get()
    assert (request.withdrawn_at is None) == (ClientIdentity.objects.count() == 1)
    assert request.private_key is None


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
def test_only_a_manager_withdraws(role: str, signed_in: Any, team: Any) -> None:
    request = ask(team)
    assert signed_in(role).post(f"{LIST}requests/{request.pk}/withdraw/", {"reason": "because"}).status_code == 404
    request.refresh_from_db()
    assert request.withdrawn_at is None and request.private_key is not None
