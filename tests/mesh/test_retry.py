"""The table of meshportal.mesh.retry, row by row, for everything but the first POST of a message."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, NoReturn

import pytest

from meshportal.mesh import MeshClient, RetryPolicy, Timeouts, errors
from tests.double import Double, faults

from .conftest import QUICK, AsClient, nonces, read_all
from .raw import silent

pytestmark = pytest.mark.faults

Do = Callable[[MeshClient, str], object]


def send_three(client: MeshClient, _message_id: str) -> object:
    return client.send(b"abcdefghi", recipient="X26ABC2", workflow_id="TEST_WORKFLOW", local_id="three", chunk_size=3)


# Route that is spoilt -> what asks for it. Every one is repeated.
OPERATIONS: dict[str, Do] = {
    "handshake": lambda client, _: client.handshake(),
    "list": lambda client, _: client.inbox_page(),
    "head": lambda client, known: client.head(known),
    "get": read_all,
    "get_chunk": read_all,
    "acknowledge": lambda client, known: client.acknowledge(known),
    "send_chunk": send_three,
    "track": lambda client, _: client.track("SENT"),
    "track_local": lambda client, _: client.track_by_local_id("mine"),
    "lookup": lambda client, _: client.lookup("X26", "TEST_WORKFLOW"),
    "search": lambda client, _: client.search("TEST_WORKFLOW"),
    "ping": lambda client, _: client.ping(),
}
LOST = errors.ConnectionLost
CUT = (errors.BodyTruncated, errors.ConnectionLost)
TRANSIENT: dict[str, tuple[dict[str, Any], Any]] = {
    "dropped": (faults.drop(), LOST),
    "reset": (faults.drop(reset=True), LOST),
    "dropped after": (faults.drop("after"), LOST),
    "reset after": (faults.drop("after", reset=True), LOST),
    "cut answer": (faults.drop("during_answer"), CUT),
    "reset answer": (faults.drop("during_answer", reset=True), CUT),
    "425": (faults.status(425), errors.Throttled),
    "429": (faults.status(429), errors.Throttled),
    "500": (faults.status(500), errors.ServerError),
    "502": (faults.status(502, "html"), errors.Unavailable),
    "503": (faults.status(503, "soap"), errors.Unavailable),
    "504": (faults.status(504, "empty"), errors.Unavailable),
    "507": (faults.status(507), errors.ServerError),
}
FINAL: dict[str, tuple[dict[str, Any], type[errors.MeshError]]] = {
    "301": (faults.redirect("http://localhost:9/elsewhere", 301), errors.UnexpectedAnswer),
    "302": (faults.redirect("http://localhost:9/elsewhere"), errors.UnexpectedAnswer),
    "307": (faults.redirect("http://localhost:9/elsewhere", 307), errors.UnexpectedAnswer),
    "308": (faults.redirect("http://localhost:9/elsewhere", 308), errors.UnexpectedAnswer),
    "400": (faults.status(400), errors.BadRequest),
    "404": (faults.status(404), errors.NotFound),
    "406": (faults.status(406), errors.Refused),
    "409": (faults.status(409), errors.UnexpectedAnswer),
    "410": (faults.status(410), errors.Gone),
    "413": (faults.status(413), errors.UnexpectedAnswer),
    "417": (faults.status(417), errors.Refused),
    "422": (faults.status(422), errors.Refused),
    "423": (faults.status(423), errors.UploadFinalised),
}


@pytest.fixture
def seeded(double: Double, client: MeshClient) -> str:
    """Three messages of which any can be asked for: one waiting, one sent, and that with a local id."""
    with double.state.lock:
        for local_id in ("", "mine"):
            made = double.state.new_message(
                message_id="SENT" if not local_id else "LOCAL",
                sender="X26ABC1",
                recipient="X26ABC2",
                workflow_id="TEST_WORKFLOW",
                metadata={"mex-localid": local_id},
            )
            double.state.deliver(made)
    return double.put("X26ABC1", b"what is in it", chunks=2).message_id


# For a download it depends on whether a byte was handed out: see test_download_faults.
MENDED = [(route, what) for route in OPERATIONS for what in TRANSIENT if not (route[:3] == "get" and what[-6:] == "answer")]


@pytest.mark.parametrize(("route", "what"), MENDED)
def test_what_may_pass_is_tried_again(
    double: Double, client: MeshClient, seeded: str, waits: list[float], route: str, what: str
) -> None:
    fault, kind = TRANSIENT[what]
    rule = double.faults.add(match={"route": route}, action=fault)
    OPERATIONS[route](client, seeded)
    assert double.faults.fired(rule) == 1
    assert waits == [0.375]
    used = nonces(double, route)
    assert len(used) >= 2
    if route != "ping":
        assert len(set(used)) == len(used)

    double.recorder.clear()
    waits.clear()
    rule = double.faults.add(match={"route": route}, action=fault, times=None)
    with pytest.raises(kind) as caught:
        OPERATIONS[route](client, seeded)
    assert caught.value.retryable
    assert not caught.value.misconfigured
    assert double.faults.fired(rule) == 3
    assert waits == [0.375, 0.75]
    if route in ("head", "get", "get_chunk", "acknowledge"):
        assert caught.value.message_id == seeded
    if route == "send_chunk":
        assert caught.value.message_id == double.sent_by("X26ABC1")[-1].message_id


@pytest.mark.parametrize("what", FINAL)
@pytest.mark.parametrize("route", OPERATIONS)
def test_what_will_not_pass_is_not_tried_again(
    double: Double, client: MeshClient, seeded: str, waits: list[float], route: str, what: str
) -> None:
    fault, kind = FINAL[what]
    rule = double.faults.add(match={"route": route}, action=fault, times=None)
    with pytest.raises(kind) as caught:
        OPERATIONS[route](client, seeded)
    assert type(caught.value) is kind
    assert not caught.value.retryable
    assert caught.value.status == int(what)
    assert double.faults.fired(rule) == 1
    assert waits == []


@pytest.mark.parametrize("route", [route for route in OPERATIONS if route != "ping"])
def test_a_refused_token_is_tried_once_more_and_never_twice(
    double: Double, client: MeshClient, seeded: str, waits: list[float], route: str
) -> None:
    double.faults.add(match={"route": route}, action=faults.status(403, message="Error Duplicated Authentication Token"))
    OPERATIONS[route](client, seeded)
    waits.clear()
    for status in (401, 403):
        double.faults.clear()
        rule = double.faults.add(match={"route": route}, action=faults.status(status), times=None)
        with pytest.raises(errors.AuthenticationFailed) as caught:
            OPERATIONS[route](client, seeded)
        assert caught.value.misconfigured
        assert caught.value.status == status
        assert double.faults.fired(rule) == 2
    assert waits == [0.375, 0.375]


def test_a_refusal_that_no_token_mends_is_not_repeated(double: Double, client: MeshClient, waits: list[float]) -> None:
    rule = double.faults.add(match={"route": "list"}, action=faults.status(403, error_code="EPL-151"), times=None)
    with pytest.raises(errors.AuthenticationFailed):
        client.inbox_page()
    assert double.faults.fired(rule) == 1
    double.faults.clear()
    double.faults.add(match={"route": "list"}, action=faults.skew_date(7300), times=None)
    rule = double.faults.add(match={"route": "list"}, action=faults.status(403), times=None)
    with pytest.raises(errors.AuthenticationFailed):
        client.inbox_page()
    assert double.faults.fired(rule) == 1
    assert waits == []


def test_refusals_and_drops_share_the_attempts(double: Double, client: MeshClient, waits: list[float]) -> None:
    for nth, action in ((1, faults.status(403)), (2, faults.drop()), (3, faults.status(403))):
        double.faults.add(match={"route": "list", "nth": nth}, action=action)
    with pytest.raises(errors.AuthenticationFailed):
        client.inbox_page()
    assert len(double.recorder.records()) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("route", [route for route in OPERATIONS if route not in ("send_chunk", "ping")])
def test_silence_is_a_timeout_and_is_repeated(
    double: Double, as_client: AsClient, seeded: str, waits: list[float], route: str
) -> None:
    impatient = as_client(double.base_url, timeouts=Timeouts(read=0.15))
    rule = double.faults.add(match={"route": route}, action=faults.hang(5), times=1)
    OPERATIONS[route](impatient, seeded)
    assert double.faults.fired(rule) == 1
    assert waits == [0.375]


def test_three_silences_are_a_response_timeout(double: Double, as_client: AsClient) -> None:
    impatient = as_client(double.base_url, timeouts=Timeouts(read=0.05))
    double.faults.add(match={"route": "list"}, action=faults.hang(5), times=None)
    with pytest.raises(errors.ResponseTimeout) as caught:
        impatient.inbox_page()
    assert caught.value.retryable
    assert not caught.value.maybe_certificate
    assert not caught.value.nothing_sent


@pytest.mark.parametrize(
    ("said", "waited"),
    [
        ("0", [0.375]),
        ("7", [7.0]),
        ("30", [30.0]),
        (" 5 ", [5.0]),
        ("31", None),
        ("99999999999999999", None),
        ("soon", [0.375]),
        ("-4", [0.375]),
        ("1.5", [0.375]),
        ("", [0.375]),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 500])
def test_retry_after_in_seconds(
    double: Double, client: MeshClient, waits: list[float], said: str, waited: list[float] | None, status: int
) -> None:
    double.faults.add(match={"route": "list"}, action=faults.status(status, retry_after=said))
    if waited is not None:
        client.inbox_page()
        assert waits == waited
        return
    with pytest.raises((errors.Throttled, errors.Unavailable, errors.ServerError)) as caught:
        client.inbox_page()
    assert caught.value.retry_after == float(said)
    assert caught.value.retryable
    assert waits == []


@pytest.mark.parametrize(("ahead", "waited"), [(10, [10.0]), (-500, [0.375]), (3600, None)])
def test_retry_after_as_a_date(
    double: Double, as_client: AsClient, waits: list[float], ahead: int, waited: list[float] | None
) -> None:
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    double.clock.freeze(now)
    client = as_client(double.base_url, now=lambda: now)
    stamp = format_datetime(now + timedelta(seconds=ahead), usegmt=True)
    double.faults.add(match={"route": "list"}, action=faults.status(503, retry_after=stamp))
    if waited is not None:
        client.inbox_page()
        assert waits == waited
        return
    with pytest.raises(errors.Unavailable) as caught:
        client.inbox_page()
    assert caught.value.retry_after == ahead


def test_the_waits_double_up_to_a_limit() -> None:
    policy = RetryPolicy(attempts=99, random=lambda: 1.0)
    assert [policy.wait(attempt, None) for attempt in range(1, 8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert policy.wait(5000, None) == 8.0
    assert RetryPolicy(random=lambda: 0.0).wait(1, None) == 0.25
    assert policy.wait(4, 1.0) == 4.0  # the server's second would be too soon for us
    with pytest.raises(ValueError, match="at least 1"):
        RetryPolicy(attempts=0)


def test_one_attempt_means_one(double: Double, as_client: AsClient) -> None:
    def never(_seconds: float) -> NoReturn:
        raise AssertionError("waited")

    client = as_client(double.base_url, retry=RetryPolicy(attempts=1, sleep=never))
    double.faults.add(match={"route": "list"}, action=faults.status(503))
    with pytest.raises(errors.Unavailable):
        client.inbox_page()


def test_nobody_listens(double: Double, client: MeshClient, waits: list[float]) -> None:
    double.down()
    with pytest.raises(errors.ConnectionRefused) as caught:
        client.inbox_page()
    assert caught.value.retryable
    assert waits == [0.375, 0.75]


def test_the_service_comes_back_between_attempts(double: Double, as_client: AsClient) -> None:
    double.down()
    client = as_client(double.base_url, retry=RetryPolicy(sleep=lambda _: double.up()))
    assert client.inbox_page().message_ids == ()


def test_an_unknown_host(as_client: AsClient, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(errors.HostUnknown) as caught:
        as_client("http://mesh.invalid").inbox_page()
    assert caught.value.retryable
    assert len(waits) == 2


def test_a_connection_that_is_never_made(as_client: AsClient, waits: list[float]) -> None:
    """A listener whose queue is full drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        client = as_client(f"http://127.0.0.1:{full.getsockname()[1]}", timeouts=Timeouts(connect=0.1))
        with pytest.raises(errors.ConnectTimeout):
            client.inbox_page()
        for filler in fillers:
            filler.close()
    assert len(waits) == 2


