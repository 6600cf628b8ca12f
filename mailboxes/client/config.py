"""``meshclient.cfg`` of the MESH client, read without a database.

The document is ``MESHConfig`` with its settings as elements, and one ``Client`` for each mailbox (NHS England, “MESH client:
advanced and other settings”). It comes from anybody who was asked for it, so it is small or refused, and no document type is
read, so that no entity expands.

| the file | what is raised |
|---|---|
| larger than 256 KiB, more than 500 clients, nested deeply, a value of more than 1,000 characters | ConfigError |
| a document type, so any entity of its own | ConfigError with its line |
| no XML, cut anywhere, an encoding that is not known | ConfigError with the line |
| another document | ConfigError with the line of its first element |
| a setting twice, another element inside a value, a client within a client | ConfigError with the line |
| no client; a client without an ID, with one that is none, or with that of another | ConfigError with the line |
| a switch that is neither Y nor N, a period that is no number | ConfigError with the line |
| a setting that is not documented | nothing: it stands among the settings, with ``known`` false |

Sentences name elements and lines, and never quote a value: it may be a password.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

LIMIT = 256 * 1024
VALUE_LIMIT = 1000
MOST_CLIENTS = 500
_ROOT, _CLIENT = "MESHConfig", "Client"
_DEPTH = 4
_ENCODINGS = frozenset({"utf-8", "utf-16", "us-ascii", "ascii", "iso-8859-1", "windows-1252"})
_MAILBOX_ID = re.compile(r"[A-Z0-9]{1,100}")
# What other Java programs write round a value that they encrypted; the client's own way is not documented.
_MARKED = re.compile(r"(?i)(ENC\(.*\)|\{(enc|aes|des|cipher|crypt)[^}]*\}.*|encrypted:.*)", re.DOTALL)

GENERAL = frozenset(
    {
        "PrimaryURL", "LogPath", "KeyStorePath", "KeyStorePassword", "WorkPath", "ProxyPath", "SignalPath", "PollPeriod",
        "ServerRetry", "MaxMessages", "MaxConnections", "AutoUpgrade", "AuthenticationKey", "ProcessingDelay",
    }
)  # fmt: skip
SWITCHES = ("CollectReport", "DelayReport", "TransferReport", "PollReport", "SaveSent")
OF_CLIENT = frozenset(
    {"ClientIdentity", "ClientAuthentication", "InterfaceRoot", "ClientLogLevel", "MailboxType", *SWITCHES}
)  # fmt: skip
SECRET = frozenset({"KeyStorePassword", "ClientAuthentication", "AuthenticationKey"})


class ConfigError(ValueError):
    """The file cannot be used, in a sentence. ``line`` is where, 0 for the file as a whole."""

    def __init__(self, sentence: str, line: int = 0) -> None:
        super().__init__(f"Line {line}: {sentence}" if line else sentence)
        self.line = line


@dataclass(frozen=True)
class Setting:
    """One element with its value. ``known``: it is documented at this place. ``encrypted``: the value is no plain text."""

    name: str
    line: int
    value: str = field(repr=False)
    known: bool
    encrypted: bool = False


@dataclass(frozen=True)
class ClientOf:
    """What the file says of one mailbox. ``password`` is '' where it must be typed."""

    mailbox_id: str
    line: int
    settings: Mapping[str, Setting]

    def value(self, name: str) -> str:
        """The value of a setting, '' when it is not there."""
        found = self.settings.get(name)
        return found.value if found else ""

    @property
    def password(self) -> str:
        return plain(self.settings.get("ClientAuthentication"))


@dataclass(frozen=True)
class Config:
    """A whole file: its general settings by name, and its clients in their order."""

    settings: Mapping[str, Setting]
    clients: tuple[ClientOf, ...]

    @property
    def passphrase(self) -> str:
        """The one of the keystore, '' where it must be typed."""
        return plain(self.settings.get("KeyStorePassword"))

    @property
    def poll_minutes(self) -> int | None:
        """How often the client polls, None where the file does not say."""
        found = self.settings.get("PollPeriod")
        return int(found.value) if found and found.value else None


def plain(secret: Setting | None) -> str:
    """The value of a secret that can be used as it stands, else ''."""
    return "" if secret is None or secret.encrypted else secret.value


def parse(data: bytes) -> Config:
    """The configuration that ``data`` is. Raises ConfigError."""
    if len(data) > LIMIT:
        raise ConfigError(f"The file is larger than {LIMIT // 1024} KiB, which no meshclient.cfg needs to be.")
    parser = expat.ParserCreate()
    parser.buffer_text = True
    reader = _Reader(parser)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ConfigError(f"this is not well-formed XML: {expat.ErrorString(error.code)}.", error.lineno) from None
    except (LookupError, UnicodeError):
        raise ConfigError("The file names an encoding that is not known. Save it in UTF-8.") from None
    return reader.config()


class _Reader:
    def __init__(self, parser: expat.XMLParserType) -> None:
        self._parser = parser
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        self._path: list[str] = []
        self._general: dict[str, Setting] = {}
        self._clients: list[tuple[int, dict[str, Setting]]] = []
        self._pieces: list[str] = []
        self._length = 0
        self._begun: list[int] = []
        self._marked = False

    @property
    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    @property
    def _in_value(self) -> bool:
        return len(self._path) == 3 or (len(self._path) == 2 and self._path[1] != _CLIENT)

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise ConfigError("the file names an encoding that is not known. Save it in UTF-8.", self._line)

    def _doctype(self, *_facts: object) -> None:
        raise ConfigError("the file has a document type (DOCTYPE), which is not allowed. Leave it out.", self._line)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._path and name != _ROOT:
            raise ConfigError(f"a meshclient.cfg begins with the element {_ROOT}, and this file does not.", self._line)
        if len(self._path) >= _DEPTH or (self._in_value and self._path):
            # What an undocumented element holds is passed over with it, as long as it is not deep.
            if len(self._path) >= _DEPTH or self._path[-1] in GENERAL | OF_CLIENT:
                raise ConfigError(f"{_tame(self._path[-1])} holds another element where its value should stand.", self._line)
        elif self._path == [_ROOT, _CLIENT] and name == _CLIENT:
            raise ConfigError("a Client stands within another one. Is the end of the first missing?", self._line)
        self._path.append(name)
        self._begun.append(self._line)
        if self._path == [_ROOT, _CLIENT]:
            if len(self._clients) >= MOST_CLIENTS:
                raise ConfigError(f"the file has more than {MOST_CLIENTS} clients. Divide it.", self._line)
            self._clients.append((self._line, {}))
        elif self._in_value:
            self._pieces, self._length = [], 0
            self._marked = any(key.lower() == "encrypted" and not _no(value) for key, value in attributes.items())

    def _text(self, text: str) -> None:
        if not self._in_value:
            if text.strip() and len(self._path) < 3:
                raise ConfigError("text stands outside of any setting.", self._line)
            return
        self._length += len(text)
        if self._length > VALUE_LIMIT:
            raise ConfigError(f"{_tame(self._path[-1])} is longer than {VALUE_LIMIT} characters.", self._begun[-1])
        self._pieces.append(text)

    def _end(self, name: str) -> None:
        begun = self._begun.pop()
        if self._in_value:
            here = self._general if len(self._path) == 2 else self._clients[-1][1] if self._path[1] == _CLIENT else {}
            known = name in (GENERAL if len(self._path) == 2 else OF_CLIENT)
            if name in here and known:
                raise ConfigError(f"{name} stands here a second time: first in line {here[name].line}.", begun)
            value = "".join(self._pieces).strip()
            encrypted = name in SECRET and (self._marked or _looks_encrypted(value))
            key = name if known else f"{_tame(name)} {begun}"
            here[key] = Setting(_tame(name), begun, value if known else "", known, encrypted)
        self._path.pop()

    def config(self) -> Config:
        if not self._clients:
            raise ConfigError("The file has no Client, so no mailbox.")
        _number(self._general.get("PollPeriod"))
        seen: dict[str, int] = {}
        clients = []
        for line, settings in self._clients:
            clients.append(_client(line, settings))
            mailbox_id = clients[-1].mailbox_id
            if mailbox_id in seen:
                raise ConfigError(f"this Client has the same ClientIdentity as that in line {seen[mailbox_id]}.", line)
            seen[mailbox_id] = line
        return Config(self._general, tuple(clients))


def _client(line: int, settings: dict[str, Setting]) -> ClientOf:
    identity = settings.get("ClientIdentity")
    if identity is None or not identity.value:
        raise ConfigError("this Client has no ClientIdentity, the mailbox ID.", line)
    mailbox_id = identity.value.upper()
    if not _MAILBOX_ID.fullmatch(mailbox_id):
        raise ConfigError("ClientIdentity is no mailbox ID: those are letters and digits without spaces.", identity.line)
    for name in SWITCHES:
        switch = settings.get(name)
        if switch is not None and switch.value.upper() not in ("Y", "N", ""):
            raise ConfigError(f"{name} is neither Y nor N.", switch.line)
    return ClientOf(mailbox_id, line, settings)


def _number(period: Setting | None) -> None:
    if period is not None and period.value and not re.fullmatch(r"[0-9]{1,6}", period.value):
        raise ConfigError("PollPeriod is no number of minutes.", period.line)


def _no(value: str) -> bool:
    return value.strip().lower() in ("", "n", "no", "false", "0")


def _looks_encrypted(value: str) -> bool:
    """A mark round it, or base 64 of what is no text. A password that happens to look so is typed, which does no harm."""
    if _MARKED.fullmatch(value):
        return True
    if len(value) < 20 or len(value) % 4:
        return False
    try:
        return not base64.b64decode(value, validate=True).isascii()
    except (binascii.Error, ValueError):
        return False


def _tame(name: str) -> str:
    """The name of an element that somebody wrote, short enough for a sentence."""
    return name if len(name) <= 40 else f"{name[:40]}…"
