"""Control files: what the client and others write is read, what is wrong gets a sentence, and a cut file is told apart."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.ctl import LIMIT, VALUE_LIMIT, Control, ControlError, StatusRecord, parse, render

quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# As suppliers' systems write them: no declaration, flags in capitals, elements that only some clients know.
TO_SEND = b"""<DTSControl>
<Version>1.0</Version>
<AddressType>DTS</AddressType>
<MessageType>Data</MessageType>
<WorkflowId>TOC_FHIR_OP_ATTEN</WorkflowId>
<To_DTS>X26HC002</To_DTS>
<From_DTS>X26HC001</From_DTS>
<Subject>Letter &amp; enclosure</Subject>
<LocalId>L-1</LocalId>
<Compress>Y</Compress>
<AllowChunking>Y</AllowChunking>
<Encrypted>N</Encrypted>
</DTSControl>"""
RECEIVED = b"""\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>
<DTSControl>
  <Version>1.0</Version>
  <AddressType>ALL</AddressType>
  <MessageType>Data</MessageType>
  <From_DTS>X26HC010</From_DTS>
  <To_DTS>X26OT002</To_DTS>
  <From_ESMTP>x26hc010@example.test</From_ESMTP>
  <To_ESMTP>x26ot002@example.test</To_ESMTP>
  <Subject/>
  <DTSId>20180808160418053343_B8CF9A</DTSId>
  <PartnerId></PartnerId>
  <SomethingNew><Deep>1</Deep></SomethingNew>
  <WorkflowId>WF</WorkflowId>
  <IsCompressed>N</IsCompressed>
  <StatusRecord>
    <DateTime>20180808170418</DateTime>
    <Event>TRANSFER</Event>
    <Status>SUCCESS</Status>
    <StatusCode>00</StatusCode>
    <Description>Transferred to recipient mailbox</Description>
  </StatusRecord>
