"""Message bodies that the double holds: in memory, on disk, or made while they are sent."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal, Protocol

BLOCK = 1 << 20
GZIP = 31


class Body(Protocol):
    """Bytes of a known length, readable any number of times."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks of at most 1 MiB."""


@dataclass(frozen=True)
class Memory:
    """Bytes held in memory."""

    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks of at most 1 MiB."""
        for start in range(0, len(self.data), BLOCK):
            yield self.data[start : start + BLOCK]


@dataclass(frozen=True)
class OnDisk:
    """Bytes in a file."""

    path: Path
    size: int

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks of at most 1 MiB."""
        with self.path.open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block


@dataclass(frozen=True)
class Synthetic:
    """Bytes made from a seed when they are needed, so that a gigabyte costs no memory.

    ``random`` does not compress; ``zeros`` compresses about a thousandfold.
    """

    size: int
    seed: int = 1
    pattern: Literal["random", "zeros"] = "random"
    start: int = 0

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks of at most 1 MiB."""
        base = _base(self.seed, self.pattern)
        position, end = self.start, self.start + self.size
        while position < end:
            number, offset = divmod(position, BLOCK)
            block = base if self.pattern == "zeros" else number.to_bytes(8, "big") + base[8:]
            piece = block[offset : offset + end - position]
            yield piece
            position += len(piece)


@dataclass(frozen=True)
class Gzipped:
    """Another body, compressed while it is sent. ``level`` 0 stores without compressing."""

    inner: Body
    size: int
    level: int

    def blocks(self) -> Iterator[bytes]:
        """The gzip stream."""
        yield from gzip_blocks(self.inner.blocks(), self.level)


@dataclass(frozen=True)
class Gunzipped:
    """Another body, decompressed while it is sent."""

    inner: Body
    size: int

    def blocks(self) -> Iterator[bytes]:
        """The plain bytes."""
        yield from gunzip_blocks(self.inner.blocks())


EMPTY = Memory(b"")


@lru_cache(maxsize=4)
def _base(seed: int, pattern: str) -> bytes:
    return bytes(BLOCK) if pattern == "zeros" else random.Random(seed).randbytes(BLOCK)


def gzip_blocks(blocks: Iterable[bytes], level: int) -> Iterator[bytes]:
    """One gzip member around ``blocks``."""
    packer = zlib.compressobj(level, zlib.DEFLATED, GZIP)
    for block in blocks:
        packed = packer.compress(block)
        if packed:
            yield packed
    yield packer.flush()


def gunzip_blocks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of all gzip members. Raises ValueError for anything that is not complete, correct gzip."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        for block in blocks:
            rest = block
            while rest:
                if unpacker.eof:
                    unpacker = zlib.decompressobj(GZIP)
                plain = unpacker.decompress(rest)
                rest = unpacker.unused_data
                if plain:
                    yield plain
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError("the gzip stream has no end")


def compress(body: Body) -> Body:
    """``body`` as one gzip member; in memory where the input is, else streamed."""
    if isinstance(body, Memory):
        return Memory(b"".join(gzip_blocks(body.blocks(), 6)))
    level = 6 if isinstance(body, Synthetic) and body.pattern == "zeros" else 0
    return Gzipped(body, sum(len(block) for block in gzip_blocks(body.blocks(), level)), level)


def decompress(body: Body) -> Body:
    """The content of a gzip body. Raises ValueError when it is damaged."""
    if isinstance(body, Gzipped):
        return body.inner
    if isinstance(body, Memory):
        return Memory(b"".join(gunzip_blocks(body.blocks())))
    return Gunzipped(body, sum(len(block) for block in gunzip_blocks(body.blocks())))


def split(body: Body, chunks: int) -> list[Body]:
    """``body`` in ``chunks`` parts of nearly equal size, none empty. Raises ValueError when that cannot be."""
    if chunks < 1 or (chunks > 1 and chunks > body.size):
        raise ValueError(f"{body.size} bytes cannot make {chunks} chunks")
    if chunks == 1:
        return [body]
    edges = [body.size * number // chunks for number in range(chunks + 1)]
    spans = list(pairwise(edges))
    if isinstance(body, Synthetic):
        return [Synthetic(end - start, body.seed, body.pattern, body.start + start) for start, end in spans]
    if isinstance(body, Memory):
        return [Memory(body.data[start:end]) for start, end in spans]
    raise ValueError("only bytes in memory and synthetic bodies can be split")


def digest(bodies: Iterable[Body]) -> str:
    """SHA-256 (hex) of the bodies one after another."""
    total = hashlib.sha256()
    for body in bodies:
        for block in body.blocks():
            total.update(block)
    return total.hexdigest()


Damage = Literal["cut", "garbage", "trailing", "crc", "multi"]


def damage(data: bytes, how: Damage) -> bytes:
    """A gzip stream spoilt on purpose (``multi`` is unusual but correct: two members)."""
    match how:
        case "cut":
            return data[: max(1, len(data) // 2)]
        case "garbage":
            return b"this is not gzip at all"
        case "trailing":
            return data + b"trailing garbage"
        case "crc":
            return data[:-8] + bytes(byte ^ 0xFF for byte in data[-8:-4]) + data[-4:]
        case "multi":
            plain = b"".join(gunzip_blocks([data]))
            half = len(plain) // 2
            return b"".join(b"".join(gzip_blocks([part], 6)) for part in (plain[:half], plain[half:]))
    raise ValueError(f"unknown damage {how!r}")
