"""Receiving: every whole message arrives byte for byte, at bounded memory, with its headers."""

from __future__ import annotations

import gzip
import hashlib
import random
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshportal.mesh import MeshClient, errors
from tests.double import Double, Synthetic, faults

from .conftest import AsClient, Raw, nonces, read_all
from .raw import answer, message

MB = 1_000_000
BODY = random.Random(5).randbytes(700_000) + b"the same words " * 20_000


@pytest.mark.parametrize("chunks", [1, 2, 3, 7])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("repacked", [False, True], ids=["as stored", "gzip on the way"])
def test_chunked_and_compressed(double: Double, client: MeshClient, chunks: int, packed: bool, repacked: bool) -> None:
    double.configure(compress_downloads=repacked)
    put = double.put("X26ABC1", BODY, chunks=chunks, gzip=packed)
    assert read_all(client, put.message_id) == BODY
    assert [record.route for record in double.recorder.gets("X26ABC1")] == ["get", *["get_chunk"] * (chunks - 1)]
    assert len(set(nonces(double, ("get", "get_chunk")))) == chunks
    assert double.message(put.message_id).acknowledgements == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [1, 2, 255, 65_535, 65_536, 65_537, 262_144, 262_145])
def test_sizes(double: Double, client: MeshClient, size: int) -> None:
    for packed in (False, True):
        body = random.Random(size).randbytes(size)
        assert read_all(client, double.put("X26ABC1", body, gzip=packed).message_id) == body


def test_chunks_of_two_encodings(raw: Raw, as_client: AsClient) -> None:
    """Each chunk says for itself how it is encoded."""
    server = raw(
        message(b"plain ", chunk="1:4", status=206),
        message(gzip.compress(b"packed "), chunk="2:4", status=206, Content_Encoding="gzip"),
        message(gzip.compress(b"packed too "), chunk="3:4", status=206, Content_Encoding="X-GZIP"),
        message(b"plain", chunk="4:4", Content_Encoding="identity"),
    )
    assert read_all(as_client(server.url), "M1") == b"plain packed packed too plain"


@pytest.mark.parametrize("members", [2, 3, 50])
def test_gzip_of_several_members(raw: Raw, as_client: AsClient, members: int) -> None:
    parts = [b"member %d " % number * 1000 for number in range(members)]
    packed = b"".join(gzip.compress(part) for part in parts)
    server = raw(message(packed, Content_Encoding="gzip"))
    assert read_all(as_client(server.url), "M1") == b"".join(parts)


def test_empty_members_and_an_empty_payload(raw: Raw, as_client: AsClient) -> None:
    nothing = gzip.compress(b"")
    server = raw(
        message(nothing, Content_Encoding="gzip"), message(nothing + gzip.compress(b"x") + nothing, Content_Encoding="gzip")
    )
    client = as_client(server.url)
    assert read_all(client, "M1") == b""
    assert read_all(client, "M1") == b"x"


def test_a_gz_file_is_payload(double: Double, client: MeshClient) -> None:
    """Only Content-Encoding says what the transfer did; Mex-Content-Compressed is the sender's word on the payload."""
    for repacked in (False, True):
        double.configure(compress_downloads=repacked)
        packed = gzip.compress(b"an archive")
        put = double.put("X26ABC1", packed, headers={"mex-content-compressed": "Y"})
        assert read_all(client, put.message_id) == packed


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("length", [-1, None], ids=["length", "no length"])
def test_a_report_without_a_body(raw: Raw, as_client: AsClient, encoding: str, length: int | None) -> None:
    server = raw(message(chunk="1:0", length=length, Content_Encoding=encoding, Mex_MessageType="REPORT"))
    with as_client(server.url).download("M1") as download:
        assert download.headers.is_report
        assert (download.headers.chunk_number, download.headers.chunk_total) == (1, 0)
        assert not download.complete
        assert list(download) == []
        assert download.complete
    assert len(server.requests) == 1


def test_a_report_of_the_double(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", report={"code": "14", "linked_message_id": "L1", "description": "not collected"})
    with client.download(put.message_id) as download:
        assert list(download) == []
        assert download.complete
    headers = download.headers
    assert (headers.status_code, headers.status_event, headers.status_description) == ("14", "SEND", "not collected")
    assert (headers.linked_message_id, headers.status_success, headers.sender) == ("L1", "ERROR", "")
    assert client.head(put.message_id).is_report


def test_the_headers(double: Double, client: MeshClient) -> None:
    put = double.put(
        "X26ABC1",
        b"body",
        sender="X26ABC2",
        workflow_id="W1",
        subject="Röntgen".encode(),
        local_id=b"caf\xe9",
        file_name="a; b.pdf",
        content_type="text/plain",
        checksum="md5 abc",
        headers={"mex-content-encrypted": "TRUE", "mex-from-ods": "X27", "mex-partnerid": "P", "x-new": "kept"},
    )
    with client.download(put.message_id) as download:
        headers = download.headers
        list(download)
    assert (headers.message_id, headers.sender, headers.recipient) == (put.message_id, "X26ABC2", "X26ABC1")
    assert (headers.workflow_id, headers.message_type, headers.is_report) == ("W1", "DATA", False)
    assert (headers.subject, headers.local_id, headers.file_name) == ("Röntgen", "café", "a; b.pdf")
    assert (headers.content_type, headers.checksum, headers.content_encrypted) == ("text/plain", "md5 abc", True)
    assert (headers.from_ods, headers.partner_id, headers.version) == ("X27", "P", "1.0")
    assert (headers.status_code, headers.status_success, headers.address_type) == ("00", "SUCCESS", "ALL")
    assert headers.raw["x-new"] == "kept"
    stamp = headers.status_timestamp
    assert stamp is not None and abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)
    seen = client.head(put.message_id)
    assert (seen.subject, seen.local_id, seen.chunk_total) == (headers.subject, headers.local_id, 1)


