"""Sending: sizes, chunks, compression, payloads of every kind, resuming, and payloads that lie about their size."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from meshportal.mesh import MeshClient, SendReceipt, errors
from meshportal.mesh.body import MAX_REQUEST
from tests.double import Double, faults

from .conftest import ONE, TWO, blocks_of, nonces

CHUNK = 300_000
DATA = random.Random(3).randbytes(CHUNK) + b"repeated words " * 50_000


def send(client: MeshClient, payload: Any, **options: Any) -> SendReceipt:
    return client.send(payload, recipient=TWO, workflow_id="TEST_WORKFLOW", **options)


def as_bytes(data: bytes, _folder: Path) -> tuple[Any, dict[str, Any]]:
    return data, {}


def as_view(data: bytes, _folder: Path) -> tuple[Any, dict[str, Any]]:
    return memoryview(bytearray(data)), {"size": len(data)}


def as_file(data: bytes, folder: Path) -> tuple[Any, dict[str, Any]]:
    path = folder / "payload"
    path.write_bytes(b"before" + data)
    file: BinaryIO = path.open("rb")
    file.seek(6)  # a file is read from where it stands
    return file, {}


def as_function(data: bytes, _folder: Path) -> tuple[Any, dict[str, Any]]:
    return blocks_of(data, 70_001), {"size": len(data)}


def as_function_with_gaps(data: bytes, _folder: Path) -> tuple[Any, dict[str, Any]]:
    def opener() -> Iterator[bytes]:
        yield b""
        for start in range(0, len(data), 999_999):
            yield data[start : start + 999_999]
            yield b""

    return opener, {"size": len(data)}


KINDS: list[Callable[[bytes, Path], tuple[Any, dict[str, Any]]]] = [
    *(as_bytes, as_view, as_file, as_function, as_function_with_gaps),
]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("size", "total"), [(1, 1), (CHUNK - 1, 1), (CHUNK, 1), (CHUNK + 1, 2), (2 * CHUNK, 2), (2 * CHUNK + 1, 3), (3 * CHUNK, 3)]
)
def test_sizes_and_kinds(
    double: Double, client: MeshClient, tmp_path: Path, size: int, total: int, kind: Any, compress: bool
) -> None:
    payload, options = kind(DATA[:size], tmp_path)
    accepted: list[str] = []
    later: list[int] = []
    receipt = send(
        client, payload, chunk_size=CHUNK, compress=compress, on_accepted=accepted.append, on_chunk=later.append, **options
    )
    if hasattr(payload, "close"):
        payload.close()
    assert double.content(receipt.message_id) == DATA[:size]
    info = double.sent_by(ONE)[0]
    assert (info.status, info.total_chunks, info.gzip) == ("accepted", total, compress)
    assert accepted == [receipt.message_id]
    assert later == list(range(2, total + 1))
    assert (receipt.size, receipt.chunk_total) == (size, total)
    wire = [record.bytes_in for record in double.recorder.records(route=("send", "send_chunk"))]
    assert receipt.sent_size == sum(wire)
    assert not compress or size < 2 * CHUNK or receipt.sent_size < size
    assert len(set(nonces(double, ("send", "send_chunk")))) == total


def test_every_chunk_is_compressed_by_itself(double: Double, client: MeshClient) -> None:
    receipt = send(client, DATA, chunk_size=CHUNK, compress=True)
    with double.state.lock:
        chunks = double.state.messages[receipt.message_id].chunks
    parts = [gzip.decompress(b"".join(chunks[number].blocks())) for number in sorted(chunks)]
    assert parts == [DATA[start : start + CHUNK] for start in range(0, len(DATA), CHUNK)]


@pytest.mark.parametrize(("payload", "options"), [(b"", {}), (io.BytesIO(), {}), (list, {"size": 0})])
def test_nothing_is_refused_by_the_service(double: Double, client: MeshClient, payload: Any, options: dict[str, Any]) -> None:
    with pytest.raises(errors.Refused) as caught:
        send(client, payload, **options)
    assert (caught.value.status, caught.value.code, caught.value.event) == (417, "02", "COLLECT")
    assert double.sent_by(ONE) == []


def test_the_headers_arrive(double: Double, client: MeshClient) -> None:
    facts = {
        "subject": "Réponse à la 1re question",
        "local_id": "our-1",
        "file_name": "été.pdf",
        "content_type": "application/pdf",
        "checksum": "b10a8db1",
    }
    receipt = send(client, b"x" * 10, chunk_size=4, encrypted=True, compressed=True, **facts)
    with double.state.lock:
        message = double.state.messages[receipt.message_id]
        assert (message.text("mex-subject"), message.text("mex-localid")) == (facts["subject"], "our-1")
        assert (message.text("mex-filename"), message.text("mex-content-checksum")) == ("été.pdf", "b10a8db1")
        assert (message.text("mex-content-encrypted"), message.text("mex-content-compressed")) == ("Y", "Y")
        assert (message.content_type, message.text("mex-content-type")) == ("application/pdf", "application/pdf")
        assert (message.recipient, message.workflow_id) == (TWO, "TEST_WORKFLOW")
    first = double.recorder.records(route="send")[0]
    assert first.path == "/messageexchange/X26ABC1/outbox"


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("chunk_size", [CHUNK, 10 * CHUNK], ids=["chunks", "one"])
@pytest.mark.parametrize("off", [-300_001, -1, 1, 300_001])
def test_a_payload_of_another_size_than_announced(
    double: Double, client: MeshClient, waits: list[float], off: int, chunk_size: int, compress: bool
) -> None:
    """No recipient ever sees it: the last byte of what was announced never leaves."""
    accepted: list[str] = []
    with pytest.raises(errors.InvalidRequest) as caught:
        send(
            client,
            blocks_of(DATA[: 900_000 + off], 50_000),
            size=900_000,
            chunk_size=chunk_size,
            compress=compress,
            on_accepted=accepted.append,
        )
    assert [info.status for info in double.sent_by(ONE)] == ["uploading"] * len(accepted)
    assert double.inbox(TWO) == []
    assert waits == []
    assert len(accepted) == int(chunk_size == CHUNK)
    assert caught.value.message_id == "".join(accepted)


@pytest.mark.parametrize("compress", [False, True])
def test_a_payload_announced_as_nothing(double: Double, client: MeshClient, compress: bool) -> None:
    with pytest.raises(errors.InvalidRequest):
        send(client, lambda: [b"something"], size=0, compress=compress)
    assert double.sent_by(ONE) == []


def test_a_file_that_shrinks_meanwhile(double: Double, client: MeshClient, tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_bytes(DATA[: 2 * CHUNK])
    with path.open("r+b") as file, pytest.raises(errors.InvalidRequest):
        send(client, file, chunk_size=CHUNK, on_accepted=lambda _: file.truncate(CHUNK + 5) and None)
    assert double.inbox(TWO) == []


def test_a_source_that_fails(double: Double, client: MeshClient) -> None:
    def opener() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        send(client, opener, size=200_000)
    assert double.sent_by(ONE) == []
    assert send(client, b"the connection is fine").size == 22


@pytest.mark.parametrize(
    ("payload", "options"),
    [
        (b"abc", {"size": 4}),
        (lambda: [b"abc"], {}),
        (lambda: [b"abc"], {"size": -1}),
        ("text", {}),
        (None, {}),
        (b"abc", {"chunk_size": 0}),
        (b"abc", {"chunk_size": -5}),
        (b"abc", {"chunk_size": MAX_REQUEST}),
    ],
)
def test_what_cannot_be_sent(double: Double, client: MeshClient, payload: Any, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequest):
        send(client, payload, **options)
    assert double.recorder.records() == []


def test_a_file_that_cannot_be_sought(client: MeshClient) -> None:
    class Pipe(io.RawIOBase):
        def seekable(self) -> bool:
            return False

        def readable(self) -> bool:
            return True

    with pytest.raises(errors.InvalidRequest, match="seekable"):
        send(client, Pipe())


def test_one_request_is_below_100_mb(double: Double, client: MeshClient) -> None:
    block = bytes(1_000_000)
    with pytest.raises(errors.InvalidRequest, match="chunk size"):
        send(client, lambda: (block for _ in range(100)), size=MAX_REQUEST, chunk_size=MAX_REQUEST)
    noise = random.Random(1).randbytes(1_000_000)
    pressed: list[int] = []

    class Press:
        """Stands for zlib: it makes nothing smaller."""

        def compress(self, data: bytes) -> bytes:
            pressed.append(len(data))
            return data * 40

        def flush(self) -> bytes:
            return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meshportal.mesh.body.zlib.compressobj", lambda **_: Press())
        with pytest.raises(errors.InvalidRequest, match="100 MB or more even when compressed"):
            send(client, lambda: (noise for _ in range(50)), size=50_000_000, chunk_size=50_000_000, compress=True)
    assert sum(pressed) < 5_000_000
    assert double.recorder.records() == []


def test_memory_does_not_grow_with_the_message(double: Double, client: MeshClient) -> None:
    block = random.Random(1).randbytes(1_000_000)
    tracemalloc.start()
    try:
        receipt = send(client, lambda: (block for _ in range(60)), size=60_000_000, chunk_size=20_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert double.content_digest(receipt.message_id)
    assert peak < 8_000_000


@pytest.mark.faults
def test_the_service_refuses(double: Double, client: MeshClient) -> None:
    with pytest.raises(errors.Refused) as caught:
        client.send(b"x", recipient="NOBODY", workflow_id="TEST_WORKFLOW")
    assert (caught.value.status, caught.value.code) == (417, "12")
    double.configure(enforce_workflows=True)
    with pytest.raises(errors.Refused) as caught:
        client.send(b"x", recipient=TWO, workflow_id="UNKNOWN")
    assert caught.value.code == "17"
    with pytest.raises(errors.BadRequest) as refused:
        client.send(b"x", recipient="https://elsewhere", workflow_id="TEST_WORKFLOW")
    assert refused.value.code == "06"
    double.faults.add(match={"route": "send"}, action=faults.status(417, error_code="19", message="no chunks"))
    with pytest.raises(errors.Refused):
        send(client, DATA, chunk_size=CHUNK)
    assert double.sent_by(ONE) == []


def test_what_on_accepted_raises_stops_the_upload(double: Double, client: MeshClient) -> None:
    def fail(_message_id: str) -> None:
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError):
        send(client, DATA, chunk_size=CHUNK, on_accepted=fail)
    assert [info.status for info in double.sent_by(ONE)] == ["uploading"]
    assert double.recorder.records(route="send_chunk") == []
