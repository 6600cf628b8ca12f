"""What a body looks like, made harmless: the beginning of a payload as lines, a table or segments of plain text.

Nothing here runs, fetches, expands or trusts anything that it is given, and nothing raises: a body that cannot be laid
out is shown as text, and one that is no text is only named. Time and memory are linear in the head that is given.
Templates show the strings escaped; none of them is HTML.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from messages.indent import NotWellFormed, json_lines, xml_lines
from messages.visible import MAX_CHARACTERS, Lines, capped, decode, shown, visible

MAX_ROWS = 100
MAX_COLUMNS = 30
MAX_CELL = 200
MAX_SEGMENTS = 2_000
MAX_ELEMENTS = 60
MAX_ELEMENT = 2_000


@dataclass(frozen=True)
class Table:
    """The first rows and columns of a file of separated values; ``columns`` are their numbers, from 1."""

    columns: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Segment:
    """One EDIFACT segment: its tag, what a service tag means ('' for others), and its data elements."""

    tag: str
    meaning: str
    elements: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What to show of a body.

    ``kind``: text, xml, json, csv, edifact, binary or empty. ``label`` names it for people. ``notes`` are sentences.
    One of ``lines``, ``table`` and ``segments`` is filled, none of them for binary and empty.
    """

    kind: str
    label: str
    encoding: str = ""
    notes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    table: Table | None = None
    segments: tuple[Segment, ...] = ()

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive, or an Office document"),
    (b"PK\x05\x06", "Empty ZIP archive"),
    (b"\x1f\x8b", "Gzip archive"),
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"II*\x00", "TIFF image"),
    (b"MM\x00*", "TIFF image"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (b"-----BEGIN PGP MESSAGE", "PGP encrypted message"),
    (b"age-encryption.org/", "age encrypted file"),
)
_FHIR = "http://hl7.org/fhir"


def preview(head: bytes, *, truncated: bool, file_name: str, content_type: str) -> Preview:
    """How to show a body of which ``head`` is the beginning; ``truncated`` when there is more.

    The content decides; ``file_name`` and ``content_type`` come from the sender, and only settle whether text that
    could be separated values is.
    """
    if not head:
        return Preview("empty", "Empty", notes=("The message has no body.",))
    for signature, label in _SIGNATURES:
        if head.startswith(signature):
            return _binary(label)
    decoded = decode(head, truncated=truncated)
    if decoded is None:
        return _binary("Binary file")
    text = decoded.text
    start = text.lstrip("\ufeff \t\n")
    notes: tuple[str, ...] = ()
    try:
        if start.startswith(("UNA", "UNB+")):
            return _edifact(start, decoded.encoding, truncated=truncated)
        if start.startswith("<"):
            return _xml(start, decoded.encoding, truncated=truncated)
        if start.startswith(("{", "[")):
            return _json(start, decoded.encoding, truncated=truncated)
        found = _csv(text, decoded.encoding, truncated=truncated, named=_named_separated(file_name, content_type))
        if found is not None:
            return found
    except NotWellFormed as reason:
        notes = (f"{reason} It is shown as plain text.",)
    return _lines("text", "Text", decoded.encoding, text.split("\n"), notes)


def _binary(label: str) -> Preview:
    return Preview("binary", label, notes=("This kind of file is not shown here. Download it to open it.",))


def _lines(kind: str, label: str, encoding: str, lines: Iterable[str], notes: tuple[str, ...] = ()) -> Preview:
    found: Lines = shown(lines)
    if found.cut:
        notes += (f"Only the first {len(found.lines):,} lines are shown. Download the message for the rest.",)
    return Preview(kind, label, encoding, notes, lines=found.lines)


def _xml(text: str, encoding: str, *, truncated: bool) -> Preview:
    if re.match(r"<(?:!doctype\s+html|html)\b", text, re.IGNORECASE):
        note = "This is the source of a web page. The portal never displays it as one."
        return _lines("text", "HTML source", encoding, text.split("\n"), (note,))
    if truncated:
        raise NotWellFormed("Only the beginning was read, so this XML could not be laid out.")
    lines, root, namespace = xml_lines(text)
    label = f"FHIR XML, {_name(root)}" if namespace == _FHIR else f"XML, {_name(root)}"
    return _lines("xml", label, encoding, lines, ("Indented for reading. The download is exactly as it was sent.",))


def _json(text: str, encoding: str, *, truncated: bool) -> Preview:
    if truncated:
        raise NotWellFormed("Only the beginning was read, so this JSON could not be laid out.")
    lines, resource = json_lines(text)
    label = f"FHIR JSON, {_name(resource)}" if resource else "JSON"
    return _lines("json", label, encoding, lines, ("Indented for reading. The download is exactly as it was sent.",))


def _name(text: str) -> str:
    return capped(text, 60)


# --- Separated values -------------------------------------------------------------------------------------------------
_DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_ROWS = 20


def _named_separated(file_name: str, content_type: str) -> bool:
    bare = content_type.partition(";")[0].strip().lower()
    return file_name.lower().endswith((".csv", ".tsv")) or bare in {"text/csv", "text/tab-separated-values"}


