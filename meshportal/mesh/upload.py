"""How a message is split and what its headers say (MESH API specification, Send message and Send chunked message)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from meshportal.mesh.body import MAX_REQUEST, Body, GzipBody, PlainBody, Source
from meshportal.mesh.errors import InvalidHeader, InvalidRequest

# Fits every limit that was ever documented (20 MB over the internet until October 2024), and is above the 5 MB that
# some receivers need of every chunk but the last.
DEFAULT_CHUNK_SIZE = 20_000_000

# MESH API specification, Send message; the same lengths in the sandbox.
_LIMITS: Mapping[str, int] = {
    "Mex-To": 100,
    "Mex-WorkflowID": 300,
    "Mex-Chunk-Range": 20,
    "Mex-Subject": 500,
    "Mex-LocalID": 300,
    "Mex-FileName": 300,
    "Mex-Content-Checksum": 100,
    "Mex-Content-Type": 100,
    "Mex-Content-Encrypted": 20,
    "Mex-Content-Compressed": 20,
    "Content-Type": 200,
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def header_value(name: str, value: str) -> bytes:
    """``value`` as it goes over the wire. Raises InvalidHeader, which names the header and never quotes the value."""
    found = _CONTROL.search(value)
    if found:
        raise InvalidHeader(
            f"{name} holds a control character (such as a line break or a tab) at position {found.start() + 1}.",
            header=name,
        )
    try:
        encoded = value.encode("latin-1")
    except UnicodeEncodeError as error:
        said = f"{name} holds a character at position {error.start + 1} that MESH headers cannot carry."
        raise InvalidHeader(said, header=name) from None
    if value != value.strip():
        raise InvalidHeader(f"{name} begins or ends with a space.", header=name)
    limit = _LIMITS.get(name, 300)
    if len(value) > limit:
        raise InvalidHeader(f"{name} is {len(value)} characters long; MESH takes {limit}.", header=name)
    return encoded


def first_headers(
    *,
    recipient: str,
    workflow_id: str,
    total: int,
    compress: bool,
    subject: str,
    local_id: str,
    file_name: str,
    content_type: str,
    checksum: str,
    encrypted: bool,
    compressed: bool,
) -> dict[str, bytes]:
    """The headers of the first request of a message. Raises InvalidHeader."""
    for name, value in (("Mex-To", recipient), ("Mex-WorkflowID", workflow_id)):
        if not value:
            raise InvalidHeader(f"{name} is needed.", header=name)
    values = {
        "Mex-To": recipient,
        "Mex-WorkflowID": workflow_id,
        "Mex-Chunk-Range": f"1:{total}",
        "Mex-Subject": subject,
        "Mex-LocalID": local_id,
        "Mex-FileName": file_name,
        "Mex-Content-Checksum": checksum,
        "Mex-Content-Encrypted": "Y" if encrypted else "",
        "Mex-Content-Compressed": "Y" if compressed else "",
        # Chunked messages lose their Content-Type on the way (sandbox); this one is passed on.
        "Mex-Content-Type": content_type if total > 1 else "",
        "Content-Type": content_type or "application/octet-stream",
    }
    headers = {name: header_value(name, value) for name, value in values.items() if value}
    if compress:
        headers["Content-Encoding"] = b"gzip"
    return headers


def chunk_headers(number: int, total: int, *, compress: bool) -> dict[str, bytes]:
    """The headers of chunk ``number``, from 2 (MESH API specification, Send chunked message)."""
    if not 2 <= number <= total:
        raise InvalidRequest(f"Chunk {number} of {total} is no later chunk.")
    headers = {"Mex-Chunk-Range": f"{number}:{total}".encode(), "Content-Type": b"application/octet-stream"}
    if compress:
        headers["Content-Encoding"] = b"gzip"
    return headers


def chunk_total(size: int, chunk_size: int) -> int:
    """How many chunks ``size`` bytes make. Raises InvalidRequest for a chunk size that MESH does not take."""
    if not 1 <= chunk_size < MAX_REQUEST:
        raise InvalidRequest("The chunk size must be at least 1 byte and less than 100 MB.")
    return max(1, -(-size // chunk_size))


def chunk_body(source: Source, number: int, chunk_size: int, *, compress: bool) -> Body:
    """The body of chunk ``number``, from 1. Every chunk is compressed by itself, as the specification demands."""
    offset = (number - 1) * chunk_size
    body = PlainBody(source, offset, max(0, min(chunk_size, source.size - offset)))
    return GzipBody(body) if compress else body


def single_body(source: Source, *, compress: bool) -> Body:
    """All of ``source`` as one request. Raises InvalidRequest when it is too large for one."""
    if not compress and source.size >= MAX_REQUEST:
        raise InvalidRequest("A chunk must be less than 100 MB.")
    body = PlainBody(source, 0, source.size)
    return GzipBody(body) if compress else body
