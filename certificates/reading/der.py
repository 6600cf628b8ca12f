"""A bounded look at DER and BER before a parser works through it: what it is, and what opening it would cost.

A key file says itself how often its passphrase is to be hashed. Two thousand millions of times would keep a worker busy for an
hour, so the numbers are read first (RFC 8018, appendix A; RFC 7292, section 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from certificates.reading.refusals import CannotUse

INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
_CONSTRUCTED = 0x20
_MAX_DEPTH = 40
_MAX_NODES = 50_000
# OpenSSL writes 2,048, keytool 10,000, password managers up to a million. Three million take some seconds.
MAX_ITERATIONS = 3_000_000
# scrypt: N times r blocks of 128 bytes.
_MAX_SCRYPT_BYTES = 64 * 1024 * 1024
# RSA of 8,192 bits; checking the primes of longer keys takes minutes.
_MAX_NUMBER_BYTES = 1025
# A protected key of that size.
MAX_PROTECTED_KEY = 5_200


class Malformed(Exception):
    """Bytes that are no DER or BER."""


@dataclass(frozen=True)
class Node:
    """One value: its tag, its content, and the values inside (of a sequence, or of an octet string that holds some)."""

    tag: int
    content: bytes = field(repr=False)
    inside: tuple[Node, ...] = ()

    def shape(self) -> list[int]:
        """The tags of the values inside."""
        return [node.tag for node in self.inside]


class _Reader:
    def __init__(self) -> None:
        self.nodes = 0

    def values(self, data: bytes, depth: int, *, until_end: bool = False) -> tuple[list[Node], int]:
        """The values of ``data``, and how much of it they took."""
        found: list[Node] = []
        at = 0
        while at < len(data):
            if until_end and data[at : at + 2] == b"\0\0":
                return found, at + 2
            node, at = self.value(data, at, depth)
            found.append(node)
        if until_end:
            raise Malformed
        return found, at

    def value(self, data: bytes, at: int, depth: int) -> tuple[Node, int]:
        self.nodes += 1
        if depth > _MAX_DEPTH or self.nodes > _MAX_NODES or len(data) - at < 2:
            raise Malformed
        tag, first = data[at], data[at + 1]
        at += 2
        if tag & 0x1F == 0x1F:  # Tags of several bytes stand in none of these formats.
            raise Malformed
        if first == 0x80:
            if not tag & _CONSTRUCTED:
                raise Malformed
            inside, used = self.values(data[at:], depth + 1, until_end=True)
            return self.made(tag, data[at : at + used - 2], inside, depth), at + used
        length = first
        if first > 0x80:
            size = first & 0x7F
            if size > 4 or len(data) - at < size:
                raise Malformed
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if len(data) - at < length:
            raise Malformed
        content = data[at : at + length]
        inside = self.values(content, depth + 1)[0] if tag & _CONSTRUCTED else []
        return self.made(tag, content, inside, depth), at + length

    def made(self, tag: int, content: bytes, inside: list[Node], depth: int) -> Node:
        if tag == OCTET_STRING | _CONSTRUCTED:
            # BER may cut an octet string into pieces.
            tag, content, inside = OCTET_STRING, b"".join(piece.content for piece in inside), []
        if tag == OCTET_STRING and not inside and content[:1] in (b"\x30", b"\x24", b"\x04"):
            try:
                inside, _ = self.values(content, depth + 1)
            except Malformed:
                inside = []
        return Node(tag, content, tuple(inside))


def parse(data: bytes) -> Node:
    """The one value that ``data`` is. Raises Malformed; bytes behind it are left out of sight, as other readers do."""
    return _Reader().value(data, 0, 0)[0]


def everything(node: Node) -> Iterator[Node]:
    """``node`` and all values inside it."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting += current.inside


def check_cost(data: bytes, where: str) -> Node:
    """The value of ``data`` when opening it takes seconds at most. Raises Malformed, or CannotUse where it would take longer.

    Wherever a count stands, an octet string (the salt) stands before it; nothing else in these formats has that form.
    """
    tree = parse(data)
    iterations = 0
    for node in everything(tree):
        if node.tag == INTEGER and len(node.content) > _MAX_NUMBER_BYTES:
            raise CannotUse("key_too_large", f"A number in {where} is longer than any key that MESH takes (RSA of 8,192 bits).")
        for position, (before, count) in enumerate(zip(node.inside, node.inside[1:], strict=False)):
            if before.tag != OCTET_STRING or count.tag != INTEGER:
                continue
            number = int.from_bytes(count.content, "big", signed=True)
            block = node.inside[position + 2] if len(node.inside) > position + 2 else None
            if block is not None and block.tag == INTEGER and len(node.inside) > position + 3:
                if number * int.from_bytes(block.content, "big") * 128 > _MAX_SCRYPT_BYTES:
                    raise _too_long(where)
                rounds = node.inside[position + 3]
                number *= int.from_bytes(rounds.content, "big") if rounds.tag == INTEGER else 1
            if number < 0:
                raise CannotUse("iterations", f"The passphrase of {where} is to be hashed a negative number of times.")
            iterations += number
    if iterations > MAX_ITERATIONS:
        raise _too_long(where)
    return tree


def _too_long(where: str) -> CannotUse:
    return CannotUse(
        "iterations",
        f"Opening {where} would take too long: its passphrase is to be hashed more than {MAX_ITERATIONS:,} times.",
    )


def oid(content: bytes) -> str:
    """An object identifier in its dotted form; '' when it is malformed."""
    arcs: list[int] = []
    number = 0
    for byte in content[:60]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(number)
            number = 0
    if not arcs:
        return ""
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in [first, arcs[0] - 40 * first, *arcs[1:]])
