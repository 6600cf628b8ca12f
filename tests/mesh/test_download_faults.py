"""Receiving from servers and networks that lose, add, repeat or invent bytes: nothing wrong is ever complete."""

from __future__ import annotations

import gzip
import itertools
import socket
from typing import Any

import pytest

from meshportal.mesh import Download, MeshClient, RetryPolicy, Timeouts, errors
from tests.double import Double, Synthetic, faults

from .conftest import AsClient, Raw, read_all
from .raw import Reply, answer, message, reset, silent

pytestmark = pytest.mark.faults

PACKED = gzip.compress(bytes(range(256)) * 400, mtime=0)
ONCE = RetryPolicy(attempts=1)


def taken(client: MeshClient, kind: type[BaseException] | tuple[type[BaseException], ...], **options: Any) -> Download:
    """A download that must fail with ``kind`` and not call itself complete."""
    download = client.download("M1", **options)
    with pytest.raises(kind) as caught, download:
        list(download)
    assert not download.complete
    if isinstance(caught.value, errors.MeshError):
        assert caught.value.message_id == "M1"
    return download


FAULTY: dict[str, tuple[list[Reply], Any]] = {
    "shorter than its length": ([message(b"abc", length=10)], errors.BodyTruncated),
    "reset in the body": ([reset(message(b"abc", length=10))], errors.ConnectionLost),
    "no length": ([message(b"abc", length=None)], errors.BodyTruncated),
    "no length and no body": ([message(b"", length=None)], errors.BodyTruncated),
    "no length in an old protocol": (
        [message(b"abc", length=None).replace(b"HTTP/1.1", b"HTTP/1.0")],
        errors.BodyTruncated,
    ),
    "gzip without length": ([message(PACKED, length=None, Content_Encoding="gzip")], errors.BodyTruncated),
    "an unended transfer": (
        [message(b"3\r\nabc\r\n", length=None, Transfer_Encoding="chunked")],
        errors.BodyTruncated,
    ),
    "a broken transfer": (
        [message(b"zz\r\nabc\r\n0\r\n\r\n", length=None, Transfer_Encoding="chunked")],
        errors.BodyTruncated,
    ),
    "two lengths": ([message(b"abc", Content_length="4")], errors.MeshError),
    "length and transfer disagree": (
        [message(b"3\r\nabc\r\n0\r\n\r\n", length=7, Transfer_Encoding="chunked")],
        errors.BodyTruncated,
    ),
    "gzip cut": ([message(PACKED[:-20], Content_Encoding="gzip")], errors.BodyTruncated),
    "gzip cut in its end": ([message(PACKED[:-1], Content_Encoding="gzip")], errors.BodyTruncated),
    "gzip cut in its head": ([message(PACKED[:5], Content_Encoding="gzip")], errors.BodyTruncated),
    "nothing as gzip": ([message(b"", Content_Encoding="gzip")], errors.BodyTruncated),
    "second member cut": ([message(PACKED + PACKED[:-3], Content_Encoding="gzip")], errors.BodyTruncated),
    "second member begun": ([message(PACKED + b"\x1f", Content_Encoding="gzip")], errors.BodyTruncated),
    "garbage as gzip": ([message(b"not gzip at all", Content_Encoding="gzip")], errors.BodyCorrupt),
    "garbage after gzip": ([message(PACKED + b"garbage", Content_Encoding="gzip")], errors.BodyCorrupt),
    "wrong checksum": ([message(PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], Content_Encoding="gzip")], errors.BodyCorrupt),
    "wrong size": ([message(PACKED[:-4] + b"\0\0\0\0", Content_Encoding="gzip")], errors.BodyCorrupt),
    "unasked encoding": ([message(b"abc", Content_Encoding="br")], errors.BodyCorrupt),
    "two encodings": ([message(PACKED, Content_Encoding="gzip, gzip")], errors.BodyCorrupt),
    "zlib called gzip": ([message(b"x\x9c\x03\x00\x00\x00\x00\x01", Content_Encoding="gzip")], errors.BodyCorrupt),
    "a page": ([answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})], errors.UnexpectedAnswer),
    "another message": ([message(b"abc", Mex_MessageID="M2")], errors.ChunkMismatch),
    "206 for the whole": ([message(b"abc", status=206)], errors.ChunkMismatch),
    "206 without a range": ([message(b"abc", chunk=None, status=206)], errors.ChunkMismatch),
    "200 for the first of two": ([message(b"abc", chunk="1:2")], errors.ChunkMismatch),
    "a range of nonsense": ([message(b"abc", chunk="one")], errors.ChunkMismatch),
    "a range out of range": ([message(b"abc", chunk="1:9999999")], errors.ChunkMismatch),
    "a negative range": ([message(b"abc", chunk="1:-1")], errors.ChunkMismatch),
    "the wrong chunk first": ([message(b"abc", chunk="2:2")], errors.ChunkMismatch),
    "chunk nought": ([message(b"abc", chunk="0:1", status=206)], errors.ChunkMismatch),
    "206 for a report": ([message(chunk="1:0", status=206, Mex_MessageType="REPORT")], errors.ChunkMismatch),
    "a cut report": ([message(chunk="1:0", length=9, Mex_MessageType="REPORT")], errors.BodyTruncated),
    "a redirect": ([answer(302, b"", {"Location": "http://localhost:9/"})], errors.UnexpectedAnswer),
}
SECOND: dict[str, tuple[Reply, Any]] = {
    "is missing": (answer(404, b'{"detail":[{"event":"RECEIVE","code":"20","msg":"none"}]}'), errors.NotFound),
    "is gone": (answer(410, b'{"errorCode":"x"}'), errors.Gone),
    "is a page": (answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}), errors.ChunkMismatch),
    "is the first again": (message(b"abc", chunk="1:2", status=206), errors.ChunkMismatch),
    "is another": (message(b"def", chunk="3:2"), errors.ChunkMismatch),
    "has another total": (message(b"def", chunk="2:3", status=206), errors.ChunkMismatch),
    "has a lower total": (message(b"def", chunk="2:1"), errors.ChunkMismatch),
    "has no range": (message(b"def", chunk=None), errors.ChunkMismatch),
    "goes on though it is the last": (message(b"def", chunk="2:2", status=206), errors.ChunkMismatch),
    "is of another message": (message(b"def", chunk="2:2", Mex_MessageID="M2"), errors.ChunkMismatch),
    "is cut": (message(b"def", chunk="2:2", length=9), errors.BodyTruncated),
    "is cut gzip": (message(PACKED[:-3], chunk="2:2", Content_Encoding="gzip"), errors.BodyTruncated),
    "is garbage": (message(b"def", chunk="2:2", Content_Encoding="gzip"), errors.BodyCorrupt),
    "is the first, called the whole": (message(b"abc", chunk="1:1"), errors.ChunkMismatch),
}


