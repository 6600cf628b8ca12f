"""Header values: what cannot be carried is refused before anything is sent, and is never quoted."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from meshportal.mesh import MeshClient, errors
from meshportal.mesh.upload import chunk_headers, chunk_total, first_headers, header_value
from tests.double import Double

from .conftest import ONE, TWO

FIELDS = {
    "recipient": ("Mex-To", 100),
    "workflow_id": ("Mex-WorkflowID", 300),
    "subject": ("Mex-Subject", 500),
    "local_id": ("Mex-LocalID", 300),
    "file_name": ("Mex-FileName", 300),
    "checksum": ("Mex-Content-Checksum", 100),
    "content_type": ("Content-Type", 200),
}
BAD = {
    "line feed": "SECRET\nMex-To: X",
    "carriage return": "SECRET\rX",
    "both": "SECRET\r\n\r\nPOST / HTTP/1.1",
    "nul": "SECRET\x00",
    "tab": "SECRET\tX",
    "delete": "SECRET\x7f",
    "next line": "SECRET\x85X",
    "escape": "\x1b[31mSECRET",
    "blank before": " SECRET",
    "blank after": "SECRET ",
    "no-break space after": "SECRET\xa0",
    "beyond latin-1": "SECRET ☂",
    "euro": "SECRET €5",
    "line separator": "SECRET\u2028X",
    "half a pair": "SECRET\ud800",
    "only blanks": "   ",
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("field", FIELDS)
def test_bad_values(double: Double, client: MeshClient, field: str, what: str) -> None:
    given: dict[str, Any] = {"recipient": TWO, "workflow_id": "TEST_WORKFLOW", field: BAD[what]}
    with pytest.raises(errors.InvalidHeader) as caught:
        client.send(b"x", **given)
    assert caught.value.header == FIELDS[field][0]
    assert FIELDS[field][0] in str(caught.value)
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "SECRET" not in said
    assert double.recorder.records() == []


@pytest.mark.parametrize("field", FIELDS)
def test_lengths(double: Double, client: MeshClient, field: str) -> None:
    header, limit = FIELDS[field]
    assert header_value(header, "x" * limit) == b"x" * limit
    assert header_value(header, "é" * limit) == b"\xe9" * limit
    given: dict[str, Any] = {"recipient": TWO, "workflow_id": "TEST_WORKFLOW", field: "SECRET" * 100}
    with pytest.raises(errors.InvalidHeader, match=f"MESH takes {limit}") as caught:
        client.send(b"x", **given)
    assert "SECRET" not in str(caught.value)
    assert double.recorder.records() == []
    if field not in ("recipient", "content_type"):
        given[field] = "z" * limit
        client.send(b"x", **given)
        assert len(double.sent_by(ONE)) == 1


@pytest.mark.parametrize("field", ["recipient", "workflow_id"])
def test_what_is_needed(double: Double, client: MeshClient, field: str) -> None:
    given: dict[str, Any] = {"recipient": TWO, "workflow_id": "TEST_WORKFLOW", field: ""}
    with pytest.raises(errors.InvalidHeader, match="is needed"):
        client.send(b"x", **given)
    assert double.recorder.records() == []


def test_harmless_oddities_arrive(double: Double, client: MeshClient) -> None:
    for subject in ("../x", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "a: b, c; d", "x  y", "ÿ", "%0d%0a", '"'):
        receipt = client.send(b"x", recipient=TWO, workflow_id="TEST_WORKFLOW", subject=subject, file_name=subject)
        info = double.message(receipt.message_id)
        assert info is not None
        assert (info.subject, info.file_name) == (subject, subject)


def facts(**more: Any) -> dict[str, Any]:
    given = {"recipient": "T", "workflow_id": "W", "total": 1, "compress": False, "encrypted": False, "compressed": False}
    return {**given, **dict.fromkeys(("subject", "local_id", "file_name", "content_type", "checksum"), ""), **more}


def test_the_smallest_set() -> None:
    assert first_headers(**facts()) == {
        "Mex-To": b"T",
        "Mex-WorkflowID": b"W",
        "Mex-Chunk-Range": b"1:1",
        "Content-Type": b"application/octet-stream",
    }
    packed = first_headers(**facts(compress=True, total=3, content_type="text/plain", encrypted=True, compressed=True))
    assert packed["Content-Encoding"] == b"gzip"
    assert packed["Mex-Chunk-Range"] == b"1:3"
    assert packed["Content-Type"] == packed["Mex-Content-Type"] == b"text/plain"
    assert packed["Mex-Content-Encrypted"] == packed["Mex-Content-Compressed"] == b"Y"
    assert "Mex-From" not in packed and "Mex-MessageType" not in packed


def test_later_chunks() -> None:
    assert chunk_headers(2, 3, compress=False) == {
        "Mex-Chunk-Range": b"2:3",
        "Content-Type": b"application/octet-stream",
    }
    assert chunk_headers(3, 3, compress=True)["Content-Encoding"] == b"gzip"
    for number, total in ((1, 3), (0, 3), (4, 3)):
        with pytest.raises(errors.InvalidRequest):
            chunk_headers(number, total, compress=False)


@pytest.mark.parametrize(
    ("size", "chunk_size", "total"), [(0, 10, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (20, 10, 2), (21, 10, 3), (5, 1, 5)]
)
def test_totals(size: int, chunk_size: int, total: int) -> None:
    assert chunk_total(size, chunk_size) == total
