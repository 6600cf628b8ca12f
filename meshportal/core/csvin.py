"""CSV that people made in a spreadsheet, read whole or refused: every fault with its row, as the spreadsheet counts them.

| what comes | what happens |
|---|---|
| nothing, too many bytes, too many rows | a sentence; nothing is read |
| UTF-16 ("Unicode text"), an Excel workbook, another file with NUL bytes | a sentence: save it as CSV UTF-8 |
| UTF-8 with or without byte order mark; CRLF, LF or CR; line breaks inside quotes | read |
| Windows-1252, as older Excel saves | read, with a note |
| bytes that are neither, or both in one file | a sentence with the line |
| semicolons or tabs between cells | a sentence |
| a quote that is not closed, or text after a closing one | a sentence with the row |
| a column that is unknown, missing, or there twice | a sentence with the known ones; the unknown one is named by its place |
| a row with more cells than the head | a sentence with the row; empty ones at the end do not count |
| a row with fewer | the rest is empty: Excel leaves empty cells at the end away, in some rows |
| rows that are empty | left out, and counted |
| a cell that its column cannot take, or with a control character | a sentence with row and column |
| the same key twice | a sentence with both rows |
| an apostrophe that :mod:`meshportal.core.csvout` put before a formula | taken off again |

No sentence quotes a cell or a head: a password in the wrong column would stand in a page or a log.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from meshportal.core import csvout

_SAVE = "Save it as “CSV UTF-8 (comma delimited)” and choose that file."
# What a sentence says of a file that ends or breaks in the middle of a cell.
_BROKEN = "The quotes in this row do not fit: each one that opens a cell must be closed, and a quote inside is written twice."
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MOST_CELL = 10_000
# A cell of nothing else is empty. Other blanks are control characters, and are told of.
_BLANK = " \t\r\n\u00a0"


class Wrong(Exception):
    """A parser's refusal: one sentence that says what to write. It never quotes the cell."""


class _Unreadable(Exception):
    """The file as a whole, or its head, cannot be used."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems)
        self.problems = list(problems)


@dataclass(frozen=True)
class Problem:
    """What is wrong. ``row`` is the spreadsheet's number, 0 where it is the file as a whole."""

    sentence: str
    row: int = 0
    column: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (f"Row {self.row}" if self.row else "", self.column) if part)
        return f"{place}: {self.sentence}" if place else self.sentence


@dataclass(frozen=True)
class Column:
    """One column. ``parse`` gives the value of a cell or raises Wrong (or ValidationError), also for an empty one.

    ``needed``: the file must have it. ``secret``: its cells are taken as they stand, without the apostrophe of a formula
    taken off, since no secret is ever written into a file. ``says`` and ``example`` tell people what to write.
    """

    name: str
    parse: Callable[[str], Any]
    needed: bool = False
    secret: bool = False
    says: str = ""
    example: str = ""


@dataclass(frozen=True)
class Row:
    """One row that could be read: its number in the spreadsheet, and a value for each column that the file has."""

    number: int
    values: Mapping[str, Any]