@pytest.mark.parametrize("what", FAULTY)
def test_what_is_not_whole_is_refused(raw: Raw, as_client: AsClient, waits: list[float], what: str) -> None:
    replies, kind = FAULTY[what]
    client = as_client(raw(*replies).url)
    taken(client, kind)
    assert len(waits) in (0, 2)


@pytest.mark.parametrize("what", SECOND)
def test_a_second_chunk_that_does_not_fit(raw: Raw, as_client: AsClient, what: str) -> None:
    reply, kind = SECOND[what]
    server = raw(message(b"abc", chunk="1:2", status=206), reply)
    download = taken(as_client(server.url), kind)
    assert download.size >= 3


def test_a_body_longer_than_its_length(raw: Raw, as_client: AsClient) -> None:
    """What follows belongs to nobody: it must not reach the message, nor the next answer on the connection."""
    long = message(b"abcdef", length=3).replace(b"Connection: close\r\n", b"")
    server = raw(long + message(b"forged"), message(b"honest"))
    client = as_client(server.url)
    assert read_all(client, "M1") == b"abc"
    assert read_all(client, "M1") == b"honest"


@pytest.mark.parametrize("last", ["garbage", "cut", "crc", "trailing"])
def test_damage_in_the_last_chunk(double: Double, client: MeshClient, last: str) -> None:
    put = double.put("X26ABC1", b"x" * 100_000, chunks=3, corrupt=last)
    with pytest.raises(errors.BodyError), client.download(put.message_id) as download:
        list(download)
    assert not download.complete
    assert double.message(put.message_id).acknowledgements == 0  # type: ignore[union-attr]