def test_all_connections_busy(double: Double, as_client: AsClient) -> None:
    put = double.put("X26ABC1", b"x" * 3_000_000)
    client = as_client(double.base_url, max_connections=1, timeouts=Timeouts(pool=0.05), retry=RetryPolicy(attempts=1))
    with client.download(put.message_id), pytest.raises(errors.ConnectTimeout, match="busy"):
        client.inbox_page()
    assert client.inbox_page().message_ids == (put.message_id,)


def test_an_idle_connection_that_was_closed_costs_no_attempt(double: Double, client: MeshClient, waits: list[float]) -> None:
    client.inbox_page()
    double.down()
    double.up()
    client.inbox_page()
    assert waits == []


def test_a_server_that_does_not_speak_http(raw: Any, as_client: AsClient, waits: list[float]) -> None:
    server = raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    with pytest.raises(errors.UnexpectedAnswer, match="not HTTP"):
        as_client(server.url).inbox_page()
    assert len(server.requests) == 1
    quiet = raw(silent(3.0, b"HTTP/1.1 200 OK\r\nContent-"))
    with pytest.raises(errors.ResponseTimeout):
        as_client(quiet.url, timeouts=Timeouts(read=0.05), retry=RetryPolicy(attempts=1)).inbox_page()
    assert QUICK.for_httpx()["read"] == 5.0
