"""The preview of a body: every kind is recognised, and whatever the bytes are, it never raises, runs or grows."""

from __future__ import annotations

import time
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from messages import preview as module
from messages.preview import Preview, preview
from messages.visible import FOLD_AT, MAX_CHARACTERS, MAX_LINES, visible, without_hidden

pytestmark = pytest.mark.fuzz


def look(body: bytes, *, truncated: bool = False, file_name: str = "", content_type: str = "") -> Preview:
    return preview(body, truncated=truncated, file_name=file_name, content_type=content_type)


# --- Kinds --------------------------------------------------------------------------------------------------------------
def test_an_empty_body() -> None:
    found = look(b"")
    assert (found.kind, found.notes) == ("empty", ("The message has no body.",))


def test_plain_text_keeps_its_lines() -> None:
    found = look(b"Dear colleague,\r\n\r\n  Please find enclosed.\r\n")
    assert found.kind == "text"
    assert found.lines == ("Dear colleague,", "", "  Please find enclosed.", "")
    assert found.encoding == "UTF-8"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("Bérénice".encode(), "UTF-8"),
        (b"\xef\xbb\xbfB\xc3\xa9r", "UTF-8"),
        ("Bérénice".encode("cp1252"), "Windows-1252"),
        ("Bérénice".encode("utf-16"), "UTF-16"),
        ("Patient record".encode("utf-16-le"), "UTF-16"),
        ("Patient record".encode("utf-16-be"), "UTF-16"),
        ("Patient record".encode("utf-32"), "UTF-32"),
    ],
)
def test_encodings_are_recognised(body: bytes, encoding: str) -> None:
    found = look(body)
    assert (found.kind, found.encoding) == ("text", encoding)


def test_xml_is_indented_and_named_by_its_root() -> None:
    found = look(b'<?xml version="1.0"?><a x="1"><b>text</b><c/><!-- note --></a>')
    assert (found.kind, found.label) == ("xml", "XML, a")
    assert found.lines == ('<?xml version="1.0"?>', '<a x="1">', "  <b>text</b>", "  <c/>", "  <!-- note -->", "</a>")


def test_fhir_is_named() -> None:
    assert look(b'<Bundle xmlns="http://hl7.org/fhir"><id value="1"/></Bundle>').label == "FHIR XML, Bundle"
    assert look(b'{"resourceType": "Patient", "active": true}').label == "FHIR JSON, Patient"


def test_json_is_indented_and_nothing_in_it_changes() -> None:
    found = look(b'{"a":1.10,"b":[true,null,"\\u0041"],"a":2,"c":{},"d":[],"n":123456789012345678901234567890}')
    assert found.kind == "json"
    assert found.text == (
        '{\n  "a": 1.10,\n  "b": [\n    true,\n    null,\n    "\\u0041"\n  ],\n  "a": 2,\n  "c": {},\n  "d": [],\n'
        '  "n": 123456789012345678901234567890\n}'
    )


@pytest.mark.parametrize(
    "broken", [b'{"a":', b"[1,]", b'{"a" 1}', b"[1] x", b"{1:2}", b'{"a":tru}', b'["' + b"x" * 200 + b'\x01"]', b"[01]"]
)
def test_broken_json_is_text_and_says_so(broken: bytes) -> None:
    found = look(broken)
    assert found.kind == "text"
    assert "It is shown as plain text." in found.notes[0]


@pytest.mark.parametrize("broken", [b"<a>", b"<a></b>", b"<a b=1/>", b"<a>&nbsp;</a>", b"<", b"<?xml?>"])
def test_broken_xml_is_text_and_says_so(broken: bytes) -> None:
    found = look(broken)
    assert found.kind == "text"
    assert "It is shown as plain text." in found.notes[0]


def test_separated_values_are_a_table_of_their_first_rows() -> None:
    body = b"id,name,result\n" + b"".join(b'%d,"Smith, John",12\n' % number for number in range(500))
    found = look(body)
    assert found.kind == "csv"
    assert found.table is not None
    assert found.table.columns == (1, 2, 3)
    assert found.table.rows[1] == ("0", "Smith, John", "12")
    assert len(found.table.rows) == module.MAX_ROWS
    assert found.notes == (f"Only the first {module.MAX_ROWS} rows are shown.",)