def test_a_chunk_that_does_not_exist(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", b"abcdef", chunks=3, corrupt="missing_chunk")
    with pytest.raises(errors.NotFound), client.download(put.message_id) as download:
        list(download)
    assert not download.complete


def test_after_the_first_byte_nothing_is_asked_again(raw: Raw, as_client: AsClient, waits: list[float]) -> None:
    """The bytes are with the caller; a second helping would follow the first."""
    server = raw(message(b"x" * 50_000, length=60_000), message(b"y" * 60_000))
    got = b""
    download = as_client(server.url).download("M1")
    with pytest.raises(errors.BodyTruncated) as caught, download:
        for block in download:
            got += block
    assert caught.value.retryable
    assert got == b"x" * 50_000
    assert (len(server.requests), waits) == (1, [])


def test_a_chunk_that_fails_before_its_first_byte_is_asked_again(raw: Raw, as_client: AsClient, waits: list[float]) -> None:
    server = raw(
        message(b"", length=3, chunk="1:2", status=206),
        message(b"abc", chunk="1:2", status=206),
        reset(message(b"", length=3, chunk="2:2")),
        message(b"", length=3, chunk="2:2"),
        message(b"def", chunk="2:2"),
    )
    assert read_all(as_client(server.url), "M1") == b"abcdef"
    assert waits == [0.375, 0.375, 0.75]
    tokens = [line for request in server.requests for line in request.split(b"\r\n") if line.startswith(b"Authorization")]
    assert len(set(tokens)) == 5


def test_a_first_chunk_that_comes_again_otherwise(raw: Raw, as_client: AsClient) -> None:
    """The headers that the caller saw are those of the first answer; a second of another shape is another message."""
    server = raw(message(b"", length=3, chunk="1:2", status=206), message(b"abcdef", chunk="1:1"))
    taken(as_client(server.url), errors.ChunkMismatch)


def test_opening_and_reading_share_the_attempts(raw: Raw, as_client: AsClient, waits: list[float]) -> None:
    server = raw(answer(503), answer(503), message(b"", length=3), message(b"abc"))
    taken(as_client(server.url), errors.BodyTruncated)
    assert len(server.requests) == 3
    assert waits == [0.375, 0.75]


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("options", [{}, {"gzip": True}], ids=["plain", "gzip"])
def test_max_bytes(double: Double, client: MeshClient, chunks: int, options: dict[str, Any]) -> None:
    body = bytes(range(251)) * 2000
    put = double.put("X26ABC1", body, chunks=chunks, **options)
    assert read_all(client, put.message_id, max_bytes=len(body)) == body
    received = 0
    with (
        pytest.raises(errors.BodyTooLarge) as caught,
        client.download(put.message_id, max_bytes=len(body) - 1) as download,
    ):
        for block in download:
            received += len(block)
    assert received < len(body)
    assert not download.complete
    assert not caught.value.retryable


def test_a_gzip_bomb(double: Double, client: MeshClient, waits: list[float]) -> None:
    """A thousandfold: given up at the limit, in blocks of no more than usual."""
    put = double.put("X26ABC1", gzip.compress(gzip.compress(bytes(4_000_000))), headers={"content-encoding": "gzip"})
    double.configure(compress_downloads=False)
    assert len(read_all(client, put.message_id, max_bytes=10_000)) < 10_000  # one layer is transfer, the other payload
    bomb = double.put("X26ABC1", Synthetic(10_000_000, pattern="zeros"), gzip=True)
    with pytest.raises(errors.BodyTooLarge), client.download(bomb.message_id, max_bytes=1_000_000) as download:
        for block in download:
            assert len(block) <= 262_144
    assert download.size <= 1_000_000 + 262_144
    assert waits == []


@pytest.mark.parametrize("length", ["999999999999", "9" * 19])
def test_a_huge_length_is_refused_unread(raw: Raw, as_client: AsClient, length: str) -> None:
    server = raw(silent(5.0, message(b"", length=None, Content_Length=length)))
    taken(as_client(server.url, retry=ONCE), errors.BodyTooLarge, max_bytes=1000)


def test_a_slow_drip_is_given_up(double: Double, as_client: AsClient) -> None:
    """Every read comes in time, and the whole would take a week: only the average betrays it."""
    double.configure(compress_downloads=False)
    ticks = itertools.count(0.0, 1.0)
    client = as_client(double.base_url, monotonic=lambda: next(ticks), timeouts=Timeouts(slow_after=20, slow_rate=100.0))
    put = double.put("X26ABC1", bytes(3000))
    double.faults.add(match={"route": "get"}, action=faults.drip(block=10, interval=0.001))
    with pytest.raises(errors.BodyTooSlow) as caught, client.download(put.message_id) as download:
        list(download)
    assert caught.value.retryable
    assert caught.value.message_id == put.message_id
    assert not download.complete
    assert download.size < 2500


def test_slow_but_fast_enough(double: Double, as_client: AsClient) -> None:
    ticks = itertools.count(0.0, 1.0)
    double.configure(compress_downloads=False)
    client = as_client(double.base_url, monotonic=lambda: next(ticks), timeouts=Timeouts(slow_after=3, slow_rate=5.0))
    put = double.put("X26ABC1", bytes(400))
    double.faults.add(match={"route": "get"}, action=faults.drip(block=10, interval=0.001))
    assert read_all(client, put.message_id) == bytes(400)


def test_a_slow_reader_is_not_the_servers_fault(double: Double, as_client: AsClient) -> None:
    """Only waiting for the server counts: a disk that takes an hour is ours."""
    clock = [0.0]
    client = as_client(double.base_url, monotonic=lambda: clock[0], timeouts=Timeouts(slow_after=1, slow_rate=1e9))
    put = double.put("X26ABC1", Synthetic(3_000_000))
    with client.download(put.message_id) as download:
        for _ in download:
            clock[0] += 3600
        assert download.complete


def test_silence_in_the_body(raw: Raw, as_client: AsClient) -> None:
    server = raw(silent(5.0, message(b"abc", length=10)))
    taken(as_client(server.url, timeouts=Timeouts(read=0.1)), errors.ResponseTimeout)
    assert len(server.requests) == 1


def test_a_server_that_pours_for_ever(raw: Raw, as_client: AsClient) -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(message(b"", length=None, Transfer_Encoding="chunked"))
        piece = b"10000\r\n" + bytes(65_536) + b"\r\n"
        for _ in range(400):
            connection.sendall(piece)

    server = raw(pour)
    download = taken(as_client(server.url), errors.BodyTooLarge, max_bytes=500_000)
    assert download.size <= 500_000 + 262_144


def test_cuts_that_leave_the_length_right(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", bytes(range(256)) * 1000)
    for keep in (0.01, 0.5, 0.99):
        double.faults.clear()
        double.faults.add(match={"route": "get"}, action=faults.cut_gzip(keep), times=None)
        with pytest.raises(errors.BodyTruncated), client.download(put.message_id) as download:
            list(download)
        assert not download.complete
    double.faults.clear()
    assert len(read_all(client, put.message_id)) == 256_000