@dataclass
class Read:
    """What came of a file. ``rows`` is to be used only where there are no ``problems``."""

    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """What a kind of file holds. ``key``: the columns that no two rows may have alike. ``one`` is what a row is called."""

    columns: Sequence[Column]
    key: Sequence[str] = ()
    one: str = "row"
    most_rows: int = 1_000
    most_bytes: int = 1_000_000

    @property
    def header(self) -> list[str]:
        """The names of all columns, for a template and an export."""
        return [column.name for column in self.columns]

    def read(self, data: bytes) -> Read:
        """Reads a file. Never raises for what is in it."""
        found = Read()
        try:
            text, found.notes = _text(data, self.most_bytes)
            rows = self._records(text)
            if not rows:
                raise _Unreadable(Problem("The file has no row. Its first one names the columns."))
            number, cells = rows[0]
            columns = self._head(number, cells)
            found.columns = [column.name for column in columns]
        except _Unreadable as error:
            found.problems = error.problems
            return found
        for number, cells in rows[1:]:
            self._row(found, columns, number, cells)
        if len(rows) == 1:
            found.problems.append(Problem(f"The file has a head and no {self.one} below it."))
        self._twice(found)
        return found

    def _records(self, text: str) -> list[tuple[int, list[str]]]:
        """The rows that hold something, with their numbers, without empty cells at the end."""
        records: list[tuple[int, list[str]]] = []
        number = 0
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            for number, cells in enumerate(reader, start=1):
                while cells and not cells[-1].strip(_BLANK):
                    cells.pop()
                if cells:
                    records.append((number, cells))
                if len(records) > self.most_rows + 1:
                    raise _Unreadable(
                        Problem(f"The file has more than {self.most_rows:,} rows, which is the most that is taken at once.")
                    )
        except csv.Error:
            raise _Unreadable(Problem(_BROKEN, number + 1)) from None
        return records

    def _head(self, number: int, cells: list[str]) -> list[Column]:
        known = {column.name: column for column in self.columns}
        names = [cell.strip().lower() for cell in cells]
        if len(cells) == 1 and names[0] not in known and any(mark in cells[0] for mark in ";\t"):
            raise _Unreadable(Problem(f"The cells are not separated by commas. {_SAVE}"))
        problems = []
        for place, name in enumerate(names, start=1):
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
                problems.append(Problem(f"{_nth(place)} is not known.{f' Is it meant to be {near[0]}?' if near else ''}", number))
            elif names.index(name) != place - 1:
                problems.append(Problem("The column is there more than once. Leave one.", number, name))
        problems += [
            Problem("The column is missing.", number, column.name)
            for column in self.columns
            if column.needed and column.name not in names
        ]
        if problems:
            raise _Unreadable(*problems, Problem(f"The columns are: {', '.join(known)}.", number))
        return [known[name] for name in names]

    def _row(self, found: Read, columns: list[Column], number: int, cells: list[str]) -> None:
        if len(cells) > len(columns):
            sentence = f"The row has {len(cells)} cells and the head {len(columns)}. A cell with a comma in it needs quotes."
            found.problems.append(Problem(sentence, number))
            return
        values: dict[str, Any] = {}
        for column, cell in zip(columns, [*cells, *[""] * (len(columns) - len(cells))], strict=True):
            try:
                values[column.name] = parsed(column, cell)
            except Wrong as error:
                found.problems.append(Problem(str(error), number, column.name))
        if len(values) == len(columns):
            found.rows.append(Row(number, values))

    def _twice(self, found: Read) -> None:
        if not self.key or not set(self.key) <= set(found.columns):
            return
        first: dict[tuple[Any, ...], int] = {}
        for row in found.rows:
            key = tuple(row.values[name] for name in self.key)
            if key in first:
                sentence = f"The same {self.one} stands in row {first[key]}. Leave one of the two."
                found.problems.append(Problem(sentence, row.number, self.key[0]))
            first.setdefault(key, row.number)
        found.problems.sort(key=lambda problem: problem.row)


def parsed(column: Column, cell: str) -> Any:
    """The value of ``cell`` as it stands in a file. Raises Wrong."""
    if len(cell) > _MOST_CELL:
        raise Wrong(f"Keep it within {_MOST_CELL:,} characters.")
    if _CONTROL.search(cell):
        raise Wrong("It holds a control character, which no text here can hold. Type it again.")
    try:
        return column.parse(cell if column.secret else csvout.plain(cell))
    except ValidationError as error:
        raise Wrong(" ".join(error.messages)) from None


# --- Parsers: each gives one for a column ---------------------------------------------------------------------------------
# As ``empty``: an empty cell is refused.
REFUSED: Any = object()


def text(*, most: int, check: Callable[[str], object] | None = None, upper: bool = False, empty: Any = REFUSED) -> Any:
    """One line of at most ``most`` characters, without blanks around it; ``check`` raises ValidationError."""

    def parse(cell: str) -> Any:
        value = cell.strip().upper() if upper else cell.strip()
        if not value:
            return _empty(empty)
        if len(value) > most:
            raise Wrong(f"Keep it within {most} characters.")
        if len(value.splitlines()) > 1:
            raise Wrong("Keep it on one line.")
        if check is not None:
            check(value)
        return value

    return parse


