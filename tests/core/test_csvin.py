"""CSV from people: read as it was meant, or refused with a row, and a secret is never quoted."""

from __future__ import annotations

import pytest
from django.core.validators import RegexValidator
from hypothesis import given
from hypothesis import strategies as st

from meshportal.core import csvin, csvout
from meshportal.core.csvin import Column, Problem, Table

SECRET = "PLANTED-SECRET"
TABLE = Table(
    columns=(
        Column("code", csvin.text(most=12, upper=True, check=RegexValidator(r"^[A-Z0-9]+$", "Letters and digits.")), needed=True),
        Column("name", csvin.text(most=20, empty="")),
        Column("secret", csvin.secret(most=30, empty=None), secret=True),
        Column("mode", csvin.choice([("watch", "Watch only"), ("collect", "Collect")], empty=None)),
        Column("every", csvin.whole(least=1, most=86_400, empty=None)),
        Column("sends", csvin.yes_or_no(empty=None)),
    ),
    key=("code",),
    one="mailbox",
    most_rows=20,
    most_bytes=20_000,
)


def said(data: bytes | str) -> list[str]:
    read = TABLE.read(data.encode() if isinstance(data, str) else data)
    return [str(problem) for problem in read.problems]


def values(data: bytes | str) -> list[tuple[int, dict[str, object]]]:
    read = TABLE.read(data.encode() if isinstance(data, str) else data)
    assert read.problems == []
    return [(row.number, dict(row.values)) for row in read.rows]


# --- What is read ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_and_the_byte_order_mark(end: str, mark: str, last: bool) -> None:
    text = mark + end.join(["Code , name", "x26,Zoë"]) + (end if last else "")
    assert values(text) == [(2, {"code": "X26", "name": "Zoë"})]


def test_every_kind_of_cell() -> None:
    text = 'sends,code,mode,every,secret,name\nYes,a1,WATCH ONLY,"1,000",  ,\nFALSE,a2,collect,300,=x\'"",b\n'
    assert values(text) == [
        (2, {"sends": True, "code": "A1", "mode": "watch", "every": 1000, "secret": None, "name": ""}),
        (3, {"sends": False, "code": "A2", "mode": "collect", "every": 300, "secret": '=x\'""', "name": "b"}),
    ]


def test_rows_are_counted_as_the_spreadsheet_does() -> None:
    """Empty rows count, and a row with a line break in a quoted cell is one."""
    text = '\ncode,name\n\n" a1 ","x"\n,,\n"a2","two\nlines"\na3,"say ""so"", please"\n'
    read = TABLE.read(text.encode())
    assert [(row.number, row.values["code"]) for row in read.rows] == [(4, "A1"), (7, "A3")]
    assert [str(problem) for problem in read.problems] == ["Row 6, name: Keep it on one line."]
    assert read.rows[1].values["name"] == 'say "so", please'


def test_empty_cells_at_the_end_are_left_away_and_padded() -> None:
    assert values("code,name,every,,\na1\na2,two,3,,,,\n") == [
        (2, {"code": "A1", "name": "", "every": None}),
        (3, {"code": "A2", "name": "two", "every": 3}),
    ]


def test_windows_1252_is_read_with_a_note() -> None:
    read = TABLE.read("code,name\nA1,Zoë – “on call”\n".encode("cp1252"))
    assert read.rows[0].values["name"] == "Zoë – “on call”"
    assert read.notes == ["The file was read as Windows-1252. Look at letters with accents and at dashes."]
    assert TABLE.read("code,name\nA1,Zoë\n".encode()).notes == []


# --- What is refused ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty."),
        (b"\n \r\n", "The file is empty."),
        (b",,\n,\n", "The file has no row. Its first one names the columns."),
        (b"code,name\n", "The file has a head and no mailbox below it."),
        (b"code\n" + b"A" * 20_000, "The file holds more than 20 KB, which is the most that is taken."),
        ("code\nA1".encode("utf-16"), "The file is in UTF-16, which Excel calls “Unicode text”."),
        (b"\xfe\xff" + "code".encode("utf-16-be"), "The file is in UTF-16, which Excel calls “Unicode text”."),
        ("code\nA1".encode("utf-16-le"), "Line 1 holds a NUL byte, so this is no CSV file."),
        (b"code\r\na\r\nb\0", "Line 3 holds a NUL byte, so this is no CSV file."),
        (b"PK\x03\x04\x14\x00", "This is a workbook, not a CSV file."),
        (b"code,name\nA1,\x81\n", "Line 2 holds bytes that are neither UTF-8 nor Windows-1252."),
        ("code,name\nA1,Zoë\nA2,".encode() + b"Zo\xeb\n", "Line 3 holds bytes that are neither UTF-8 nor Windows-1252."),
        (b"\xef\xbb\xbfcode,name\nA1,Zo\xeb\n", "Line 2 holds bytes that are neither UTF-8 nor Windows-1252."),
        (b"code;name\nA1;x\n", "The cells are not separated by commas."),
        (b"code\tname\nA1\tx\n", "The cells are not separated by commas."),
        (b'code\nA1\n"A2\nA3\nA4', "Row 3: The quotes in this row do not fit"),
        (b'code,name\nA1,"x"y\n', "Row 2: The quotes in this row do not fit"),
        (b"code\n" + b"".join(b"A%d\n" % one for one in range(21)), "The file has more than 20 rows"),
        (b"code,name\nA1,b,c\n", "Row 2: The row has 3 cells and the head 2."),
    ],
)
def test_a_file_that_cannot_be_used(data: bytes, sentence: str) -> None:
    problems = said(data)
    assert len(problems) == 1
    assert problems[0].startswith(sentence)
    assert TABLE.read(data).rows == []