def test_wide_and_ragged_tables_are_cut_and_filled() -> None:
    wide = b",".join(b"c%d" % number for number in range(100)) + b"\nonly one\n"
    found = look(wide, file_name="x.CSV")
    assert found.table is not None
    assert {len(row) for row in found.table.rows} == {module.MAX_COLUMNS}
    assert "Only the first 30 of 100 columns are shown." in found.notes


def test_a_name_settles_what_prose_with_commas_is() -> None:
    prose = b"Dear all, thank you\nwith kind regards\n"
    assert look(prose).kind == "text"
    assert look(prose, file_name="list.csv").kind == "csv"
    assert look(prose, content_type="text/csv; charset=utf-8").kind == "csv"


def test_a_cut_table_leaves_out_the_row_that_the_cut_goes_through() -> None:
    found = look(b"a,b,c\n1,2,3\n4,5,6\n7,8", truncated=True)
    assert found.table is not None
    assert found.table.rows[-1] == ("4", "5", "6")


def test_edifact_is_split_into_segments_with_its_own_service_characters() -> None:
    found = look(b"UNA:+.? 'UNB+UNOA:2+A+B+261124:1041+1'\r\nFTX+SPC+++IT?'S 5 ?+ 6'UNZ+1+1'")
    assert found.kind == "edifact"
    assert [segment.tag for segment in found.segments] == ["UNA", "UNB", "FTX", "UNZ"]
    assert found.segments[1].meaning == "Interchange header"
    assert found.segments[1].elements[0] == "UNOA : 2"
    assert found.segments[2].elements == ("SPC", "", "", "IT'S 5 + 6")
    other = look(b"UNA*|.! ~UNB|UNOA*2|A~UNZ|1~")
    assert [segment.tag for segment in other.segments] == ["UNA", "UNB", "UNZ"]
    assert other.segments[1].elements == ("UNOA : 2", "A")


def test_an_interchange_that_ends_early_says_so() -> None:
    assert "the message ends in the middle of it" in look(b"UNB+UNOA:2+A'UNH+1").notes[0]
    assert "only the beginning was read" in look(b"UNB+UNOA:2+A'UNH+1", truncated=True).notes[0]


def test_service_characters_that_make_no_sense_are_named() -> None:
    found = look(b"UNAAAAAAAUNB+1'")
    assert found.kind == "text"
    assert "make no sense" in found.notes[0]


@pytest.mark.parametrize(
    ("head", "label"),
    [
        (b"%PDF-1.7\n1 0 obj", "PDF document"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "PNG image"),
        (b"\xff\xd8\xff\xe0", "JPEG image"),
        (b"GIF89a", "GIF image"),
        (b"II*\x00", "TIFF image"),
        (b"PK\x03\x04", "ZIP archive, or an Office document"),
        (b"\x1f\x8b\x08", "Gzip archive"),
        (bytes(range(256)), "Binary file"),
    ],
)
def test_what_is_no_text_is_only_named(head: bytes, label: str) -> None:
    found = look(head, file_name="letter.txt", content_type="text/plain")
    assert (found.kind, found.label) == ("binary", label)
    assert (found.lines, found.table, found.segments) == ((), None, ())


def test_a_web_page_is_its_source() -> None:
    found = look(b"<!DOCTYPE html><html><script>alert(1)</script></html>")
    assert (found.kind, found.label) == ("text", "HTML source")
    assert "never displays it as one" in found.notes[0]


@pytest.mark.parametrize("body", [b"<a><b>", b'{"a": [1,'])
def test_what_is_cut_is_not_laid_out(body: bytes) -> None:
    found = look(body, truncated=True)
    assert found.kind == "text"
    assert "Only the beginning was read" in found.notes[0]


# --- Hostile ------------------------------------------------------------------------------------------------------------
BOMB = b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'lol'>%s]><l>&j;</l>" % b"".join(
    b"<!ENTITY %c '%s'>" % (98 + number, b"&%c;" % (97 + number) * 10) for number in range(9)
)
FETCH = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
REMOTE = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>'
PARAMETER = b'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><x/>'


