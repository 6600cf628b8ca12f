"""Request bodies that can be sent again, with their length known beforehand, at bounded memory.

The real service's support for ``Transfer-Encoding: chunked`` is not documented, so every body says its length. An
uncompressed chunk streams from its source. A compressed one is held in memory compressed, because its length is known
only at its end and nothing of a payload may lie on a disk in the clear: at most one chunk at a time, under 100 MB.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol

from meshportal.mesh.errors import InvalidRequest

# MESH API specification, Send message: less than 100 MB per request, compressed or not.
MAX_REQUEST = 100_000_000
_BLOCK = 256 * 1024

Payload = bytes | BinaryIO | Callable[[], Iterable[bytes]]
"""What to send: bytes, a seekable binary file read from where it stands, or a function that opens the bytes anew."""


class Body(Protocol):
    """A body of ``size`` bytes; every call of ``blocks`` gives them from the start."""

    @property
    def size(self) -> int: ...

    def blocks(self) -> Iterator[bytes]: ...


class Source(Protocol):
    """The whole payload. ``blocks`` gives less than asked when it ends early; ``has_more`` says if it goes on."""

    size: int

    def blocks(self, offset: int, length: int) -> Iterator[bytes]: ...

    def has_more(self) -> bool: ...


class _BytesSource:
    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)
        self.size = len(data)

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        for start in range(offset, min(offset + length, self.size), _BLOCK):
            yield bytes(self._view[start : min(start + _BLOCK, offset + length)])

    def has_more(self) -> bool:
        return False


class _FileSource:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self._start = file.tell()
            self.size = file.seek(0, os.SEEK_END) - self._start
        except (OSError, AttributeError) as error:
            raise InvalidRequest("The file to send must be seekable: a chunk may have to be sent again.") from error

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        self._file.seek(self._start + offset)
        while length:
            block = self._file.read(min(length, _BLOCK))
            if not block:
                return
            length -= len(block)
            yield block

    def has_more(self) -> bool:
        return False


class _ReopenedSource:
    """Reads on where the last chunk ended; opens anew only when a chunk is sent again."""

    def __init__(self, opener: Callable[[], Iterable[bytes]], size: int) -> None:
        self._opener = opener
        self.size = size
        self._parts: Iterator[bytes] | None = None
        self._rest = memoryview(b"")
        self._at = 0

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        if self._parts is None or offset < self._at:
            self._parts, self._rest, self._at = iter(self._opener()), memoryview(b""), 0
        while self._at < offset:
            if not self._take(offset - self._at):
                return
        while length:
            block = self._take(min(length, _BLOCK))
            if not block:
                return
            length -= len(block)
            yield block

    def has_more(self) -> bool:
        return self._fill()

    def _fill(self) -> bool:
        while not len(self._rest) and self._parts is not None:
            part = next(self._parts, None)
            if part is None:
                return False
            self._rest = memoryview(part)
        return bool(len(self._rest))

    def _take(self, most: int) -> bytes:
        if not self._fill():
            return b""
        taken = bytes(self._rest[:most])
        self._rest = self._rest[most:]
        self._at += len(taken)
        return taken


def source_of(payload: Payload, size: int | None) -> Source:
    """The source of ``payload``. ``size`` in bytes is needed for a function, and must be right where it is given."""
    source: Source
    if isinstance(payload, bytes | bytearray | memoryview):
        source = _BytesSource(bytes(payload))
    elif hasattr(payload, "read"):
        source = _FileSource(payload)  # type: ignore[arg-type]
    elif callable(payload):
        if size is None or size < 0:
            raise InvalidRequest("The size of the payload must be given with a function that opens it.")
        return _ReopenedSource(payload, size)
    else:
        raise InvalidRequest("The payload must be bytes, a binary file, or a function that opens it.")
    if size is not None and size != source.size:
        raise InvalidRequest(f"The payload holds {source.size} bytes, not {size}.")
    return source


class PlainBody:
    """``size`` bytes of a source from ``offset``, streamed. Raises InvalidRequest when the source is shorter, or longer
    than its own size: before its last block, so that the server never has the whole of a request that is wrong."""

    def __init__(self, source: Source, offset: int, size: int) -> None:
        self._source = source
        self._offset = offset
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def blocks(self) -> Iterator[bytes]:
        sent = 0
        for block in self._source.blocks(self._offset, self._size):
            sent += len(block)
            if sent == self._size:
                self._check_end()
            yield block
        if not self._size:
            self._check_end()
        if sent != self._size:
            raise InvalidRequest(f"The payload ended after {self._offset + sent} of {self._source.size} bytes.")

    def _check_end(self) -> None:
        if self._offset + self._size == self._source.size and self._source.has_more():
            raise InvalidRequest(f"The payload goes on after the {self._source.size} bytes that were announced.")


class GzipBody:
    """A body compressed in memory. Raises InvalidRequest as PlainBody, or when it is too large for one request."""

    def __init__(self, body: Body) -> None:
        press = zlib.compressobj(wbits=31)
        self._parts: list[bytes] = []
        self._size = 0
        for block in body.blocks():
            self._add(press.compress(block))
        self._add(press.flush())

    def _add(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._size += len(part)
        if self._size >= MAX_REQUEST:
            raise InvalidRequest("A chunk is 100 MB or more even when compressed; choose a smaller chunk size.")

    @property
    def size(self) -> int:
        return self._size

    def blocks(self) -> Iterator[bytes]:
        yield from self._parts