def test_head_of_a_chunked_message(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", b"abcdef", chunks=3)
    headers = client.head(put.message_id)
    assert (headers.chunk_number, headers.chunk_total) == (1, 3)
    assert double.message(put.message_id).downloads == 0  # type: ignore[union-attr]


def test_head_of_a_page_is_no_message(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(200, b"", {"Content-Type": "text/html"}, length=500))
    with pytest.raises(errors.UnexpectedAnswer):
        as_client(server.url).head("M1")


def test_a_missing_range_is_one_of_one(raw: Raw, as_client: AsClient) -> None:
    server = raw(message(b"whole", chunk=None), message(b"whole", chunk=None, Mex_Total_Chunks="1"))
    client = as_client(server.url)
    assert read_all(client, "M1") == b"whole"
    assert read_all(client, "M1") == b"whole"


def test_totals_without_ranges(raw: Raw, as_client: AsClient) -> None:
    total: dict[str, Any] = {"Mex_Total_Chunks": "2"}
    server = raw(message(b"one ", chunk=None, status=206, **total), message(b"two", chunk=None, **total))
    assert read_all(as_client(server.url), "M1") == b"one two"


def test_a_download_is_used_once_inside_its_block(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", Synthetic(MB))
    download = client.download(put.message_id)
    assert "0 bytes" in repr(download)
    with pytest.raises(RuntimeError):
        iter(download)
    with pytest.raises(RuntimeError):
        _ = download.headers
    with download:
        assert download.headers.message_id == put.message_id
        list(download)
        with pytest.raises(RuntimeError):
            iter(download)
    with pytest.raises(RuntimeError):
        iter(download)
    assert repr(download).endswith("1000000 bytes complete>")


def test_leaving_early_is_not_complete(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", Synthetic(4 * MB), chunks=2)
    with client.download(put.message_id) as download:
        parts = iter(download)
        next(parts)
    assert not download.complete
    with pytest.raises((errors.MeshError, RuntimeError)):
        list(parts)
    assert not download.complete
    assert client.inbox_page().message_ids == (put.message_id,)
    assert read_all(client, put.message_id) == b"".join(Synthetic(4 * MB).blocks())


def test_acknowledged_messages_are_gone(double: Double, client: MeshClient) -> None:
    put = double.put("X26ABC1", b"x")
    client.acknowledge(put.message_id)
    with pytest.raises(errors.Gone), client.download(put.message_id):
        pass
    double.configure(after_acknowledge=404)
    with pytest.raises(errors.NotFound) as caught, client.download(put.message_id):
        pass
    assert (caught.value.code, caught.value.message_id) == ("20", put.message_id)


@pytest.mark.parametrize("options", [{}, {"gzip": True}], ids=["plain", "gzip"])
def test_memory_does_not_grow_with_the_message(double: Double, client: MeshClient, options: dict[str, Any]) -> None:
    """200 MB, made while they are sent, in chunks of 100 MB; as gzip a fifth of it, which is slower to make."""
    body = Synthetic((40 if options else 200) * MB, pattern="zeros" if options else "random")
    put = double.put("X26ABC1", body, chunks=2, **options)
    digest, largest = hashlib.sha256(), 0
    tracemalloc.start()
    try:
        with client.download(put.message_id) as download:
            for block in download:
                digest.update(block)
                largest = max(largest, len(block))
            assert download.complete
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digest.hexdigest() == put.sha256
    assert largest <= 300_000
    assert peak < 6 * MB


@pytest.mark.faults
@pytest.mark.parametrize("route", ["get", "get_chunk"])
def test_a_cut_before_the_first_byte_is_mended(double: Double, client: MeshClient, waits: list[float], route: str) -> None:
    double.configure(compress_downloads=False)
    put = double.put("X26ABC1", BODY, chunks=2)
    rule = double.faults.add(match={"route": route}, action=faults.truncate(0))
    assert read_all(client, put.message_id) == BODY
    assert double.faults.fired(rule) == 1
    assert waits == [0.375]