def secret(*, most: int, empty: Any = REFUSED) -> Any:
    """A secret, kept as it stands. Blanks around it are taken for a mistake, and refused."""

    def parse(cell: str) -> Any:
        if not cell.strip():
            return _empty(empty)
        if cell != cell.strip() or len(cell.splitlines()) > 1:
            raise Wrong("It begins or ends with a blank, or has a line break. Remove it.")
        if len(cell) > most:
            raise Wrong(f"Keep it within {most} characters.")
        return cell

    return parse


def choice(choices: Sequence[tuple[str, Any]], *, empty: Any = REFUSED) -> Any:
    """One of ``choices`` (pairs of value and label), by either of them, in capital or small letters."""
    known = {str(label).lower(): value for value, label in choices} | {value.lower(): value for value, _ in choices}

    def parse(cell: str) -> Any:
        given = cell.strip().lower()
        if not given:
            return _empty(empty)
        if given not in known:
            raise Wrong(f"Write one of: {', '.join(value for value, _ in choices)}.")
        return known[given]

    return parse


def whole(*, least: int, most: int, empty: Any = REFUSED) -> Any:
    """A whole number, also with commas between its thousands."""

    def parse(cell: str) -> Any:
        given = cell.strip()
        if not given:
            return _empty(empty)
        digits = given.replace(",", "")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 16 and least <= int(digits) <= most):
            raise Wrong(f"Write a whole number from {least:,} to {most:,}.")
        return int(digits)

    return parse


def yes_or_no(*, empty: Any = REFUSED) -> Any:
    """True for yes and False for no, also as spreadsheets write them."""
    words = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}

    def parse(cell: str) -> Any:
        given = cell.strip().lower()
        if not given:
            return _empty(empty)
        if given not in words:
            raise Wrong("Write yes or no.")
        return words[given]

    return parse


def _empty(value: Any) -> Any:
    if value is REFUSED:
        raise Wrong("Enter a value.")
    return value


# --- The text of a file -----------------------------------------------------------------------------------------------------
def _text(data: bytes, most: int) -> tuple[str, list[str]]:
    """The text of ``data`` and what to say about it. Raises _Unreadable."""
    if len(data) > most:
        raise _Unreadable(Problem(f"The file holds more than {most // 1000:,} KB, which is the most that is taken."))
    if not data.strip():
        raise _Unreadable(Problem("The file is empty."))
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise _Unreadable(Problem(f"This is a workbook, not a CSV file. {_SAVE}"))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable(Problem(f"The file is in UTF-16, which Excel calls “Unicode text”. {_SAVE}"))
    if (at := data.find(0)) >= 0:
        raise _Unreadable(Problem(f"Line {_line(data, at)} holds a NUL byte, so this is no CSV file. {_SAVE}"))
    marked = data.startswith(b"\xef\xbb\xbf")
    body = data[3:] if marked else data
    try:
        return body.decode("utf-8"), []
    except UnicodeDecodeError as error:
        broken = error.start
    # What is Windows-1252 holds no letter of UTF-8, save by a rare chance; what holds both was damaged.
    mixed = any(ord(character) > 127 and character != "\ufffd" for character in body.decode("utf-8", "replace"))
    sentence = f"Line {_line(body, broken)} holds bytes that are neither UTF-8 nor Windows-1252. {_SAVE}"
    if marked or mixed:
        raise _Unreadable(Problem(sentence))
    try:
        return body.decode("cp1252"), ["The file was read as Windows-1252. Look at letters with accents and at dashes."]
    except UnicodeDecodeError:
        raise _Unreadable(Problem(sentence)) from None


def _line(data: bytes, at: int) -> int:
    return len(data[:at].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))


def _nth(place: int) -> str:
    """A column as a spreadsheet names it."""
    letters = ""
    number = place
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return f"Column {letters}"
