"""Acknowledgement and handshake: calls whose success says nothing, so that anything said must be looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from meshportal.mesh import MeshClient, errors
from tests.double import Double, faults

from .conftest import AsClient, Raw
from .raw import answer

CALLS: dict[str, Callable[[MeshClient], None]] = {
    "acknowledge": lambda client: client.acknowledge("M1"),
    "handshake": lambda client: client.handshake(),
}
PAGE = {"Content-Type": "text/html; charset=utf-8"}


def test_it_leaves_the_inbox(double: Double, client: MeshClient) -> None:
    first, second = (double.put("X26ABC1", b"x").message_id for _ in range(2))
    client.acknowledge(first)
    assert double.inbox("X26ABC1") == [second]
    record = double.recorder.acks("X26ABC1")[0]
    assert (record.method, record.path) == ("PUT", f"/messageexchange/X26ABC1/inbox/{first}/status/acknowledged")


def test_a_repeat(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", b"x")
    client.acknowledge(put.message_id)
    client.acknowledge(put.message_id)
    for status, kind in ((404, errors.NotFound), (410, errors.Gone)):
        double.configure(repeat_acknowledge=status)
        with pytest.raises(kind) as caught:
            client.acknowledge(put.message_id)
        assert caught.value.message_id == put.message_id


@pytest.mark.faults
@pytest.mark.parametrize("status", [404, 410])
def test_a_lost_acknowledgement_that_had_arrived(double: Double, client: MeshClient, status: int) -> None:
    """The repeat says NotFound or Gone, which the caller may take for done: it holds the message."""
    put = double.put("X26ABC1", b"x")
    double.configure(repeat_acknowledge=status)
    double.faults.add(match={"route": "acknowledge"}, action=faults.drop("after"))
    with pytest.raises((errors.NotFound, errors.Gone)):
        client.acknowledge(put.message_id)
    assert double.inbox("X26ABC1") == []


def test_another_mailboxs_message(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC2", b"x")
    with pytest.raises(errors.AuthenticationFailed):
        client.acknowledge(put.message_id)
    assert double.inbox("X26ABC2") == [put.message_id]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "body", [b"", b"  \r\n", b"null", b"{}", b'{"messageId": "M1"}', b'{"message_id": "M1"}', b'{"mailboxId": "X26ABC1"}']
)
def test_quiet_success(raw: Raw, as_client: AsClient, call: str, body: bytes) -> None:
    server = raw(answer(200, body))
    CALLS[call](as_client(server.url))
    assert len(server.requests) == 1


@pytest.mark.faults
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"<!DOCTYPE html><html>Sign in to the guest network</html>", PAGE),
        answer(200, b"<html></html>"),
        answer(200, b"", PAGE),
        answer(200, b"  ", PAGE),
        answer(200, b"ok"),
        answer(200, b'{"messageId": '),
        answer(200, b"\xff\xfe"),
        answer(201),
        answer(202),
        answer(204, length=None),
        answer(206),
        answer(302, b"", {"Location": "/signin"}),
    ],
    ids=lambda said: repr(said[9:12] + said[-20:]),
)
def test_what_is_no_acknowledgement(raw: Raw, as_client: AsClient, waits: list[float], call: str, said: bytes) -> None:
    server = raw(said)
    with pytest.raises(errors.UnexpectedAnswer) as caught:
        CALLS[call](as_client(server.url))
    assert caught.value.message_id == ("M1" if call == "acknowledge" else "")
    assert (len(server.requests), waits) == (1, [])


@pytest.mark.faults
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_cut_short_is_repeated(raw: Raw, as_client: AsClient, waits: list[float], call: str) -> None:
    server = raw(answer(200, b"{}", length=9), answer(200, b"{}"))
    CALLS[call](as_client(server.url))
    assert waits == [0.375]


@pytest.mark.faults
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "body",
    [
        b'{"errorEvent": "SEND", "errorCode": "EPL-151", "errorDescription": "No mailbox matched"}',
        b'{"detail": [{"event": "SEND", "code": "EPL-151", "msg": "No mailbox matched"}]}',
    ],
    ids=["v1", "v2"],
)
def test_an_error_under_a_200(raw: Raw, as_client: AsClient, call: str, body: bytes) -> None:
    with pytest.raises(errors.AuthenticationFailed) as caught:
        CALLS[call](as_client(raw(answer(200, body)).url))
    assert (caught.value.status, caught.value.code, caught.value.event) == (200, "EPL-151", "SEND")
    assert caught.value.message_id == ("M1" if call == "acknowledge" else "")
    assert caught.value.misconfigured


@pytest.mark.parametrize("status", [200, 403])
def test_a_handshake_of_an_unknown_mailbox(double: Double, as_client: AsClient, status: int) -> None:
    double.configure(unknown_mailbox_status=status)
    with pytest.raises(errors.AuthenticationFailed) as caught:
        as_client(double.base_url, "NOBODY1").handshake()
    assert (caught.value.code, caught.value.status) == ("EPL-151", status)
    assert len(double.recorder.records()) == 1


def test_a_handshake_tells_who_we_are(double: Double, client: MeshClient, raw: Raw, as_client: AsClient) -> None:
    client.handshake()
    assert double.state.mailboxes["X26ABC1"].handshakes == 1
    server = raw(answer(200))
    as_client(server.url).handshake()
    head = server.requests[0].lower()
    names = (b"mex-clientversion", b"mex-osname", b"mex-osversion", b"mex-osarchitecture", b"mex-javaversion", b"user-agent")
    for name in names:
        assert b"\r\n" + name + b": " in head
    assert head.startswith(b"post /messageexchange/x26abc1 http/1.1\r\n")
    assert b"accept: application/vnd.mesh.v2+json\r\n" in head
    assert b"cookie" not in head


def test_wrong_secrets(double: Double, as_client: AsClient) -> None:
    for wrong in ({"password": "wrong"}, {"shared_key": "wrong"}):
        with pytest.raises(errors.AuthenticationFailed) as caught:
            as_client(double.base_url, **wrong).handshake()
        assert caught.value.description == "Invalid Authentication Token"
        assert caught.value.clock_skew is not None and abs(caught.value.clock_skew) < timedelta(seconds=5)


@pytest.mark.faults
def test_cookies_are_never_kept(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(200, b"", {"Set-Cookie": "session=stolen; Path=/"}))
    client = as_client(server.url)
    client.handshake()
    client.handshake()
    assert b"ookie" not in b"".join(server.requests)


def test_the_environment_has_no_say(raw: Raw, as_client: AsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = raw(answer(200))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    server = raw(answer(200))
    as_client(server.url).handshake()
    assert (len(server.requests), proxy.requests) == (1, [])
