"""The first POST of a message: never a second one once a byte may have left, and never a message that nobody knows of."""

from __future__ import annotations

import socket
from typing import Any, NoReturn

import pytest

from meshportal.demo.pki import Pki
from meshportal.mesh import MeshClient, RetryPolicy, SendReceipt, Timeouts, errors
from tests.double import Double, faults

from .conftest import LEFT_BY_PYTHON, ONE, TWO, AsClient, Raw, context_of
from .raw import answer, reset, silent

pytestmark = pytest.mark.faults

BODY = b"x" * 500_000


def send(client: MeshClient, body: bytes = BODY, **options: Any) -> SendReceipt:
    return client.send(body, recipient=TWO, workflow_id="TEST_WORKFLOW", **options)


def outcome(double: Double) -> tuple[int, int]:
    """How many first POSTs came, and how many messages came of them."""
    return len(double.recorder.records(route="send")), len(double.sent_by(ONE))


@pytest.mark.parametrize("reset", [False, True], ids=["orderly", "reset"])
@pytest.mark.parametrize(("when", "messages"), [("before_body", 0), ("during_body", 0), ("after", 1), ("during_answer", 1)])
@pytest.mark.parametrize("chunk_size", [20_000_000, 200_000], ids=["single", "chunked"])
def test_a_drop_leaves_it_uncertain(
    double: Double, client: MeshClient, waits: list[float], when: Any, messages: int, reset: bool, chunk_size: int
) -> None:
    double.faults.add(match={"route": "send"}, action=faults.drop(when, reset=reset))
    accepted: list[str] = []
    with pytest.raises(errors.SendUncertain) as caught:
        send(client, chunk_size=chunk_size, on_accepted=accepted.append)
    assert outcome(double) == (1, messages)
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, errors.ConnectionLost | errors.BodyTruncated)
    assert (accepted, waits) == ([], [])


@pytest.mark.parametrize("processed", [False, True])
@pytest.mark.parametrize("body", ["auto", "soap", "html", "empty"])
@pytest.mark.parametrize("status", [500, 502, 504, 501, 505, 507, 508, 520, 522, 524, 599])
def test_a_failure_behind_the_gateway_leaves_it_uncertain(
    double: Double, client: MeshClient, waits: list[float], status: int, body: str, processed: bool
) -> None:
    """A gateway that says 504, 520 or 524 has passed the request on; whoever repeats it may deliver twice."""
    double.faults.add(match={"route": "send"}, action=faults.status(status, body, processed=processed))
    with pytest.raises(errors.SendUncertain) as caught:
        send(client)
    assert outcome(double) == (1, int(processed))
    assert caught.value.status == status
    assert not caught.value.retryable
    assert waits == []


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (425, errors.Throttled, True),
        (429, errors.Throttled, True),
        (503, errors.Unavailable, True),
        (400, errors.BadRequest, False),
        (401, errors.AuthenticationFailed, False),
        (403, errors.AuthenticationFailed, False),
        (404, errors.NotFound, False),
        (406, errors.Refused, False),
        (408, errors.UnexpectedAnswer, False),
        (410, errors.Gone, False),
        (413, errors.UnexpectedAnswer, False),
        (417, errors.Refused, False),
        (422, errors.Refused, False),
        (423, errors.UploadFinalised, False),
    ],
)
def test_a_refusal_is_certain_and_is_not_repeated(
    double: Double, client: MeshClient, waits: list[float], status: int, kind: type[errors.MeshError], retryable: bool
) -> None:
    action = faults.status(status, event="SEND", error_code="77", message="words", retry_after=1)
    double.faults.add(match={"route": "send"}, action=action)
    with pytest.raises(kind) as caught:
        send(client)
    assert outcome(double) == (1, 0)
    assert caught.value.retryable is retryable
    assert (caught.value.event, caught.value.code, caught.value.description) == ("SEND", "77", "words")
    assert caught.value.retry_after == 1.0
    assert waits == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(double: Double, client: MeshClient, raw: Raw, status: int) -> None:
    trap = raw(answer(202, b'{"message_id": "STOLEN"}'))
    double.faults.add(match={"route": "send"}, action=faults.redirect(f"{trap.url}/messageexchange/X/outbox", status))
    with pytest.raises(errors.UnexpectedAnswer):
        send(client)
    assert outcome(double) == (1, 0)
    assert trap.requests == []


@pytest.mark.parametrize("when", ["before_body", "after"])
def test_silence_leaves_it_uncertain(double: Double, as_client: AsClient, waits: list[float], when: Any) -> None:
    client = as_client(double.base_url, timeouts=Timeouts(read=0.15))
    double.faults.add(match={"route": "send"}, action=faults.hang(5, when=when))
    with pytest.raises(errors.SendUncertain) as caught:
        send(client, b"short")
    assert isinstance(caught.value.__cause__, errors.ResponseTimeout)
    assert outcome(double) == (1, int(when == "after"))
    assert waits == []


