"""Control files (``.ctl``) of the MESH client: the XML beside each ``.dat`` that says whose it is and what became of it.

Elements and their order as the client writes them, and as systems that share its folders read them. A file comes from
anybody who may write into the folder: it is small or refused, and no document type is read, so that no entity expands.

| the file | what is raised |
|---|---|
| ends before its end (empty, or cut anywhere) | ControlError with ``incomplete``: somebody may still be writing it |
| larger than 64 KiB, nested deeply, a value of more than 2,000 characters | ControlError |
| a document type, so any entity of its own | ControlError, at its first line |
| no XML, another XML, an encoding that is not known | ControlError with line and column |
| an element twice, another inside a value, neither Y nor N, a date that is none | ControlError that names the element |
| elements that nobody knows | nothing: they are passed over |

Sentences name elements and places, and never quote a value: a subject can hold patient data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.parsers import expat
from zoneinfo import ZoneInfo

LIMIT = 64 * 1024
VALUE_LIMIT = 2000
_DEPTH = 8
_ROOT = "DTSControl"
_RECORD = "StatusRecord"
# The client writes the time of the wall: beside a message ID of 16:04 UTC in August stands 17:04.
_WALL = ZoneInfo("Europe/London")
_MOMENT = "%Y%m%d%H%M%S"
# All that XML 1.0 can carry, character references included.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENCODINGS = frozenset({"utf-8", "utf-16", "us-ascii", "ascii", "iso-8859-1", "windows-1252"})
_CUT = frozenset(
    expat.errors.codes[text]
    for text in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)


class ControlError(ValueError):
    """The file is no control file, in a sentence. ``incomplete``: it may become one when its writer has finished."""

    def __init__(self, sentence: str, *, incomplete: bool = False) -> None:
        super().__init__(sentence)
        self.incomplete = incomplete


@dataclass(frozen=True, kw_only=True)
class StatusRecord:
    """What became of the message. ``event``: SEND, TRANSFER, RECEIVE or COLLECT; ``status``: SUCCESS or ERROR; ``code``:
    MESH's, 00 for success. ``at`` has a zone, and whole seconds."""

    at: datetime | None = None
    event: str = ""
    status: str = ""
    code: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control file. '' and None: the element is missing or empty.

    ``address_type``: DTS (the mailbox ID in ``to_dts``), SMTP (the address in ``to_esmtp``) or ALL (both).
    ``message_type``: Data or Report.
    """

    version: str = "1.0"
    address_type: str = "DTS"
    message_type: str = "Data"
    from_dts: str = ""
    to_dts: str = ""
    from_esmtp: str = ""
    to_esmtp: str = ""
    subject: str = ""
    local_id: str = ""
    dts_id: str = ""
    partner_id: str = ""
    compress: bool | None = None
    allow_chunking: bool | None = None
    encrypted: bool | None = None
    workflow_id: str = ""
    process_id: str = ""
    data_checksum: str = ""
    is_compressed: bool | None = None
    status_record: StatusRecord | None = None


# In the order in which they are written.
_TEXTS = {
    "Version": "version",
    "AddressType": "address_type",
    "MessageType": "message_type",
    "From_DTS": "from_dts",
    "To_DTS": "to_dts",
    "From_ESMTP": "from_esmtp",
    "To_ESMTP": "to_esmtp",
    "Subject": "subject",
    "LocalId": "local_id",
    "DTSId": "dts_id",
    "PartnerId": "partner_id",
    "Compress": "compress",
    "AllowChunking": "allow_chunking",
    "Encrypted": "encrypted",
    "WorkflowId": "workflow_id",
    "ProcessId": "process_id",
    "DataChecksum": "data_checksum",
    "IsCompressed": "is_compressed",
}
_FLAGS = frozenset({"Compress", "AllowChunking", "Encrypted", "IsCompressed"})
# Left out when empty, as the client does; the others stand there empty.
_LEFT_OUT = frozenset({"From_ESMTP", "To_ESMTP", *_FLAGS})
_RECORD_TEXTS = {"DateTime": "at", "Event": "event", "Status": "status", "StatusCode": "code", "Description": "description"}


def parse(data: bytes) -> Control:
    """The control file that ``data`` is. Blanks around values are taken off. Raises ControlError."""
    if len(data) > LIMIT:
        raise ControlError(f"The control file is larger than {LIMIT // 1024} KiB, which none needs to be.")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.XmlDeclHandler = reader.declared
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset + 1}"
        if error.code in _CUT:
            raise ControlError(f"The control file ends before its end, at {where}.", incomplete=True) from None
        raise ControlError(f"The control file is not well-formed XML at {where}: {expat.ErrorString(error.code)}.") from None
    except (LookupError, UnicodeError) as error:
        raise ControlError("The control file names an encoding that is not known.") from error
    return reader.control()


class _Reader:
    """Collects the values of one file."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._values: dict[str, str] = {}
        self._record: dict[str, str] | None = None
        self._pieces: list[str] = []
        self._length = 0

    def declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise ControlError("The control file names an encoding that is not known. Write it in UTF-8.")

    def doctype(self, *_facts: object) -> None:
        raise ControlError("The control file has a document type (DOCTYPE), which is not allowed. Leave it out.")

    def start(self, name: str, _attributes: object) -> None:
        if not self._path and name != _ROOT:
            raise ControlError(f"The control file does not begin with the element {_ROOT}.")
        if len(self._path) >= _DEPTH:
            raise ControlError("The control file nests its elements too deeply.")
        if known := self._known():
            raise ControlError(f"{known} holds another element where its value should stand.")
        self._path.append(name)
        self._pieces, self._length = [], 0
        if self._path == [_ROOT, _RECORD]:
            if self._record is not None:
                raise ControlError(f"{_RECORD} stands in the control file twice.")
            self._record = {}

    def text(self, text: str) -> None:
        if not (known := self._known()):
            return
        self._length += len(text)
        if self._length > VALUE_LIMIT:
            raise ControlError(f"{known} is longer than {VALUE_LIMIT} characters.")
        self._pieces.append(text)

    def end(self, name: str) -> None:
        if known := self._known():
            values = self._values if len(self._path) == 2 else self._record
            if values is None or name in values:
                raise ControlError(f"{known} stands in the control file twice.")
            values[name] = "".join(self._pieces).strip()
        self._path.pop()

    def _known(self) -> str:
        """The name of the element that is open, when it is one whose value is kept."""
        match self._path:
            case [_, name] if name in _TEXTS:
                return name
            case [_, record, name] if record == _RECORD and name in _RECORD_TEXTS:
                return name
        return ""

    def control(self) -> Control:
        facts: dict[str, str | bool | None] = {}
        for name, field in _TEXTS.items():
            if name in _FLAGS:
                facts[field] = _flag(name, self._values.get(name, ""))
            else:
                facts[field] = self._values.get(name, "")
        record = None
        if self._record is not None:
            texts = {field: self._record.get(name, "") for name, field in _RECORD_TEXTS.items() if field != "at"}
            record = StatusRecord(at=_moment(self._record.get("DateTime", "")), **texts)
        return Control(status_record=record, **facts)  # type: ignore[arg-type]


