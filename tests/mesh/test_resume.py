"""Later chunks: repeated freely, resumed from anywhere, and settled by tracking when the service says that it has all."""

from __future__ import annotations

import random
from typing import Any

import pytest

from meshportal.mesh import MeshClient, Timeouts, errors
from tests.double import Double, faults

from .conftest import ONE, TWO, AsClient, Raw, blocks_of, nonces
from .raw import answer

CHUNK = 100_000
DATA = random.Random(9).randbytes(4 * CHUNK - 77)
TOTAL = 4
TRACK = "GET /messageexchange/X26ABC1/outbox/tracking?messageID=M1"


def begun(double: Double, client: MeshClient, stop_at: int, *, compress: bool) -> str:
    """An upload that failed for good at chunk ``stop_at``; gives the message id that the error carries."""
    double.faults.add(match={"route": "send_chunk", "chunk": stop_at}, action=faults.status(503), times=None)
    accepted: list[str] = []
    later: list[int] = []
    with pytest.raises(errors.Unavailable) as caught:
        client.send(
            DATA,
            recipient=TWO,
            workflow_id="TEST_WORKFLOW",
            chunk_size=CHUNK,
            compress=compress,
            on_accepted=accepted.append,
            on_chunk=later.append,
        )
    assert accepted == [caught.value.message_id]
    assert later == list(range(2, stop_at))
    double.faults.clear()
    assert double.inbox(TWO) == []
    return caught.value.message_id


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("function", [False, True], ids=["bytes", "function"])
@pytest.mark.parametrize("stop_at", [2, 3, 4])
def test_resume_from_each_chunk(double: Double, client: MeshClient, stop_at: int, function: bool, compress: bool) -> None:
    message_id = begun(double, client, stop_at, compress=compress)
    payload: Any = blocks_of(DATA, 7777) if function else DATA
    double.recorder.clear()
    later: list[int] = []
    receipt = client.resume(
        message_id,
        payload,
        size=len(DATA),
        next_chunk=stop_at,
        chunk_size=CHUNK,
        compress=compress,
        on_chunk=later.append,
    )
    assert (receipt.message_id, receipt.size, receipt.chunk_total) == (message_id, len(DATA), TOTAL)
    assert receipt.sent_size == sum(record.bytes_in for record in double.recorder.records())
    assert later == list(range(stop_at, TOTAL + 1))
    assert double.inbox(TWO) == [message_id]
    assert double.content(message_id) == DATA


def test_a_chunk_that_is_sent_twice_replaces_itself(double: Double, client: MeshClient) -> None:
    message_id = begun(double, client, 4, compress=False)
    client.resume(message_id, DATA, next_chunk=2, chunk_size=CHUNK, compress=False)
    assert double.content(message_id) == DATA
    assert [info.message_id for info in double.sent_by(ONE)] == [message_id]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.faults
@pytest.mark.parametrize("when", ["before_body", "during_body", "after", "during_answer"])
@pytest.mark.parametrize("function", [False, True], ids=["bytes", "function"])
def test_a_lost_chunk_is_sent_again(
    double: Double, client: MeshClient, waits: list[float], when: Any, function: bool, compress: bool
) -> None:
    payload: Any = blocks_of(DATA, 7777) if function else DATA
    for chunk in (2, 3):
        double.faults.add(match={"route": "send_chunk", "chunk": chunk}, action=faults.drop(when))
    receipt = client.send(
        payload, recipient=TWO, workflow_id="TEST_WORKFLOW", chunk_size=CHUNK, compress=compress, size=len(DATA)
    )
    assert double.content(receipt.message_id) == DATA
    assert len(double.sent_by(ONE)) == 1
    assert len(double.recorder.records(route="send")) == 1
    assert len(set(nonces(double, ("send", "send_chunk")))) == TOTAL + 2
    assert waits == [0.375, 0.375]


@pytest.mark.faults
@pytest.mark.parametrize("when", ["after", "during_answer"])
def test_a_last_chunk_that_had_arrived_is_settled_by_tracking(double: Double, client: MeshClient, when: Any) -> None:
    """The repeat is answered 423; tracking says that the message is accepted, so it is sent."""
    double.faults.add(match={"route": "send_chunk", "chunk": TOTAL}, action=faults.drop(when))
    later: list[int] = []
    receipt = client.send(DATA, recipient=TWO, workflow_id="TEST_WORKFLOW", chunk_size=CHUNK, on_chunk=later.append)
    assert later == [2, 3, 4]
    assert double.inbox(TWO) == [receipt.message_id]
    assert [record.status for record in double.recorder.records(route="send_chunk")][-1] == 423
    assert len(double.recorder.records(route="track")) == 1