</DTSControl>
"""


def test_what_is_to_be_sent_is_read() -> None:
    assert parse(TO_SEND) == Control(
        from_dts="X26HC001",
        to_dts="X26HC002",
        subject="Letter & enclosure",
        local_id="L-1",
        workflow_id="TOC_FHIR_OP_ATTEN",
        compress=True,
        allow_chunking=True,
        encrypted=False,
    )


def test_what_was_received_is_read_with_the_time_of_the_wall() -> None:
    control = parse(RECEIVED)
    assert (control.address_type, control.to_esmtp, control.subject) == ("ALL", "x26ot002@example.test", "")
    assert control.compress is None and control.is_compressed is False
    assert control.status_record == StatusRecord(
        at=datetime(2018, 8, 8, 16, 4, 18, tzinfo=UTC),
        event="TRANSFER",
        status="SUCCESS",
        code="00",
        description="Transferred to recipient mailbox",
    )


def test_a_file_is_written_as_the_client_writes_it() -> None:
    control = Control(
        from_dts="X26HC010",
        to_dts="X26OT002",
        subject="Café <1>",
        dts_id="20261124120000000001_ABCDEF",
        workflow_id="WF",
        is_compressed=False,
        status_record=StatusRecord(
            at=datetime(2026, 7, 1, 12, 0, tzinfo=UTC), event="TRANSFER", status="SUCCESS", code="00", description="Done"
        ),
    )
    assert render(control).decode("ascii") == (
        "<DTSControl>\n"
        "  <Version>1.0</Version>\n"
        "  <AddressType>DTS</AddressType>\n"
        "  <MessageType>Data</MessageType>\n"
        "  <From_DTS>X26HC010</From_DTS>\n"
        "  <To_DTS>X26OT002</To_DTS>\n"
        "  <Subject>Caf&#233; &lt;1&gt;</Subject>\n"
        "  <LocalId></LocalId>\n"
        "  <DTSId>20261124120000000001_ABCDEF</DTSId>\n"
        "  <PartnerId></PartnerId>\n"
        "  <WorkflowId>WF</WorkflowId>\n"
        "  <ProcessId></ProcessId>\n"
        "  <DataChecksum></DataChecksum>\n"
        "  <IsCompressed>N</IsCompressed>\n"
        "  <StatusRecord>\n"
        "    <DateTime>20260701130000</DateTime>\n"
        "    <Event>TRANSFER</Event>\n"
        "    <Status>SUCCESS</Status>\n"
        "    <StatusCode>00</StatusCode>\n"
        "    <Description>Done</Description>\n"
        "  </StatusRecord>\n"
        "</DTSControl>\n"
    )


def wrap(inside: str) -> bytes:
    return f"<DTSControl>{inside}</DTSControl>".encode()


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE DTSControl [<!ENTITY a "ha">'
    + b"".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">'.encode() for n in range(20))
    + b"]><DTSControl><Subject>&u;</Subject></DTSControl>"
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"\x00" * 200, "not well-formed XML at line 1, column 1", id="zeros, as a copy that was begun leaves"),
        pytest.param(b"To: X26HC001\n", "not well-formed XML at line 1, column 1", id="no XML"),
        pytest.param(b"<html></html>", "does not begin with the element DTSControl", id="another XML"),
        pytest.param(wrap("<To_DTS>A</From_DTS>"), "mismatched tag", id="tags that do not match"),
        pytest.param(TO_SEND + TO_SEND, "not well-formed XML at line 13", id="two files in one"),
        pytest.param(wrap("<Subject>\xe9</Subject>").decode().encode("latin-1"), "invalid token", id="not UTF-8"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?>' + TO_SEND, "an encoding that is not known", id="encoding"),
        pytest.param(b'<?xml version="1.0" encoding="utf-7"?>' + TO_SEND, "an encoding that is not known", id="odd encoding"),
        pytest.param(b'<?xml version="1.0" encoding="gb18030"?>' + TO_SEND, "an encoding that is not known", id="long chars"),
        pytest.param(wrap("<Subject>&nbsp;</Subject>"), "undefined entity", id="entity of HTML"),
        pytest.param(BOMB, "document type", id="entity bomb"),
        pytest.param(
            b'<!DOCTYPE DTSControl SYSTEM "file:///etc/passwd"><DTSControl/>', "document type", id="document type elsewhere"
        ),
        pytest.param(wrap("<To_DTS>A</To_DTS><To_DTS>B</To_DTS>"), "To_DTS stands in the control file twice", id="twice"),
        pytest.param(wrap("<StatusRecord/><StatusRecord/>"), "StatusRecord stands in the control file twice", id="two records"),
        pytest.param(wrap("<To_DTS><b>A</b></To_DTS>"), "To_DTS holds another element", id="markup in a value"),
        pytest.param(wrap("<Compress>yes</Compress>"), "Compress is neither Y nor N", id="no flag"),
        pytest.param(
            wrap("<StatusRecord><DateTime>20261332000000</DateTime></StatusRecord>"), "DateTime is no time", id="no date"
        ),
        pytest.param(wrap("<StatusRecord><DateTime>2026</DateTime></StatusRecord>"), "DateTime is no time", id="half a date"),
        pytest.param(wrap(f"<Subject>{'x' * (VALUE_LIMIT + 1)}</Subject>"), "Subject is longer than 2000", id="long value"),
        pytest.param(wrap("<a>" * 5000), "nests its elements too deeply", id="deep"),
        pytest.param(wrap(" " * LIMIT), "larger than 64 KiB", id="large"),
    ],
)
def test_what_is_wrong_gets_a_sentence_that_says_where(data: bytes, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(ControlError) as caught:
        parse(data)
    assert said in str(caught.value)
    assert not caught.value.incomplete
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("whole", [TO_SEND, RECEIVED])
def test_every_cut_is_told_apart_from_what_is_wrong(whole: bytes) -> None:
    for length in range(len(whole.rstrip())):
        with pytest.raises(ControlError) as caught:
            parse(whole[:length])
        assert caught.value.incomplete, length
        assert "ends before its end, at line" in str(caught.value)


def test_encodings_of_windows_are_read() -> None:
    said = '<?xml version="1.0" encoding="{}"?><DTSControl><Subject>Zo\xeb</Subject></DTSControl>'
    for name, codec in (("windows-1252", "cp1252"), ("ISO-8859-1", "latin-1"), ("UTF-16", "utf-16")):
        assert parse(said.format(name).encode(codec)).subject == "Zo\xeb"


TEXTS = st.text(st.characters(), max_size=80)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001


@quick
@given(TEXTS, TEXTS, st.none() | st.booleans(), st.none() | st.builds(StatusRecord, at=MOMENTS, description=TEXTS))
def test_what_is_written_is_read_again(subject: str, address: str, flag: bool | None, record: StatusRecord | None) -> None:
    """But for blanks around it, what XML cannot carry, and the hour that clocks go through twice."""
    control = Control(subject=subject, to_esmtp=address, compress=flag, status_record=record)
    again = parse(render(control))
    assert again.subject == clean(subject) and again.to_esmtp == clean(address) and again.compress is flag
    if record is not None and record.at is not None and again.status_record is not None and again.status_record.at is not None:
        assert abs((again.status_record.at - record.at).total_seconds()) in (0, 3600)
        assert again.status_record.description == clean(record.description)


def clean(text: str) -> str:
    kept = (
        one if one in "\t\n\r" or (one >= " " and not "\ud800" <= one <= "\udfff" and one not in "\ufffe\uffff") else "\ufffd"
        for one in text
    )
    return "".join(kept).strip()


PIECES = ["<DTSControl>", "</DTSControl>", "<To_DTS>", "</To_DTS>", "<!DOCTYPE", "[", "]>", "<![CDATA[", "&#0;", "&a;", "\0"]


@quick
@given(st.binary(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=20).map(lambda parts: "".join(parts).encode()))
def test_nothing_else_is_ever_raised(data: bytes) -> None:
    try:
        parse(data)
    except ControlError as error:
        assert str(error).startswith(("The control file", "To_DTS"))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        render(Control(status_record=StatusRecord(at=datetime(2026, 1, 1))))  # noqa: DTZ001