def _csv(text: str, encoding: str, *, truncated: bool, named: bool) -> Preview | None:
    """The table, or None when the text does not look like one.

    A name that says so is believed as soon as a separator occurs. Without one it takes three rows of the same width,
    and commas or tabs: prose has commas too.
    """
    for delimiter in _DELIMITERS if named else _DELIMITERS[:2]:
        if delimiter not in text:
            continue
        rows = list(_csv_rows(text, delimiter))
        if rows and truncated and len(rows) <= MAX_ROWS:
            rows.pop()  # The cut goes through it.
        widths = {len(row) for row in rows[:_SNIFFED_ROWS]}
        alike = len(rows) >= 3 and len(widths) == 1 and min(widths) >= 3
        if rows and (alike or (named and max(widths) > 1)):
            return _table(rows, encoding)
    return None


def _csv_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """At most one row more than is shown, empty ones left out; ends early where a field is too long to be one."""
    reader = csv.reader((f"{line}\n" for line in text.split("\n")), delimiter=delimiter)
    found = 0
    try:
        for row in reader:
            if not row:
                continue
            yield row
            found += 1
            if found > MAX_ROWS:
                return
    except csv.Error:
        return


def _table(rows: list[list[str]], encoding: str) -> Preview:
    width = max(len(row) for row in rows[:MAX_ROWS])
    columns = min(width, MAX_COLUMNS)
    notes: list[str] = []
    if width > columns:
        notes.append(f"Only the first {columns} of {width:,} columns are shown.")
    if len(rows) > MAX_ROWS:
        notes.append(f"Only the first {MAX_ROWS} rows are shown.")
    cells = tuple(
        tuple(capped(cell, MAX_CELL) for cell in row[:columns]) + ("",) * (columns - len(row)) for row in rows[:MAX_ROWS]
    )
    table = Table(columns=tuple(range(1, columns + 1)), rows=cells)
    return Preview("csv", "Separated values (CSV)", encoding, tuple(notes), table=table)


# --- EDIFACT ----------------------------------------------------------------------------------------------------------
# ISO 9735: the service characters when no UNA says otherwise.
_DEFAULT_SERVICE = ":+.? '"
_MEANINGS = {
    "UNA": "Service characters",
    "UNB": "Interchange header",
    "UNG": "Group header",
    "UNH": "Message header",
    "BGM": "Beginning of message",
    "DTM": "Date or time",
    "NAD": "Name and address",
    "RFF": "Reference",
    "FTX": "Free text",
    "UNT": "Message trailer",
    "UNE": "Group trailer",
    "UNZ": "Interchange trailer",
}


def _edifact(text: str, encoding: str, *, truncated: bool) -> Preview:
    """The segments of an interchange. Raises NotWellFormed for service characters that make no sense."""
    segments: list[Segment] = []
    service = _DEFAULT_SERVICE
    if text.startswith("UNA"):
        service, text = text[3:9], text[9:]
        segments.append(Segment("UNA", _MEANINGS["UNA"], (visible(service),)))
    component, element, release, end = _service_characters(service)
    notes: list[str] = []
    room = MAX_CHARACTERS
    for raw, finished in _split(text, end, release):
        raw = raw.strip("\n")
        if not raw.strip():
            continue
        if len(segments) >= MAX_SEGMENTS or room <= 0:
            notes.append(f"Only the first {len(segments):,} segments are shown. Download the message for the rest.")
            break
        if not finished:
            cause = "only the beginning was read" if truncated else "the message ends in the middle of it"
            notes.append(f"The last segment is not whole: {cause}.")
        tag, *data = [part for part, _ in _split(raw, element, release)]
        shown_elements = tuple(_components(part, component, release) for part in data[:MAX_ELEMENTS])
        if len(data) > MAX_ELEMENTS:
            shown_elements += (f"… {len(data) - MAX_ELEMENTS:,} more",)
        room -= sum(len(shown_element) for shown_element in shown_elements)
        segments.append(Segment(capped(tag, 12), _MEANINGS.get(tag, ""), shown_elements))
    return Preview("edifact", "EDIFACT", encoding, tuple(notes), segments=tuple(segments))


def _service_characters(service: str) -> tuple[str, str, str, str]:
    """The component and element separators, the release character (a space for none) and the segment terminator."""
    if len(service) == 6:
        component, element, _decimal, release, _reserved, end = tuple(service)
        marks = [component, element, end] + ([release] if release != " " else [])
        if len(set(marks)) == len(marks) and not any(mark.isalnum() or mark == " " for mark in marks):
            return component, element, release, end
    raise NotWellFormed("This begins like EDIFACT, but its service characters (UNA) make no sense.")


def _split(text: str, separator: str, release: str) -> Iterator[tuple[str, bool]]:
    """The parts of ``text`` between separators that are not released, and whether a separator ended each.

    A release character is kept, so that a part can be split again; :func:`_released` takes it out at the end.
    """
    start = at = 0
    pattern = re.compile(f"[{re.escape(separator + release.strip())}]")
    while (found := pattern.search(text, at)) is not None:
        at = found.end()
        if found[0] == separator:
            yield text[start : found.start()], True
            start = at
        else:
            at += 1
    yield text[start:], False


def _components(part: str, component: str, release: str) -> str:
    cut = "…" if len(part) > MAX_ELEMENT else ""
    return " : ".join(_released(piece, release) for piece, _ in _split(part[:MAX_ELEMENT], component, release)) + cut


def _released(text: str, release: str) -> str:
    if release.strip():
        mark = re.escape(release)
        text = re.sub(f"{mark}(.)", r"\1", text, flags=re.DOTALL)
    return visible(text)
