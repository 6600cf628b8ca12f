"""Trust bundles: what may become one, how one is replaced and gone back to, and the page; what servers showed, over time."""

from __future__ import annotations

import io
import os
import re
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client

from certificates import reading, selectors, servers, services
from certificates.models import ServerCertificate, TrustBundle
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core.commands import read_file
from tests.certificates.making import Making, Pair
from tests.conftest import Need
from tests.services import SANDBOX_PYTHON

pytestmark = pytest.mark.django_db
ACTOR = Actor.command("tests")
PAGE = "/t/midshire/certificates/trust/"
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def replace(pem: bytes, environment: str = "int", name: str = "ca.pem") -> TrustBundle:
    return services.replace_trust_bundle(actor=ACTOR, environment=environment, name=name, pem=pem)


def said(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("import_trust_bundle", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture(scope="module")
def old(making: Making) -> Pair:
    """An authority that has expired."""
    return making.issue("Old Authority", None, extensions="authority", start="20200101000000Z", end="20240604000000Z")


@pytest.fixture(scope="module")
def early(making: Making) -> Pair:
    """An authority that is not valid yet."""
    return making.issue("Early Authority", None, extensions="authority", start="20380101000000Z", end="20390101000000Z")


# --- What may become one ----------------------------------------------------------------------------------------------
def test_authorities_in_any_dress(making: Making, old: Pair) -> None:
    root, authority = making.root.pem, making.authority.pem
    names = [found.subject for found in reading.read_bundle(root + authority, "it", NOW)]
    for dressed in (
        b"Subject: somebody\n\n" + root + b"\n# and\n" + authority,
        (root + authority).replace(b"\n", b"\r\n"),
        (root + authority).decode().encode("utf-16"),
        root + authority + root + root + authority,
    ):
        assert [found.subject for found in reading.read_bundle(dressed, "it", NOW)] == names
    # A root of X.509 version 1 says nothing of what it may do.
    request, plain = making.path("csr"), making.path("pem")
    making.openssl("req", "-new", "-key", making.root.key, "-subj", "/CN=Plain", "-out", request, "-config", making.config)
    making.openssl("x509", "-req", "-in", request, "-signkey", making.root.key, "-days", "3000", "-out", plain)
    [found] = reading.read_bundle(plain.read_bytes(), "it", datetime.now(UTC) + HOUR)
    assert found.version == x509.Version.v1
    # One that has expired may stand beside one that holds.
    assert len(reading.read_bundle(old.pem + root, "it", NOW)) == 2


def hostile(making: Making, good: Pair, old: Pair, early: Pair) -> dict[str, tuple[bytes, str]]:
    """What is no trust bundle, and what is said of it."""
    root = making.root.pem
    lines = root.splitlines(keepends=True)
    damaged = b"".join([*lines[:2], b"!!!!" + lines[2][4:], *lines[3:]])
    der = making.openssl("x509", "-outform", "DER", given=root)
    cut = making.openssl("base64", given=der[: len(der) // 2])
    encrypted = making.openssl("pkcs8", "-topk8", "-in", making.root.key, "-passout", "pass:PLANTED-pass")
    return {
        "nothing": (b"", "There is nothing in"),
        "spaces": (b" \n\t ", "There is nothing in"),
        "words": (b"this is no bundle", "not a PEM certificate"),
        "noise": (os.urandom(5000), "not a PEM certificate"),
        "DER": (der, "not a PEM certificate"),
        "50 MB of noise": (os.urandom(1 << 20) * 50, "more than 1 MB"),
        "50 MB of certificates": (root * (50_000_000 // len(root)), "more than 1 MB"),
        "more than 200 blocks": (root * 201, "more than 200"),
        "a key beside it": (root + making.root.key_pem, "There is a private key in the bundle"),
        "a key alone": (making.root.key_pem, "There is a private key in the bundle"),
        "a protected key": (root + encrypted, "There is a private key in the bundle"),
        "a request": (
            root + making.openssl("req", "-new", "-key", making.root.key, "-subj", "/CN=x", "-config", making.config),
            "a certificate request",
        ),
        "another block": (
            root + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
            "“X509 CRL”, which is no",
        ),
        "a leaf": (root + good.pem, "is not an authority (CA)"),
        "a leaf alone": (good.pem, "is not an authority (CA)"),
        "a leaf that signed itself": (making.issue("self", None, extensions="server").pem, "is not an authority (CA)"),
        "cut in the middle": (root + making.authority.pem[:-40], "part is missing"),
        "cut inside": (b"-----BEGIN CERTIFICATE-----\n" + cut + b"-----END CERTIFICATE-----\n", "damaged or of a kind"),
        "damaged": (damaged, "damaged"),
        "only expired": (old.pem, "No authority in the bundle is valid now"),
        "only to come": (early.pem, "No authority in the bundle is valid now"),
        "expired and to come": (old.pem + early.pem, "No authority in the bundle is valid now"),
    }


def test_a_broken_replacement_is_a_sentence_and_changes_nothing(
    making: Making, good: Pair, old: Pair, early: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    before = replace(making.root.pem)
    events = AuditEvent.objects.count()
    for what, (pem, words) in hostile(making, good, old, early).items():
        began = time.monotonic()
        with pytest.raises(ValidationError) as refused:
            replace(pem)
        [sentence] = refused.value.messages
        assert words in sentence, (what, sentence)
        assert "PLANTED" not in sentence and "PRIVATE" not in sentence
        assert time.monotonic() - began < 5, what
    assert list(TrustBundle.objects.values_list("pk", "current")) == [(before.pk, True)]
    assert AuditEvent.objects.count() == events
    assert caplog.text == "" or "BEGIN" not in caplog.text


def test_a_thousand_fuzzed_bundles_end_in_acceptance_or_a_sentence(making: Making) -> None:
    import random

    chance = random.Random(20261125)
    whole = making.root.pem + making.authority.pem
    for _ in range(1000):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(broken))
            if chance.random() < 0.5:
                broken[at] = chance.randrange(256)
            else:
                del broken[at : at + chance.randint(1, 200)]
        try:
            found = reading.read_bundle(bytes(broken), "it", NOW)
        except reading.CannotUse as refusal:
            assert refusal.sentence.endswith(".")
        else:
            assert found


def test_a_large_one_takes_little_memory(making: Making) -> None:
    data = making.root.pem * (50_000_000 // len(making.root.pem))
    tracemalloc.start()
    with pytest.raises(reading.CannotUse):
        reading.read_bundle(data, "it", NOW)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_what_the_portal_trusts_the_tls_library_loads(making: Making) -> None:
    """What was written can be read by openssl, and holds each authority once."""
    bundle = replace(making.authority.pem + making.root.pem + making.authority.pem)
    counted = making.openssl("crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", given=bundle.pem.encode())
    shown = making.openssl("pkcs7", "-print_certs", "-noout", given=counted).decode()
    assert shown.count("subject=") == 2
    [event] = AuditEvent.objects.filter(action="trust_bundle.replaced")
    assert event.after["certificates"] == ["Test Authority", "Test Root"]


# --- Replacing, and going back ----------------------------------------------------------------------------------------
def test_it_is_replaced_for_its_environment_alone_and_the_same_again_is_no_event(making: Making) -> None:
    first, other = replace(making.root.pem), replace(making.root.pem, "live")
    assert replace(making.root.pem).pk == first.pk
    second = replace(making.authority.pem)
    assert set(TrustBundle.objects.filter(current=True).values_list("pk", flat=True)) == {second.pk, other.pk}
    assert AuditEvent.objects.filter(action="trust_bundle.replaced").count() == 3


def test_dying_at_any_step_leaves_the_one_before(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    before = replace(making.root.pem)

    def dies(**_given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "record", dies)
    with pytest.raises(KeyboardInterrupt):
        replace(making.authority.pem)
    assert list(TrustBundle.objects.values_list("pk", "current")) == [(before.pk, True)]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_leave_one_current(making: Making) -> None:
    start, refused = threading.Barrier(2), []

    def work(pem: bytes) -> None:
        start.wait()
        try:
            replace(pem)
        except ValidationError as error:
            refused.append(error.messages)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(pem,)) for pem in (making.root.pem, making.authority.pem)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert TrustBundle.objects.filter(current=True).count() == 1
    assert all("Somebody else replaced it" in sentence for [sentence] in refused)
    assert TrustBundle.objects.count() == 2 - len(refused)


def test_the_command_checks_replaces_and_goes_back(making: Making, old: Pair, tmp_path: Path) -> None:
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    first.write_bytes(making.root.pem + old.pem)
    second.write_bytes(making.authority.pem)
    with pytest.raises(CommandError, match="No other bundle"):
        run("int", "--previous")
    checked = run("int", "--file", str(first), "--check")
    assert "Test Root, until 2029-12-31" in checked and "Note: Old Authority expired on 4 June 2024." in checked
    assert "Nothing was changed" in checked and not TrustBundle.objects.exists() and not AuditEvent.objects.exists()
    run("int", "--file", str(first))
    assert "second.pem from the next poll on" in run("int", "--file", str(second), "--reason", "new generation")
    assert AuditEvent.objects.latest("id").reason == "new generation"
    for name in ("first.pem", "second.pem"):
        run("int", "--previous")
        assert TrustBundle.objects.get(current=True).name == name
    with pytest.raises(CommandError, match="private key"):
        second.write_bytes(making.root.pem + making.root.key_pem)
        run("int", "--file", str(second))
    with pytest.raises(CommandError, match="more than 1 MB"):
        run("int", "--file", "/dev/zero")
    assert len(read_file("/dev/zero", most=10)) == 10


# --- What the servers showed ------------------------------------------------------------------------------------------
def shown(pem: bytes) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(pem))


def note(pem: bytes, now: datetime) -> None:
    servers.note(environment="int", chain=shown(pem), now=now)


def changes(now: datetime) -> list[str]:
    return [one.subject for one in selectors.trusted("int", now).changes]


def test_a_server_is_recorded_once_with_when_it_was_seen(making: Making) -> None:
    server = making.issue("msg.example", making.authority, extensions="server")
    servers.note(environment="int", chain=(), now=NOW)
    servers.note(environment="int", chain=(b"\x30nothing that can be read",), now=NOW)
    assert not ServerCertificate.objects.exists()
    note(server.pem + making.chain(), NOW)
    note(server.pem, NOW + timedelta(minutes=5))
    row = ServerCertificate.objects.get()
    fingerprint = making.openssl("x509", "-noout", "-fingerprint", "-sha256", given=server.pem).decode()
    assert row.fingerprint == fingerprint.partition("=")[2].strip().replace(":", "").lower()
    assert (row.subject, row.issuer, row.above) == ("msg.example", "Test Authority", ["Test Authority", "Test Root"])
    assert row.not_after == datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert (row.host, row.first_seen, row.last_seen) == (servers.host_of("int"), NOW, NOW)
    note(server.pem, NOW + HOUR)
    row.refresh_from_db()
    assert (row.first_seen, row.last_seen) == (NOW, NOW + HOUR)
    # A clock that jumped back takes nothing away.
    note(server.pem, NOW)
    row.refresh_from_db()
    assert row.last_seen == NOW + HOUR
    assert changes(NOW + HOUR) == []


def test_a_change_is_one_until_it_is_steady_or_long_gone(making: Making) -> None:
    first = making.issue("first", making.authority, extensions="server")
    second = making.issue("second", making.authority, extensions="server")
    third = making.issue("third", making.root, extensions="server")
    for day in range(10):
        note(first.pem, NOW + day * DAY)
    assert changes(NOW + 9 * DAY) == []
    for day in range(10, 18):
        note(second.pem, NOW + day * DAY)
        assert changes(NOW + day * DAY) == (["second"] if day < 17 else [])
    # Back to the first: known already.
    note(first.pem, NOW + 18 * DAY)
    assert changes(NOW + 18 * DAY) == []
    # Seen once and never again: a reason to look, for a month.
    note(third.pem, NOW + 19 * DAY)
    note(second.pem, NOW + 20 * DAY)
    assert changes(NOW + 20 * DAY) == ["third"]
    trusted = selectors.trusted("int", NOW + 20 * DAY)
    assert not selectors.issued_as_before(trusted.changes[0], trusted.shown)
    assert changes(NOW + 48 * DAY) == ["third"] and changes(NOW + 50 * DAY) == []


def test_a_server_that_shows_another_each_time_fills_no_disk(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "KEPT", 3)
    for number in range(6):
        note(making.issue(f"server {number}", making.authority, extensions="server").pem, NOW + number * HOUR)
    assert set(ServerCertificate.objects.values_list("subject", flat=True)) == {"server 3", "server 4", "server 5"}


@pytest.mark.django_db(transaction=True)
def test_many_handshakes_at_once_make_one_row(making: Making) -> None:
    server = making.issue("busy.example", making.authority, extensions="server")
    start, failed = threading.Barrier(6), []

    def work() -> None:
        start.wait()
        try:
            note(server.pem, NOW)
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert ServerCertificate.objects.count() == 1


# --- The page ---------------------------------------------------------------------------------------------------------
def test_the_page_shows_what_is_trusted_and_what_to_know(signed_in: Any, making: Making, old: Pair) -> None:
    browser = signed_in("viewer")
    page = said(browser.get(PAGE))
    assert page.count("No trust bundle") == 3
    replace(making.root.pem + old.pem)
    note(making.issue("before.example", making.root, extensions="server").pem, datetime.now(UTC) - 9 * DAY)
    note(making.issue("msg.example", old, extensions="server", start="20230101000000Z").pem, datetime.now(UTC) - HOUR)
    page = said(browser.get(PAGE))
    for words in (
        "Test Root",
        "EC P-256, 256 bits",
        "Old Authority expired on 4 June 2024. The server’s present certificate was issued by it.",
        "msg.example New",
        "before.example Earlier",
        TrustBundle.objects.get().fingerprint,
        ServerCertificate.objects.get(subject="msg.example").fingerprint,
        "no team replaces it",
    ):
        assert words in page, words
    assert page.count("No trust bundle") == 2
    assert "Trust bundles" in said(browser.get("/t/midshire/certificates/"))


def test_nobody_replaces_one_by_the_page(signed_in: Any, making: Making) -> None:
    browser: Client = signed_in("manager")
    replace(making.root.pem)
    for method in (browser.post, browser.put, browser.delete):
        assert method(PAGE, {"environment": "int", "pem": making.authority.pem.decode()}).status_code == 405
    assert TrustBundle.objects.count() == 1


def test_the_page_stands_though_the_bundle_is_broken_or_hostile(signed_in: Any, making: Making) -> None:
    replace(making.issue("<b>not bold", None, extensions="authority").pem)
    browser = signed_in("manager")
    content = browser.get(PAGE).content.decode()
    assert "<b>not bold" not in content and "&lt;b&gt;not bold" in content
    TrustBundle.objects.update(pem="nothing")
    assert "cannot be read: no mailbox can be worked" in said(browser.get(PAGE))


def test_an_authority_of_another_environment_is_said(making: Making) -> None:
    wrong = making.issue("NHS INT Authentication G2", None, extensions="authority")
    found = services.check_trust_bundle(environment="live", pem=wrong.pem)
    assert [warned.code for warned in found.warnings] == ["other_environment"]
    assert services.check_trust_bundle(environment="int", pem=wrong.pem).warnings == ()


def test_the_bundles_inside_the_official_client_can_be_used(need: Need) -> None:
    """What the README says to bring in."""
    need("sandbox")
    folder = next((SANDBOX_PYTHON.parents[1] / "lib").glob("python*/site-packages/mesh_client"))
    for environment in ("live", "int"):
        told = run(environment, "--from-mesh-client", "--folder", str(folder))
        assert "G2, until 20" in told and "from the next poll on" in told
    assert TrustBundle.objects.filter(current=True).count() == 2
