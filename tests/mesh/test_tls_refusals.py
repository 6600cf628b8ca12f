"""Who trusts whom: every refusal over real TLS, of the server by us and of us by the server, and how each is told."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from meshportal.demo.pki import Authority, Identity, Pki, client_context, create_authority
from meshportal.mesh import Timeouts, errors
from meshportal.mesh.classify import Progress, classify
from tests.double import Double, faults

from .conftest import LEFT_BY_PYTHON, ONE, AsClient, context_of

pytestmark = pytest.mark.faults

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@contextmanager
def served(pki: Pki, server: Identity | None = None) -> Iterator[Double]:
    with Double(Pki(pki.authority, server or pki.server, pki.clients)) as double:
        double.add_mailbox(ONE)
        double.add_mailbox("X26ABC2")
        yield double
        assert double.errors == []


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return create_authority("Another CA")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key_kind", ["ec", "rsa"])
def test_both_sides_agree(pki: Pki, as_client: AsClient, version: ssl.TLSVersion, key_kind: Any) -> None:
    server = pki.authority.server(key_kind=key_kind)
    context = context_of(pki, pki.authority.client(ONE, "X26", key_kind=key_kind))
    context.maximum_version = version
    with served(pki, server) as double:
        client = as_client(double.base_url, context=context)
        put = double.put(ONE, b"x" * 500_000)
        assert client.inbox_page().message_ids == (put.message_id,)
        client.send(b"y" * 500_000, recipient="X26ABC2", workflow_id="TEST_WORKFLOW")
        record = double.recorder.records()[-1]
    assert record.certificate == "X26ABC1.X26.api.mesh-client.nhs.uk"
    assert record.connection == 1  # kept


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_of_another_authority(
    pki: Pki, stranger: Authority, as_client: AsClient, waits: list[float], version: ssl.TLSVersion
) -> None:
    context = context_of(pki)
    context.maximum_version = version
    with served(pki, stranger.server()) as double:
        with pytest.raises(errors.ServerNotTrusted) as caught:
            as_client(double.base_url, context=context).inbox_page()
        assert double.recorder.records() == []
    assert caught.value.misconfigured
    assert not caught.value.retryable
    assert waits == []


@pytest.mark.parametrize(("validity", "said"), [("expired", "expired"), ("not_yet_valid", "not yet valid")])
def test_a_server_out_of_its_time(pki: Pki, as_client: AsClient, validity: Any, said: str) -> None:
    with (
        served(pki, pki.authority.server(validity=validity)) as double,
        pytest.raises(errors.ServerNotTrusted, match=said),
    ):
        as_client(double.base_url, context=context_of(pki)).inbox_page()


def test_a_client_certificate_is_no_server(pki: Pki, as_client: AsClient) -> None:
    with served(pki, pki.clients[ONE]) as double, pytest.raises(errors.ServerNotTrusted):
        as_client(double.base_url, context=context_of(pki)).inbox_page()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_of_another_name(pki: Pki, as_client: AsClient, waits: list[float], host: str) -> None:
    server = pki.authority.server(host_names=["mesh.example"], addresses=["192.0.2.1"])
    with served(pki, server) as double:
        with pytest.raises(errors.HostNameMismatch) as caught:
            as_client(f"https://{host}:{double.port}", context=context_of(pki)).inbox_page()
        assert double.recorder.records() == []
    assert caught.value.misconfigured
    assert waits == []


@pytest.mark.parametrize("check_common_name", [False, True])
def test_a_server_with_a_common_name_only(pki: Pki, as_client: AsClient, check_common_name: bool) -> None:
    """The HSCN hosts have no subject alternative names; nobody else is forgiven that."""
    server = pki.authority.server(common_name_only=True)
    with served(pki, server) as double:
        client = as_client(double.base_url, context=context_of(pki, check_common_name=check_common_name))
        if check_common_name:
            client.inbox_page()
        else:
            with pytest.raises(errors.HostNameMismatch):
                client.inbox_page()


def test_a_common_name_does_not_help_where_there_are_others(pki: Pki, as_client: AsClient) -> None:
    wrong = pki.authority.server(host_names=["mesh.example"], addresses=[], common_name_only=True)
    with served(pki, wrong) as double, pytest.raises(errors.HostNameMismatch):
        as_client(double.base_url, context=context_of(pki, check_common_name=True)).inbox_page()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", ["expired", "not_yet_valid", "another CA", "missing"])
@pytest.mark.parametrize("post", [False, True], ids=["list", "send"])
def test_our_certificate_is_refused(
    pki: Pki, stranger: Authority, as_client: AsClient, version: ssl.TLSVersion, what: Any, post: bool
) -> None:
    """With TLS 1.3 the server can only say so after our first request; its alert may be lost when it hangs up at once."""
    if what == "missing":
        context = client_context(pki.authority.certificate_pem)
    else:
        issuer = stranger if what == "another CA" else pki.authority
        context = context_of(pki, issuer.client(ONE, "X26", validity="valid" if what == "another CA" else what))
    context.maximum_version = version
    with served(pki) as double:
        client = as_client(double.base_url, context=context)
        with pytest.raises(errors.MeshError) as caught:
            if post:
                client.send(b"x", recipient="X26ABC2", workflow_id="TEST_WORKFLOW")
            else:
                client.inbox_page()
        assert double.recorder.records() == []
    error = caught.value
    if version == ssl.TLSVersion.TLSv1_2 and what == "missing":
        # OpenSSL says handshake_failure here, which can mean other things too.
        assert type(error) is errors.ConnectionFailed
        assert "ALERT_HANDSHAKE_FAILURE" in str(error)
    elif version == ssl.TLSVersion.TLSv1_2:
        assert isinstance(error, errors.ClientCertificateRefused)
    else:
        hung_up = isinstance(error, errors.ConnectionLost | errors.SendUncertain) and error.maybe_certificate
        assert isinstance(error, errors.ClientCertificateRefused) or hung_up


REFUSED = errors.ClientCertificateRefused
ALERTS = {
    40: errors.ConnectionFailed,
    **dict.fromkeys((42, 43, 44, 45, 46, 48, 49, 51), REFUSED),
    70: errors.ConnectionFailed,
    80: errors.ConnectionFailed,
}


@pytest.mark.parametrize("alert", ALERTS)
def test_alerts(pki: Pki, as_client: AsClient, waits: list[float], alert: int) -> None:
    with Double(pki) as double:
        double.faults.add(match={}, action=faults.refuse_tls("alert", alert=alert), times=None)
        with pytest.raises(errors.ConnectionFailed) as caught:
            as_client(double.base_url, context=context_of(pki)).inbox_page()
    assert type(caught.value) is ALERTS[alert]
    final = ALERTS[alert] is REFUSED
    assert caught.value.misconfigured is final
    assert len(waits) == (0 if final else 2)


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings(LEFT_BY_PYTHON)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_end_during_the_handshake(pki: Pki, as_client: AsClient, waits: list[float], how: Any) -> None:
    with Double(pki) as double:
        double.faults.add(match={}, action=faults.refuse_tls(how), times=None)
        with pytest.raises((errors.ConnectionLost, errors.ConnectionFailed)) as caught:
            as_client(double.base_url, context=context_of(pki)).inbox_page()
    if isinstance(caught.value, errors.ConnectionLost):
        assert caught.value.nothing_sent and caught.value.maybe_certificate
    else:  # the reset was there before our first byte
        assert type(caught.value) is errors.ConnectionFailed and how == "reset"
    assert caught.value.retryable
    assert len(waits) == 2


def test_an_end_after_the_handshake(pki: Pki, as_client: AsClient, waits: list[float]) -> None:
    with served(pki) as double:
        client = as_client(double.base_url, context=context_of(pki))
        double.faults.add(match={}, action=faults.refuse_tls("after_handshake"), times=1)
        client.inbox_page()
        assert waits == [0.375]
        # On a connection that worked before, it is no question of certificates.
        double.faults.add(match={"route": "list"}, action=faults.drop(), times=1)
        client.inbox_page()
        double.faults.add(match={"route": "list"}, action=faults.drop(), times=None)
        with pytest.raises(errors.ConnectionLost):
            client.inbox_page()


def test_a_server_that_does_not_speak_tls(double: Double, pki: Pki, as_client: AsClient) -> None:
    with pytest.raises(errors.ConnectionFailed):
        as_client(double.base_url.replace("http:", "https:"), context=context_of(pki)).inbox_page()


def test_a_server_that_is_silent_during_tls(pki: Pki, as_client: AsClient, waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = as_client(
            f"https://localhost:{listener.getsockname()[1]}", context=context_of(pki), timeouts=Timeouts(connect=0.1)
        )
        with pytest.raises(errors.ConnectTimeout):
            client.send(b"x", recipient="X26ABC2", workflow_id="TEST_WORKFLOW")
    assert len(waits) == 2


def test_old_tls_is_refused(pki: Pki, as_client: AsClient) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    try:
                        context.wrap_socket(connection, server_side=True).close()
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises((errors.ConnectionFailed, errors.ConnectionLost)):
            as_client(f"https://localhost:{listener.getsockname()[1]}", context=context_of(pki)).inbox_page()
        thread.join(5)


def alert(reason: str = "TLSV1_ALERT_UNKNOWN_CA") -> httpx.ReadError:
    failed = ssl.SSLError(1, f"[SSL: {reason}]")
    failed.reason = reason
    error = httpx.ReadError(str(failed))
    error.__cause__ = failed
    return error


def test_an_alert_after_an_answer_is_no_refusal() -> None:
    """What was answered, or sent on a connection that worked before, may have been carried out: not certain any more."""
    progress = Progress()
    for event in ("connection.start_tls.complete", "http11.send_request_headers.started"):
        progress(event, {})
    assert isinstance(classify(alert(), progress), errors.ClientCertificateRefused)
    progress("http11.receive_response_headers.complete", {})
    assert type(classify(alert(), progress)) is errors.ConnectionLost
    kept = Progress()
    kept("http11.send_request_headers.started", {})
    found = classify(alert(), kept)
    assert type(found) is errors.ConnectionLost
    assert not found.nothing_sent


def test_a_202_whose_body_ends_in_an_alert_is_uncertain(as_client: AsClient) -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b'{"mess'
            raise alert()

    class Transport(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions["trace"]("connection.start_tls.complete", {})
            request.extensions["trace"]("http11.send_request_headers.started", {})
            return httpx.Response(202, stream=Broken())

    client = as_client("https://localhost:9", transport=Transport())
    with pytest.raises(errors.SendUncertain):
        client.send(b"x", recipient="X26ABC2", workflow_id="TEST_WORKFLOW")