def test_columns_that_are_unknown_missing_or_there_twice() -> None:
    assert said("name,nmae,every,name,\nx,y,1,z\n") == [
        "Row 1: Column B is not known. Is it meant to be name?",
        "Row 1, name: The column is there more than once. Leave one.",
        "Row 1, code: The column is missing.",
        "Row 1: The columns are: code, name, secret, mode, every, sends.",
    ]
    wide = ",".join(["code", *["?"] * 27])
    assert "Row 1: Column AB is not known." in said(f"{wide}\n")


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"code": "A-1"}, "Letters and digits."),
        ({"code": "A" * 13}, "Keep it within 12 characters."),
        ({"name": "a\x07"}, "It holds a control character, which no text here can hold. Type it again."),
        ({"name": "b" * 11_000}, "Keep it within 10,000 characters."),
        ({"secret": " x"}, "It begins or ends with a blank, or has a line break. Remove it."),
        ({"secret": '"x\ny"'}, "It begins or ends with a blank, or has a line break. Remove it."),
        ({"secret": "y" * 31}, "Keep it within 30 characters."),
        ({"mode": "paused"}, "Write one of: watch, collect."),
        ({"every": "0"}, "Write a whole number from 1 to 86,400."),
        ({"every": "3.5"}, "Write a whole number from 1 to 86,400."),
        ({"every": "٣"}, "Write a whole number from 1 to 86,400."),
        ({"every": "9" * 5_000}, "Write a whole number from 1 to 86,400."),
        ({"sends": "perhaps"}, "Write yes or no."),
    ],
)
def test_a_cell_that_its_column_cannot_take(cells: dict[str, str], sentence: str) -> None:
    row = {"code": "a1", **cells}
    column = next(iter(cells))
    text = f"{','.join(row)}\n{','.join(row.values())}\n"
    assert said(text) == [f"Row 2, {column}: {sentence}"]


def test_every_fault_is_said_and_a_key_may_stand_once() -> None:
    text = "code,every\na1,x\na2,1\nA2,2\n,y\n a2 ,3\n"
    assert said(text) == [
        "Row 2, every: Write a whole number from 1 to 86,400.",
        "Row 4, code: The same mailbox stands in row 3. Leave one of the two.",
        "Row 5, code: Enter a value.",
        "Row 5, every: Write a whole number from 1 to 86,400.",
        "Row 6, code: The same mailbox stands in row 3. Leave one of the two.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET},name\n",
        f"code,{SECRET}\nA1,b\n",
        f"code,mode,every,sends,name\n{SECRET},{SECRET},{SECRET},{SECRET},{SECRET * 9}\n",
        f"code,secret\nA1, {SECRET}\n",
        f'code,secret\nA1,"{SECRET}"x\n',
        f"code\nA1,{SECRET}\n",
    ],
)
def test_no_sentence_quotes_what_stands_in_the_file(text: str) -> None:
    """It may be a password in the wrong column."""
    problems = said(text)
    assert problems
    assert not any(SECRET in problem.upper() for problem in problems)


# --- There and back -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "  =1", "'=1", "''-x", "'", "' =", "'x", "\t=", "\r", "\n=", "-"])
def test_the_apostrophe_of_a_formula_comes_off_again(text: str) -> None:
    assert csvout.plain(csvout.safe(text)) == text


@given(st.text(alphabet=st.sampled_from("'=+-@ \t\r\nx,\"é")) | st.text(alphabet=st.characters(exclude_characters="\0")))
def test_whatever_is_exported_is_read_back(text: str) -> None:
    """Through a file, as it stands in a cell; the parser decides about blanks and line breaks."""
    table = Table(columns=(Column("code", str), Column("text", str)), most_bytes=1_000_000)
    data = "".join(csvout.lines(table.header, [["x", text], ["y", "last"]])).encode()
    read = table.read(data)
    if any((ord(character) < 32 and character not in "\t\r\n") or ord(character) == 127 for character in text):
        assert [problem.column for problem in read.problems] == ["text"]
    else:
        assert read.problems == []
        expected = text if text.strip() else ""
        assert read.rows[0].values["text"] in (text, expected)


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    for given_data in (data, b"code,name,secret\n" + data):
        read = TABLE.read(given_data)
        assert all(isinstance(problem, Problem) and problem.sentence for problem in read.problems)
        assert read.problems or read.rows
