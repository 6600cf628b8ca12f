"""The right cause and remedy for every bad state, told by a real server that is in it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone

from certificates.models import ClientIdentity, TrustBundle
from mailboxes import connections, doctor
from mailboxes.doctor import State, steps, wire
from mailboxes.models import Mailbox
from meshportal.demo.pki import Identity, Pki, create_authority
from tests.conftest import Make
from tests.doctor import servers
from tests.doctor.conftest import Examine
from tests.double import Double, faults
from tests.receive.conftest import BOX

pytestmark = [pytest.mark.django_db, pytest.mark.faults]

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Listen = Callable[[str], None]


def failed_at(results: dict[str, doctor.Result], step: str, code: str) -> doctor.Result:
    """The result of the one step that failed; all before it were no failure, all after it say that they were not done."""
    found = results[step]
    assert (found.state, found.code) == (State.BAD, code), found
    assert found.found and found.remedy
    order = list(results)
    at = order.index(step)
    assert all(results[name].state in (State.GOOD, State.WARN) for name in order[:at]), results
    for name in order[at + 1 :]:
        assert results[name].state == State.SKIPPED
        assert f"“{found.name}” failed" in results[name].found
    return found


def as_identity(box: Mailbox, made: Identity) -> None:
    """Gives the mailbox another certificate, whose dates the portal believes to be good."""
    identity = identity_of(box)
    identity.certificate_pem, identity.private_key = made.certificate_pem.decode(), made.key_pem.decode()
    identity.save()


def identity_of(box: Mailbox) -> ClientIdentity:
    assert box.identity is not None
    return box.identity


@pytest.fixture(params=VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ssl.TLSVersion:
    """The newest TLS that the portal speaks in this test."""
    make = connections.context_for

    def capped(*given: Any) -> ssl.SSLContext:
        context = make(*given)
        context.maximum_version = request.param
        return context

    monkeypatch.setattr(connections, "context_for", capped)
    chosen: ssl.TLSVersion = request.param
    return chosen


# --- All is well ----------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("version")
def test_nothing_is_wrong(box: Mailbox, double: Double, pki: Pki, examine: Examine) -> None:
    double.put_many(BOX, 2)
    results = examine(box, workflows=["TEST_WORKFLOW"])
    assert {one.state for one in results.values()} == {State.GOOD}, results
    tls = dict(results["tls"].facts)
    assert "issued by MESH demonstration CA" in tls["Server certificate 1"]
    assert "valid until" in tls["Server certificate 1"] and "SHA-256" in tls["Server certificate 1"]
    assert "offered, and MESH accepted it" in results["certificate"].found
    assert "About 2 messages" in results["inbox"].found
    asked = [record.route for record in double.recorder.records()]
    assert asked == ["handshake", "list", "lookup"]
    assert len(double.inbox(BOX)) == 2


# --- What the portal holds ------------------------------------------------------------------------------------------
SETTINGS: dict[str, tuple[Callable[[Mailbox, Any], Any], str]] = {
    "certificate missing": (lambda box, _: Mailbox.objects.filter(pk=box.pk).update(identity=None), "no_certificate"),
    "certificate expired": (
        lambda box, _: ClientIdentity.objects.update(not_after=timezone.now() - timedelta(days=1)),
        "certificate_expired",
    ),
    "certificate not valid yet": (
        lambda box, _: ClientIdentity.objects.update(not_before=timezone.now() + timedelta(days=1)),
        "certificate_not_yet_valid",
    ),
    "certificate of another environment": (
        lambda box, _: ClientIdentity.objects.update(environment="int"),
        "certificate_of_another_environment",
    ),
    "no trust bundle": (lambda box, _: TrustBundle.objects.update(current=False), "no_trust_bundle"),
    "a trust bundle that is none": (lambda box, _: TrustBundle.objects.update(pem="nothing"), "trust_bundle_unusable"),
    "no shared key": (
        lambda box, settings: setattr(settings, "MESH_SHARED_KEYS", {**settings.MESH_SHARED_KEYS, "sandbox": ""}),
        "no_shared_key",
    ),
    "sealed with a lost key": (
        lambda box, _: _spoil(box),
        "secret_unreadable",
    ),
}


def _spoil(box: Mailbox) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        key = box.pk.hex if connection.vendor == "sqlite" else str(box.pk)
        cursor.execute("UPDATE mailboxes_mailbox SET password = %s WHERE id = %s", [b"what no key opens", key])


@pytest.mark.parametrize("what", SETTINGS)
def test_what_the_portal_lacks(box: Mailbox, double: Double, settings: Any, examine: Examine, what: str) -> None:
    spoil, code = SETTINGS[what]
    spoil(box, settings)
    failed_at(examine(box), "settings", code)
    assert double.connections == 0


def test_the_key_of_another_certificate(box: Mailbox, double: Double, examine: Examine) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    identity = identity_of(box)
    identity.private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    identity.save()
    found = failed_at(examine(box), "settings", "certificate_unusable")
    assert "does not belong" in found.found
    assert "together with the key" in found.remedy


def test_a_certificate_that_ends_soon_is_no_failure(box: Mailbox, double: Double, examine: Examine) -> None:
    ClientIdentity.objects.update(effective_expiry=timezone.now() + timedelta(days=9))
    results = examine(box)
    assert (results["settings"].state, results["settings"].code) == (State.WARN, "certificate_ends")
    assert results["sign_in"].state == State.GOOD


# --- The way there --------------------------------------------------------------------------------------------------
def test_no_such_name(box: Mailbox, listen: Listen, examine: Examine) -> None:
    listen("https://mesh.invalid")
    found = failed_at(examine(box), "dns", "host_unknown")
    assert "mesh.invalid" in found.found
    assert "DNS" in found.remedy


def test_a_name_service_that_is_silent(box: Mailbox, listen: Listen, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEP_SECONDS", 0.1)

    def silence(*_given: Any, **_options: Any) -> list[Any]:
        time.sleep(0.5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silence)
    failed_at(examine(box), "dns", "dns_silent")
    time.sleep(0.5)


def test_a_refused_port(box: Mailbox, listen: Listen, examine: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    listen(f"https://localhost:{port}")
    found = failed_at(examine(box), "network", "connection_refused")
    assert "refused" in found.found


def test_a_black_holed_port(box: Mailbox, listen: Listen, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEP_SECONDS", 0.5)
    with servers.black_hole() as url:
        listen(url)
        found = failed_at(examine(box), "network", "connect_timeout")
    assert "firewall drops" in found.found
    assert found.seconds is not None and 0.4 < found.seconds < 3


def test_an_address_that_is_silent_leaves_time_for_the_next(double: Double) -> None:
    """As a host with an address of IPv6 that leads nowhere."""
    with servers.black_hole() as url:
        silent = (socket.AF_INET, ("127.0.0.1", int(url.rpartition(":")[2])))
        with wire.connect([silent, (socket.AF_INET, ("127.0.0.1", double.port))], seconds=1.0) as connection:
            assert connection.getpeername()[1] == double.port


# --- TLS: the server ------------------------------------------------------------------------------------------------
def serving(pki: Pki, server: Identity) -> AbstractContextManager[Double]:
    return Double(Pki(pki.authority, server, pki.clients))


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda pki: create_authority("Another CA").server(), "server_not_trusted", "issued by “Another CA”"),
        (lambda pki: pki.authority.server(validity="expired"), "server_certificate_expired", "expired on"),
        (lambda pki: pki.authority.server(validity="not_yet_valid"), "server_certificate_not_yet_valid", "not valid yet"),
        (lambda pki: pki.authority.server(host_names=["mesh.example"], addresses=[]), "host_name_mismatch", "another name"),
    ],
    ids=["another CA", "expired", "not yet valid", "another name"],
)
def test_a_server_that_is_not_trusted(
    box: Mailbox, pki: Pki, listen: Listen, examine: Examine, make: Callable[[Pki], Identity], code: str, said: str
) -> None:
    with serving(pki, make(pki)) as double:
        listen(double.base_url)
        found = failed_at(examine(box), "tls", code)
        assert double.recorder.records() == []
    assert said in found.found
    assert "nothing was sent" in found.found.lower()
    # Whoever must mend it sees what the server showed.
    assert "issued by" in dict(found.facts)["Server certificate 1"]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (servers.TLS_1_1, "tls_too_old", "only TLS 1.1"),
        (servers.TOO_NEW, "tls_too_old", "no version of TLS that is new enough"),
        (servers.PROXY_407, "proxy_password", "proxy on the way asks for a password"),
        (servers.PAGE, "proxy_page", "web page"),
        (b"220 mail.example ESMTP\r\n", "not_tls", "does not speak TLS"),
        (b"\x16\x03\x03\x00\x05", "tls_failed", "could not agree"),
        (b"", "tls_cut", "hung up as soon as TLS began"),
    ],
    ids=["TLS 1.1", "old versions", "407 in clear", "page in clear", "mail server", "half a record", "hung up"],
)
def test_what_answers_is_no_mesh(box: Mailbox, listen: Listen, examine: Examine, answer: bytes, code: str, said: str) -> None:
    with servers.saying(answer) as url:
        listen(url)
        found = failed_at(examine(box), "tls", code)
    assert said in found.found


def test_a_real_server_of_tls_1_1(box: Mailbox, listen: Listen, examine: Examine, pki: Pki, tmp_path: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.pem").write_bytes(pki.server.key_pem + pki.server.certificate_pem)
    context.load_cert_chain(tmp_path / "server.pem")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        listen(f"https://localhost:{listener.getsockname()[1]}")
        failed_at(examine(box), "tls", "tls_too_old")
        thread.join(5)


def test_a_server_that_is_silent_during_tls(
    box: Mailbox, listen: Listen, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP_SECONDS", 0.5)
    with servers.silent() as url:
        listen(url)
        failed_at(examine(box), "tls", "tls_silent")


# --- TLS: our certificate -------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda pki: pki.authority.client(BOX, "X26", validity="expired"), "certificate_expired", "has expired"),
        (lambda pki: create_authority("Another CA").client(BOX, "X26"), "certificate_wrong_ca", "does not know the authority"),
    ],
    ids=["expired", "wrong CA"],
)
def test_our_certificate_is_refused(
    box: Mailbox, double: Double, pki: Pki, examine: Examine, make: Callable[[Pki], Identity], code: str, said: str
) -> None:
    """The portal believes in it (the row says so); MESH does not, and says why in an alert."""
    as_identity(box, make(pki))
    found = failed_at(examine(box), "certificate", code)
    assert said in found.found
    assert dict(found.facts)["SHA-256"]
    assert double.recorder.records() == []


@pytest.mark.usefixtures("version")
def test_our_certificate_is_lost_on_the_way(
    box: Mailbox, double: Double, examine: Examine, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    """As a proxy loses it that opens TLS: the server says that it got none."""

    def without(identity: ClientIdentity, bundle: TrustBundle) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=bundle.pem)
        context.maximum_version = version
        return context

    monkeypatch.setattr(connections, "context_for", without)
    expected = "certificate_missing" if version == ssl.TLSVersion.TLSv1_3 else "certificate_refused"
    found = failed_at(examine(box), "certificate", expected)
    assert "certificate" in found.found


def test_a_server_that_hangs_up_on_our_certificate(box: Mailbox, double: Double, examine: Examine) -> None:
    double.faults.add(match={}, action=faults.refuse_tls("after_handshake"), times=None)
    results = examine(box)
    failed_at(results, "certificate", "connection_dropped")


def test_a_server_that_asks_for_no_certificate(box: Mailbox, pki: Pki, listen: Listen, examine: Examine) -> None:
    with Double(pki, client_certificates=False) as double:
        double.add_mailbox(BOX)
        listen(double.base_url)
        results = examine(box)
    assert (results["certificate"].state, results["certificate"].code) == (State.WARN, "certificate_not_asked")


# --- What MESH answers ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("action", "code", "said"),
    [
        (faults.status(503), "unavailable", "unavailable (503)"),
        (faults.status(503, "html"), "unavailable", "unavailable (503)"),
        (faults.status(500), "server_error", "internal error (500)"),
        (faults.status(429), "throttled", "slow down"),
        (faults.status(200, "html"), "proxy_page", "web page"),
        (faults.status(403, "html"), "proxy_page", "web page"),
        (faults.redirect("https://proxy.example/login"), "proxy_page", "web page"),
        (faults.status(407, "html"), "proxy_password", "asks for a password"),
        (faults.status(407, "empty"), "proxy_password", "asks for a password"),
    ],
    ids=["503", "503 page", "500", "429", "page", "403 page", "redirect", "407", "407 empty"],
)
def test_what_comes_is_no_good_answer(
    box: Mailbox, double: Double, examine: Examine, action: faults.Action, code: str, said: str
) -> None:
    double.faults.add(match={"route": "handshake"}, action=action, times=None)
    found = failed_at(examine(box), "answer", code)
    assert said in found.found


def test_no_answer_in_time(box: Mailbox, double: Double, settings: Any, examine: Examine) -> None:
    settings.MESH_READ_TIMEOUT = 0.5
    double.faults.add(match={"route": "handshake"}, action=faults.hang(5), times=None)
    failed_at(examine(box), "answer", "timeout")


def test_a_slow_link(box: Mailbox, double: Double, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SLOW_SECONDS", 1.0)
    double.faults.add(match={"route": "handshake"}, action=faults.delay(1.2), times=None)
    found = examine(box)["answer"]
    assert (found.state, found.code) == (State.WARN, "slow")
    assert "which is slow" in found.found and "network team" in found.remedy


# --- Clock and sign-in ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hours", [3, -3])
def test_a_clock_that_is_hours_off(box: Mailbox, double: Double, examine: Examine, hours: int) -> None:
    double.advance(hours=hours)
    found = failed_at(examine(box), "clock", "clock_wrong")
    assert "behind" in found.found if hours > 0 else "ahead" in found.found
    assert "3 hours" in found.found or "2 hours 59 minutes" in found.found
    assert "NTP" in found.remedy


def test_a_clock_that_is_minutes_off_is_no_failure(box: Mailbox, double: Double, examine: Examine) -> None:
    double.advance(seconds=20 * 60)
    results = examine(box)
    assert (results["clock"].state, results["clock"].code) == (State.WARN, "clock_off")
    assert results["sign_in"].state == State.GOOD


def test_a_wrong_password(box: Mailbox, double: Double, mailbox: Make, examine: Examine) -> None:
    """Told apart from the shared key by another mailbox that signs in with that."""
    mailbox(last_polled_at=timezone.now() - timedelta(minutes=3))
    double.update_mailbox(BOX, password="another")
    found = failed_at(examine(box), "sign_in", "password_wrong")
    assert "password" in found.remedy


def test_a_wrong_shared_key(box: Mailbox, mailbox: Make, settings: Any, examine: Examine) -> None:
    """Told apart from the password by another mailbox that is refused as well."""
    mailbox(last_polled_at=timezone.now() - timedelta(hours=3))
    mailbox(problem_code="sign_in_refused", problem="x", problem_since=timezone.now() - timedelta(hours=2))
    settings.MESH_SHARED_KEYS = {**settings.MESH_SHARED_KEYS, "sandbox": "another key"}
    found = failed_at(examine(box), "sign_in", "shared_key_wrong")
    assert "MESHPORTAL_SANDBOX_SHARED_KEY" in found.remedy


def test_a_password_or_a_key_when_nothing_tells_which(box: Mailbox, double: Double, mailbox: Make, examine: Examine) -> None:
    mailbox(environment="int", last_polled_at=timezone.now(), identity=None)
    double.update_mailbox(BOX, password="another")
    found = failed_at(examine(box), "sign_in", "sign_in_refused")
    assert "password of this mailbox or the shared key" in found.found


def test_an_unknown_mailbox(box: Mailbox, double: Double, examine: Examine) -> None:
    Mailbox.objects.filter(pk=box.pk).update(mailbox_id="X26HC999")
    found = failed_at(examine(box), "sign_in", "mailbox_unknown")
    assert "belongs to this environment" in found.remedy


def test_an_inactive_mailbox(box: Mailbox, double: Double, examine: Examine) -> None:
    double.update_mailbox(BOX, active=False)
    found = failed_at(examine(box), "sign_in", "mailbox_inactive")
    assert "National Service Desk" in found.remedy


# --- Inbox and lookup -----------------------------------------------------------------------------------------------
def test_a_listing_that_fails(box: Mailbox, double: Double, examine: Examine) -> None:
    double.faults.add(match={"route": "list"}, action=faults.status(500), times=None)
    failed_at(examine(box), "inbox", "server_error")


@pytest.mark.parametrize(
    ("ods_codes", "answered"),
    [([], "no mailbox"), (["X26"], "X26HC002 Mailbox X26HC002"), (["X26", "X26"], "X26HC002 Mailbox X26HC002; X26HC003")],
    ids=["none", "another", "several"],
)
def test_a_lookup_that_names_others(box: Mailbox, double: Double, examine: Examine, ods_codes: list[str], answered: str) -> None:
    double.update_mailbox(BOX, workflows=["ANOTHER"])
    for number, ods_code in enumerate(ods_codes, start=2):
        double.add_mailbox(f"X26HC00{number}", ods_code=ods_code, workflows=["SOME_WORKFLOW"])
    found = examine(box, workflows=["SOME_WORKFLOW", "ANOTHER"])["lookup"]
    assert (found.state, found.code) == (State.WARN, "lookup_elsewhere")
    assert "SOME_WORKFLOW" in found.found and "ANOTHER" not in found.found
    assert dict(found.facts)["SOME_WORKFLOW"].startswith(answered)


def test_one_of_several_is_all_right(box: Mailbox, double: Double, examine: Examine) -> None:
    double.update_mailbox(BOX, workflows=["SOME_WORKFLOW"])
    double.add_mailbox("X26HC002", ods_code="X26", workflows=["SOME_WORKFLOW"])
    found = examine(box, workflows=["SOME_WORKFLOW"])["lookup"]
    assert found.state == State.GOOD
    assert ";" in dict(found.facts)["SOME_WORKFLOW"]


def test_a_lookup_that_fails_is_no_failure_of_the_mailbox(box: Mailbox, double: Double, examine: Examine) -> None:
    double.faults.add(match={"route": "lookup"}, action=faults.status(503), times=None)
    found = examine(box, workflows=["SOME_WORKFLOW"])["lookup"]
    assert (found.state, found.code) == (State.WARN, "unavailable")


# --- The doctor itself ----------------------------------------------------------------------------------------------
@pytest.fixture
def echoing(box: Mailbox, double: Double) -> Mailbox:
    """A mailbox whose server quotes what it was sent, and what it cannot know."""
    secret = "PLANTED-password"
    double.update_mailbox(BOX, password=secret)
    box.password = secret
    box.save()
    said = f"Invalid: NHSMESH {BOX}:nonce:0:202611251400:PLANTEDhash {secret} TestKey 943 476 5919"
    double.faults.add(match={"route": "handshake"}, action=faults.status(403, message=said), times=None)
    return box


def test_no_secret_stands_in_the_report(echoing: Mailbox, examine: Examine) -> None:
    results = list(examine(echoing).values())
    assert results[7].state == State.BAD and "Invalid" in results[7].found
    began = timezone.now()
    text = doctor.as_text(echoing, results, began=began)
    data = json.dumps(doctor.as_json(echoing, results, began=began))
    key = identity_of(echoing).private_key.splitlines()[1]
    for shown in (text, data):
        for secret in ("PLANTED", "TestKey", "NHSMESH", "943 476 5919", key, "PRIVATE KEY"):
            assert secret not in shown
    assert "UTC" in text and ("GMT" in text or "BST" in text)
    assert "OpenSSL" in text and BOX in text


def test_a_fault_of_our_own_is_a_result_too(box: Mailbox, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any, **_options: Any) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(wire, "resolve", fail)
    found = failed_at(examine(box), "dns", "internal")
    assert "log" in found.remedy
    assert "fault of our own" not in found.found
