"""gzip, read so that nothing is lost silently.

httpx and requests return what they have when a gzip body is cut short, and only the first member of several (measured).
This one reads every member, demands the end of the last, and stops at a limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from meshportal.mesh.errors import BodyCorrupt, BodyTooLarge, BodyTruncated

BLOCK = 256 * 1024
# Small, because every member's unread rest is copied: many tiny members would otherwise cost quadratic time.
_SLICE = 16 * 1024
_GZIP_ONLY = 31


class Inflater:
    """Expands one gzip body. ``limit`` is the most bytes it may expand to; None for no limit."""

    def __init__(self, *, limit: int | None = None) -> None:
        self._limit = limit
        self._member = zlib.decompressobj(_GZIP_ONLY)
        self._in_member = False
        self._ended = False
        self.size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The expanded bytes of the next piece of the body, in blocks of at most 256 KiB.

        Raises BodyCorrupt when it is no gzip and BodyTooLarge beyond the limit.
        """
        view = memoryview(data)
        for start in range(0, len(view), _SLICE):
            yield from self._expand(view[start : start + _SLICE])

    def _expand(self, rest: bytes | memoryview) -> Iterator[bytes]:
        while len(rest):
            if not self._in_member:
                self._member = zlib.decompressobj(_GZIP_ONLY)
                self._in_member, self._ended = True, False
            try:
                block = self._member.decompress(rest, BLOCK)
            except zlib.error as error:
                raise BodyCorrupt("The body says that it is gzip, but it cannot be read as gzip.") from error
            if self._member.eof:
                self._in_member, self._ended = False, True
                rest = self._member.unused_data
            else:
                rest = self._member.unconsumed_tail
            if block:
                self._count(len(block))
                yield block

    def finish(self) -> Iterator[bytes]:
        """What is still to come after the last piece. Raises BodyTruncated unless the last member has ended."""
        # The last bytes of a block that filled up exactly can still be inside zlib.
        while self._in_member:
            try:
                block = self._member.decompress(b"", BLOCK)
            except zlib.error as error:
                raise BodyCorrupt("The body says that it is gzip, but it cannot be read as gzip.") from error
            if self._member.eof:
                self._in_member, self._ended = False, True
            elif not block:
                break
            if block:
                self._count(len(block))
                yield block
        if not self._ended:
            raise BodyTruncated("The gzip body ended before its end.")

    def _count(self, length: int) -> None:
        self.size += length
        if self._limit is not None and self.size > self._limit:
            raise BodyTooLarge(f"The body expands to more than the {self._limit} bytes that are allowed.")