def test_a_server_that_stops_reading_leaves_it_uncertain(as_client: AsClient, waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = as_client(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeouts=Timeouts(write=0.1))
        with pytest.raises(errors.SendUncertain) as caught:
            send(client, bytes(20_000_000), chunk_size=50_000_000)
    assert isinstance(caught.value.__cause__, errors.ResponseTimeout)
    assert waits == []


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>Sign in to the guest network</html>",
        b'{"message_id": ""}',
        b'{"message_id": ".."}',
        b'{"message_id": 7}',
        b'{"message_id": "a\\u0000b"}',
        b'{"message_id": "' + b"x" * 101 + b'"}',
        b'{"message_id": "cut',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=lambda said: repr(said[:20]),
)
@pytest.mark.parametrize("status", [200, 202])
def test_an_acceptance_without_a_usable_id_is_uncertain(
    raw: Raw, as_client: AsClient, waits: list[float], status: int, said: bytes
) -> None:
    server = raw(answer(status, said))
    with pytest.raises(errors.SendUncertain):
        send(as_client(server.url), b"x")
    assert len(server.requests) == 1
    assert waits == []


@pytest.mark.parametrize(
    "said",
    [
        answer(202, b'{"message_id": "M1"}', length=500),
        reset(answer(202, b'{"mess', length=500)),
        b"HTTP/1.1 202",
        b"HTTP/1.1 202 Accepted\r\nContent-Len",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        answer(202, b"x" * 17_000_000),
        b"\x15\x03\x03\x00\x02\x02\x28",
        answer(202, b'{"message_id": "M1"}', headers={"X": "y" * 200_000}),
    ],
    ids=["short", "reset", "status", "header", "length", "chunked", "huge", "tls", "long header"],
)
def test_an_answer_that_cannot_be_read_is_uncertain(raw: Raw, as_client: AsClient, waits: list[float], said: Any) -> None:
    server = raw(said)
    with pytest.raises(errors.SendUncertain):
        send(as_client(server.url), b"x")
    assert len(server.requests) == 1
    assert waits == []


def test_every_spelling_of_the_id_is_taken(raw: Raw, as_client: AsClient) -> None:
    for name in ("message_id", "messageID", "messageId"):
        for status in (200, 202):
            server = raw(answer(status, b'{"%s": "M1"}' % name.encode()))
            assert send(as_client(server.url), b"x").message_id == "M1"


def test_not_connected_is_repeated(double: Double, as_client: AsClient) -> None:
    double.down()
    client = as_client(double.base_url, retry=RetryPolicy(sleep=lambda _: double.up()))
    receipt = send(client)
    assert outcome(double) == (1, 1)
    assert double.content(receipt.message_id) == BODY


def test_not_connected_at_all(double: Double, client: MeshClient, waits: list[float]) -> None:
    double.down()
    with pytest.raises(errors.ConnectionRefused):
        send(client)
    assert waits == [0.375, 0.75]
    assert outcome(double) == (0, 0)


def test_an_unknown_host_is_repeated(as_client: AsClient, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> NoReturn:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(errors.HostUnknown):
        send(as_client("http://mesh.invalid"))
    assert len(waits) == 2


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings(LEFT_BY_PYTHON)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_ends_during_tls_is_repeated(pki: Pki, as_client: AsClient, waits: list[float], how: Any) -> None:
    with Double(pki) as double:
        for mailbox in (ONE, TWO):
            double.add_mailbox(mailbox)
        double.faults.add(match={}, action=faults.refuse_tls(how), times=2)
        receipt = send(as_client(double.base_url, context=context_of(pki)))
        assert outcome(double) == (1, 1)
        assert double.content(receipt.message_id) == BODY
    assert waits == [0.375, 0.75]


def test_a_silent_end_after_the_handshake_may_be_the_certificate(pki: Pki, as_client: AsClient, waits: list[float]) -> None:
    with Double(pki) as double:
        double.add_mailbox(ONE)
        double.faults.add(match={}, action=faults.refuse_tls("after_handshake"), times=None)
        with pytest.raises(errors.SendUncertain) as caught:
            send(as_client(double.base_url, context=context_of(pki)))
        assert outcome(double) == (0, 0)
    assert caught.value.maybe_certificate
    assert waits == []


def test_a_refused_certificate_is_certain(pki: Pki, as_client: AsClient, waits: list[float]) -> None:
    with Double(pki) as double:
        double.faults.add(match={}, action=faults.refuse_tls("alert"), times=None)
        with pytest.raises(errors.ClientCertificateRefused):
            send(as_client(double.base_url, context=context_of(pki)))
    assert waits == []


def test_the_sentence_of_an_uncertain_send_says_why(double: Double, client: MeshClient) -> None:
    double.faults.add(match={"route": "send"}, action=faults.status(504, "v2", event="SEND", error_code="9", message="late"))
    with pytest.raises(errors.SendUncertain, match=r"not known: MESH answered 504 \(SEND 9\): late"):
        send(client)


def silent_after(body: bytes) -> Any:
    return silent(2.0, body)


def test_an_answer_that_never_ends_is_uncertain(raw: Raw, as_client: AsClient) -> None:
    server = raw(silent_after(answer(202, b'{"message', length=100)))
    with pytest.raises(errors.SendUncertain):
        send(as_client(server.url, timeouts=Timeouts(read=0.1)), b"x")
