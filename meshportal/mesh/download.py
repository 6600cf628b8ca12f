"""Receiving a message so that a body that is not whole cannot be taken for one.

MESH API specification, Get Message and Get Message chunk: 206 while more chunks follow, 200 for the last; every chunk is
compressed by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

from meshportal.mesh import errors
from meshportal.mesh.connection import Answer
from meshportal.mesh.inflate import Inflater
from meshportal.mesh.parse import parse_chunk_range
from meshportal.mesh.retry import Attempts, RetryPolicy
from meshportal.mesh.wire import MessageHeaders

# MESH API specification, Get Message; these are the headers that never lack together.
_MARKS = ("mex-messageid", "mex-to", "mex-workflowid", "mex-messagetype")


def is_message(headers: MessageHeaders) -> bool:
    """Whether an answer is a message at all, rather than a page of something on the way."""
    return any(headers.raw.get(name) for name in _MARKS)


class Download:
    """One message on its way in::

        with client.download(message_id, max_bytes=...) as download:
            for block in download:
                write(block)
        assert download.complete

    ``headers`` are those of the first chunk. Iterating gives the decoded bytes of all chunks in order, in blocks of at
    most a few hundred kilobytes; it can be done once. ``complete`` turns true only after every chunk's length, range,
    status and gzip end were verified. ``size`` is the number of decoded bytes so far.

    Entering and iterating raise BodyError's children, ConnectionFailed, ConnectionLost and ResponseError's children. A
    chunk that fails before a byte of it was handed out is asked for again, with a new token, as the retry policy allows.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], Answer],
        message_id: str,
        *,
        policy: RetryPolicy,
        max_bytes: int | None,
    ) -> None:
        self._fetch = fetch
        self._message_id = message_id
        self._policy = policy
        self._max_bytes = max_bytes
        self._headers: MessageHeaders | None = None
        self._answer: Answer | None = None
        self._started = False
        self.size = 0
        self.complete = False

    @property
    def headers(self) -> MessageHeaders:
        """The headers of the first chunk, once entered."""
        if self._headers is None:
            raise RuntimeError("a download's headers are known inside its with block")
        return self._headers

    def __enter__(self) -> Download:
        self._attempts = Attempts(self._policy)
        self._answer = self._open(1, self._attempts)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def __iter__(self) -> Iterator[bytes]:
        if self._answer is None or self._started:
            raise RuntimeError("a download is read once, inside its with block")
        self._started = True
        return self._all()

    def _all(self) -> Iterator[bytes]:
        for number in range(1, max(self.headers.chunk_total, 1) + 1):
            attempts = self._attempts if number == 1 else Attempts(self._policy)
            if self._answer is None:
                self._answer = self._open(number, attempts)
            while True:
                before = self.size
                try:
                    yield from self._chunk(self._answer)
                    break
                except errors.MeshError as error:
                    self._close()
                    error.message_id = error.message_id or self._message_id
                    if self.size != before:
                        raise
                    attempts.wait_or_raise(error)
                    self._answer = self._open(number, attempts)
            self._close()
        self.complete = True

    def _open(self, number: int, attempts: Attempts) -> Answer:
        while True:
            answer = None
            try:
                answer = self._fetch(number, attempts.number)
                self._check(answer, number)
                return answer
            except errors.MeshError as error:
                if answer is not None:
                    answer.close()
                error.message_id = error.message_id or self._message_id
                attempts.wait_or_raise(error)

    def _check(self, answer: Answer, number: int) -> None:
        headers = MessageHeaders.parse(answer.headers)
        if number == 1 and not is_message(headers):
            raise errors.UnexpectedAnswer("The answer carries no MESH headers, so it is no message.", status=answer.status)
        if headers.message_id and headers.message_id.upper() != self._message_id.upper():
            raise errors.ChunkMismatch("The answer is another message than the one asked for.")
        said = answer.headers.get("mex-chunk-range", "")
        if said and parse_chunk_range(said) is None:
            raise errors.ChunkMismatch("The chunk range of the answer cannot be read.")
        # Without a range it can only be a whole message, which is what chunk 1 of 1 is.
        total = headers.chunk_total
        if headers.chunk_number != number and not (said == "" and total >= number > 1):
            raise errors.ChunkMismatch(f"Chunk {number} was asked for and chunk {headers.chunk_number} came.")
        if self._headers is not None and total != self._headers.chunk_total:
            raise errors.ChunkMismatch(f"The message had {self._headers.chunk_total} chunks and now has {total}.")
        expected = 206 if number < total else 200
        if answer.status != expected:
            raise errors.ChunkMismatch(f"Chunk {number} of {total} came with status {answer.status}, not {expected}.")
        if self._headers is None:
            self._headers = headers

    def _chunk(self, answer: Answer) -> Iterator[bytes]:
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            return self._inflated(answer)
        if encoding in ("", "identity"):
            return self._plain(answer)
        raise errors.BodyCorrupt("The body is in an encoding that was not asked for.")

    def _parts(self, answer: Answer) -> Iterator[bytes]:
        """The body as transferred. One cut to nothing, or between two members of gzip, must not pass for a whole one."""
        parts = answer.blocks()
        if not answer.framed and (self.headers.chunk_total > 0 or next(parts, b"")):
            raise errors.BodyTruncated("The server gave neither a length nor a mark for the end of the body.")
        yield from parts

    def _plain(self, answer: Answer) -> Iterator[bytes]:
        length = answer.headers.get("content-length", "")
        if self._max_bytes is not None and length.isdecimal() and self.size + int(length[:18]) > self._max_bytes:
            raise errors.BodyTooLarge(f"The message is larger than the {self._max_bytes} bytes that are allowed.")
        for block in self._parts(answer):
            yield self._count(block)

    def _inflated(self, answer: Answer) -> Iterator[bytes]:
        limit = None if self._max_bytes is None else self._max_bytes - self.size
        inflater = Inflater(limit=limit)
        for part in self._parts(answer):
            for block in inflater.feed(part):
                yield self._count(block)
        # A report has no body, and some servers still call that nothing gzip.
        if answer.received or self.headers.chunk_total > 0:
            for block in inflater.finish():
                yield self._count(block)

    def _count(self, block: bytes) -> bytes:
        self.size += len(block)
        if self._max_bytes is not None and self.size > self._max_bytes:
            raise errors.BodyTooLarge(f"The message is larger than the {self._max_bytes} bytes that are allowed.")
        return block

    def __repr__(self) -> str:
        return f"<Download {self._message_id!r} {self.size} bytes{' complete' if self.complete else ''}>"