def test_a_message_that_was_collected_meanwhile_is_sent(double: Double, client: MeshClient, other: MeshClient) -> None:
    message_id = client.send(DATA, recipient=TWO, workflow_id="TEST_WORKFLOW", chunk_size=CHUNK).message_id
    other.acknowledge(message_id)
    receipt = client.resume(message_id, DATA, next_chunk=TOTAL, chunk_size=CHUNK, compress=False)
    assert (receipt.message_id, double.recorder.records(route="send_chunk")[-1].status) == (message_id, 423)


@pytest.mark.faults
@pytest.mark.parametrize("status", ["uploading", "error", "undeliverable", "", "nonsense"])
def test_a_423_that_tracking_does_not_explain(raw: Raw, as_client: AsClient, status: str) -> None:
    server = raw(answer(423), answer(200, b'{"message_id": "M1", "status": "%s"}' % status.encode()))
    with pytest.raises(errors.UploadFinalised) as caught:
        as_client(server.url).resume("M1", b"abcd", next_chunk=2, chunk_size=2, compress=False)
    assert caught.value.message_id == "M1"
    assert [request.split(b" HTTP")[0].decode() for request in server.requests][1] == TRACK


@pytest.mark.faults
def test_a_423_before_the_last_chunk_is_an_error(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(423), answer(200, b'{"message_id": "M1", "status": "accepted"}'))
    with pytest.raises(errors.UploadFinalised):
        as_client(server.url).resume("M1", b"abcdef", next_chunk=2, chunk_size=2, compress=False)
    assert len(server.requests) == 1


@pytest.mark.faults
def test_a_423_whose_tracking_fails(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(423), answer(404, b'{"detail":[{"event":"","code":"","msg":"Not Found"}]}'))
    with pytest.raises(errors.MeshError) as caught:
        as_client(server.url).resume("M1", b"abcd", next_chunk=2, chunk_size=2, compress=False)
    assert caught.value.message_id == "M1"


@pytest.mark.faults
@pytest.mark.parametrize("said", [answer(202, b"<html>Sign in</html>"), answer(200, b"ok")])
def test_a_page_is_no_acceptance_of_a_chunk(raw: Raw, as_client: AsClient, said: bytes) -> None:
    server = raw(said)
    with pytest.raises(errors.UnexpectedAnswer) as caught:
        as_client(server.url).resume("M1", b"abcd", next_chunk=2, chunk_size=2, compress=False)
    assert caught.value.message_id == "M1"


@pytest.mark.parametrize("body", [b"", b"null", b'{"messageID": "M1", "blockID": 2}'])
@pytest.mark.parametrize("status", [200, 202])
def test_every_form_of_acceptance(raw: Raw, as_client: AsClient, status: int, body: bytes) -> None:
    server = raw(answer(status, body))
    as_client(server.url).resume("M1", b"abcd", next_chunk=2, chunk_size=2, compress=True)
    head = server.requests[0]
    assert head.startswith(b"POST /messageexchange/X26ABC1/outbox/M1/2 HTTP/1.1\r\n")
    assert b"Mex-Chunk-Range: 2:2\r\n" in head
    assert b"Content-Encoding: gzip\r\n" in head
    assert b"ransfer-" not in head


@pytest.mark.parametrize("next_chunk", [-1, 0, 1, 5])
def test_there_is_no_such_chunk(double: Double, client: MeshClient, next_chunk: int) -> None:
    with pytest.raises(errors.InvalidRequest):
        client.resume("M1", DATA, next_chunk=next_chunk, chunk_size=CHUNK, compress=False)
    for hostile in ("..", "", "a\nb"):
        with pytest.raises(errors.InvalidRequest):
            client.resume(hostile, DATA, next_chunk=2, chunk_size=CHUNK, compress=False)
    assert double.recorder.records() == []


@pytest.mark.faults
def test_what_the_service_says_of_a_chunk(double: Double, client: MeshClient, other: MeshClient) -> None:
    message_id = begun(double, client, 3, compress=False)
    with pytest.raises(errors.Refused) as changed:
        client.resume(message_id, DATA, next_chunk=3, chunk_size=CHUNK, compress=True)
    assert changed.value.status == 417
    with pytest.raises(errors.Refused):
        client.resume(message_id, DATA, next_chunk=3, chunk_size=CHUNK // 2, compress=False)
    with pytest.raises(errors.NotFound):
        client.resume("UNKNOWN", DATA, next_chunk=3, chunk_size=CHUNK, compress=False)
    with pytest.raises(errors.AuthenticationFailed):
        other.resume(message_id, DATA, next_chunk=3, chunk_size=CHUNK, compress=False)
    assert double.inbox(TWO) == []


@pytest.mark.faults
def test_a_silent_chunk_is_sent_again(double: Double, as_client: AsClient) -> None:
    client = as_client(double.base_url, timeouts=Timeouts(read=0.15))
    double.faults.add(match={"route": "send_chunk", "chunk": 2}, action=faults.hang(5))
    receipt = client.send(DATA, recipient=TWO, workflow_id="TEST_WORKFLOW", chunk_size=CHUNK)
    assert double.content(receipt.message_id) == DATA