def _flag(name: str, text: str) -> bool | None:
    word = text.upper()
    if word not in ("", "Y", "N"):
        raise ControlError(f"{name} is neither Y nor N.")
    return word == "Y" if word else None


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        if len(text) != 14 or not (text.isascii() and text.isdigit()):
            raise ValueError
        return datetime.strptime(text, _MOMENT).replace(tzinfo=_WALL).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ControlError("DateTime is no time such as 20261124153000.") from None


def render(control: Control) -> bytes:
    """``control`` as a file, in ASCII, so that a reader may take it for UTF-8 or for Windows' own encoding.

    What XML cannot carry becomes U+FFFD. Raises ValueError for a time without a zone.
    """
    lines = [f"<{_ROOT}>"]
    for name, field in _TEXTS.items():
        value = getattr(control, field)
        if not value and value is not False and name in _LEFT_OUT:
            continue
        lines.append("  " + _element(name, ("Y" if value else "N") if name in _FLAGS else value))
    if (record := control.status_record) is not None:
        lines.append(f"  <{_RECORD}>")
        for name, field in _RECORD_TEXTS.items():
            value = getattr(record, field)
            lines.append("    " + _element(name, _written(value) if field == "at" else value))
        lines.append(f"  </{_RECORD}>")
    lines.append(f"</{_ROOT}>\n")
    return "\n".join(lines).encode("ascii", "xmlcharrefreplace")


def _written(at: datetime | None) -> str:
    if at is None:
        return ""
    if at.tzinfo is None:
        raise ValueError("The time of a status record needs a zone.")
    local = at.astimezone(_WALL)
    return f"{local.year:04}{local:%m%d%H%M%S}"


def _element(name: str, value: str) -> str:
    text = _NOT_XML.sub("\ufffd", value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare carriage return would be read as a line feed.
    return f"<{name}>{text.replace(chr(13), '&#13;')}</{name}>"