@pytest.mark.parametrize("body", [BOMB, FETCH, REMOTE, PARAMETER])
def test_declarations_are_refused_and_nothing_is_expanded_or_fetched(body: bytes) -> None:
    began = time.monotonic()
    found = look(body)
    assert found.kind == "text"
    assert "The portal never follows such declarations." in found.notes[0]
    assert "root:" not in found.text
    assert len(found.text) < 2 * len(body)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        b"<a>" * 80_000,
        b"<a>" * 30_000 + b"</a>" * 30_000,
        b"x" * 256_000,
        b'"' * 256_000,
        b"a," * 128_000,
        b'"a,' * 80_000,
        b"UNB+" + b"?" * 250_000,
        b"UNB+" + b"+" * 250_000,
        b"UNB+" + b"'" * 250_000,
        b"\n" * 256_000,
        b"\xe2\x80\xae" * 80_000,
        b"[" + b"1e9999," * 30_000 + b"1]",
        b"<" + b"a" * 250_000 + b"/>",
        b"<a " + b" ".join(b"x%d='1'" % number for number in range(15_000)) + b"/>",
        b'["' + b"\\u0000" * 40_000 + b'"]',
        zlib.compress(b"0" * 1_000_000),
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize("file_name", ["", "x.csv"])
def test_depth_and_length_cost_no_more_than_the_bytes(body: bytes, file_name: str) -> None:
    began = time.monotonic()
    found = look(body, file_name=file_name)
    assert time.monotonic() - began < 5
    _bounded(found)


def test_one_huge_line_is_folded() -> None:
    found = look(b"x" * 5_000)
    assert [len(line) for line in found.lines] == [FOLD_AT] * 5


def test_what_hides_or_reorders_is_marked() -> None:
    found = look(("x" * 200 + "\nsafe\u202egpj.exe\u200b\x07").encode())
    assert found.lines[1:] == ("safe[U+202E]gpj.exe[U+200B][U+0007]",)


def _bounded(found: Preview) -> None:
    """What reaches the page is harmless text of bounded size."""
    texts = [found.label, found.encoding, *found.notes, *found.lines]
    assert len(found.lines) <= MAX_LINES
    if found.table is not None:
        assert len(found.table.rows) <= module.MAX_ROWS
        assert all(len(row) == len(found.table.columns) <= module.MAX_COLUMNS for row in found.table.rows)
        texts += [cell for row in found.table.rows for cell in row]
    assert len(found.segments) <= module.MAX_SEGMENTS
    for segment in found.segments:
        texts += [segment.tag, segment.meaning, *segment.elements]
    # A mark such as [U+202E] is eight or ten characters for one.
    assert sum(len(text) for text in texts) < 11 * MAX_CHARACTERS
    for text in texts:
        assert text == visible(text)
        text.encode("utf-8")  # No half of a surrogate pair, which no page could be sent with.
    assert sum(1 for part in (found.lines, found.table, found.segments) if part) <= 1


STRUCTURED = st.text(alphabet="<>/=\"'[]{}:,?+\\&;!-\n\t UNABZabc01é\u202e\x00\x1c", max_size=400)


@settings(max_examples=400, deadline=None)
@given(
    body=st.one_of(
        st.binary(max_size=2_000),
        STRUCTURED.map(str.encode),
        STRUCTURED.map(lambda text: ("UNA:+.? '" + text).encode()),
        STRUCTURED.map(lambda text: ("<a>" + text).encode()),
        STRUCTURED.map(lambda text: ('{"a":' + text).encode()),
        STRUCTURED.map(lambda text: text.encode("utf-16")),
    ),
    truncated=st.booleans(),
    file_name=st.one_of(st.sampled_from(["", "x.csv", "x.tsv", "x.xml"]), st.text(max_size=20)),
    content_type=st.one_of(st.sampled_from(["", "text/csv", "application/json"]), st.text(max_size=20)),
)
@example(body=b"UNA", truncated=False, file_name="", content_type="")
@example(body=b"UNA:+.?", truncated=True, file_name="", content_type="")
@example(body=b"\xff\xfe", truncated=False, file_name="", content_type="")
@example(body=b"\xff\xfe\x00", truncated=False, file_name="", content_type="")
@example(body="\ud800".encode("utf-16-le", "surrogatepass"), truncated=False, file_name="", content_type="")
def test_whatever_the_bytes_the_preview_never_raises(body: bytes, truncated: bool, file_name: str, content_type: str) -> None:
    _bounded(look(body, truncated=truncated, file_name=file_name, content_type=content_type))


@given(st.text(max_size=300))
def test_nothing_hidden_is_left(text: str) -> None:
    assert visible(visible(text)) == visible(text)
    assert visible(without_hidden(text)) == without_hidden(text)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=30,
    )
)
def test_json_that_is_laid_out_is_still_the_same_json(value: object) -> None:
    import json

    from messages.indent import json_lines

    lines, _resource = json_lines(json.dumps(value))
    assert json.loads("\n".join(lines)) == value
