"""Bytes of a body as text that can be looked at: decoded, with nothing in it that hides or reorders what follows.

Pure functions, linear in what they are given.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Longer lines are folded, and a preview ends after so many lines or characters: the download has the rest.
FOLD_AT = 1_000
MAX_LINES = 5_000
MAX_CHARACTERS = 600_000

# Control and format characters of Unicode (categories Cc, Cf, Zl, Zp, Cs) but tab and new line: they print nothing, and
# some turn the order of the text round.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
# Control characters that no text holds. The separators 1C to 1F are left out: EDIFACT level B ends segments with them.
_CONTROLS = bytes([*range(0x09), 0x0B, *range(0x0E, 0x1A), 0x7F])
_SAMPLE = 4_096


@dataclass(frozen=True)
class Decoded:
    """Text, and the name of the encoding that it was in."""

    text: str
    encoding: str


@dataclass(frozen=True)
class Lines:
    """What is shown of a text; ``cut`` when there was more."""

    lines: tuple[str, ...]
    cut: bool


def decode(data: bytes, *, truncated: bool) -> Decoded | None:
    """``data`` as text, lines ended by ``\\n``; None when it is no text. ``truncated``: the last character may be cut."""
    for bom, codec, name in _BOMS:
        if data.startswith(bom):
            return _strictly(data[len(bom) :], codec, name, truncated=truncated)
    if b"\x00" in data:
        codec = _utf16_without_bom(data)
        return _strictly(data, codec, "UTF-16", truncated=truncated) if codec else None
    if _looks_binary(data):
        return None
    return (
        _strictly(data, "utf-8", "UTF-8", truncated=truncated)
        or _strictly(data, "cp1252", "Windows-1252", truncated=truncated)
        or _strictly(data, "latin-1", "Latin-1", truncated=truncated)
    )


def _strictly(data: bytes, codec: str, name: str, *, truncated: bool) -> Decoded | None:
    try:
        text = codecs.getincrementaldecoder(codec)("strict").decode(data, final=not truncated)
    except UnicodeDecodeError:
        return None
    return Decoded(text.replace("\r\n", "\n").replace("\r", "\n"), name)


def _utf16_without_bom(data: bytes) -> str:
    """The byte order of Latin text in UTF-16, whose every other byte is zero; '' when that does not fit."""
    sample = data[:_SAMPLE]
    half = len(sample) // 2
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if half and odd > half * 0.6 and even < half * 0.05:
        return "utf-16-le"
    if half and even > half * 0.6 and odd < half * 0.05:
        return "utf-16-be"
    return ""


def _looks_binary(data: bytes) -> bool:
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return controls > len(data) * 0.01


def visible(text: str) -> str:
    """``text`` with every character that would hide or reorder something shown as a mark such as ``[U+202E]``."""
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def without_hidden(text: str) -> str:
    """``text`` without the characters that :func:`visible` would mark."""
    return _HIDDEN.sub("", text)


def shown(lines: Iterable[str]) -> Lines:
    """As many of ``lines`` as a page can hold, made visible, long ones folded. Reads no further than it shows."""
    kept: list[str] = []
    room = MAX_CHARACTERS
    for line in lines:
        for part in _folded(line):
            if len(kept) == MAX_LINES or room <= 0:
                return Lines(tuple(kept), cut=True)
            part = visible(part)
            room -= len(part) + 1
            kept.append(part)
    return Lines(tuple(kept), cut=False)


def _folded(line: str) -> Iterator[str]:
    yield line[:FOLD_AT]
    for start in range(FOLD_AT, len(line), FOLD_AT):
        yield line[start : start + FOLD_AT]


def capped(text: str, limit: int) -> str:
    """One visible line of at most about ``limit`` characters, for a cell."""
    one = visible(text[: limit + 1].replace("\n", " "))
    return f"{one[:limit]}…" if len(text) > limit else one
