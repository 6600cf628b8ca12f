"""Which operation a request asks for, and what a handler is told about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import parse_qsl, unquote, urlsplit

from .answers import Refusal
from .bodies import EMPTY, Body
from .state import State

BASE = "/messageexchange"
_VERSION = re.compile(r"application/vnd\.mesh\.v([^+;,\s]+)\+json")
# Method, path pattern (one name per segment), route name. The first that fits wins.
_ROUTES = (
    ("GET", "_ping", "ping"),
    ("GET", "endpointlookup/{ods}/{workflow}", "lookup"),
    ("GET", "workflowsearch/{workflow}", "search"),
    ("GET POST", "{mailbox}", "handshake"),
    ("GET", "{mailbox}/inbox", "list"),
    ("GET", "{mailbox}/count", "count"),
    ("HEAD", "{mailbox}/inbox/{message}", "head"),
    ("GET", "{mailbox}/inbox/{message}", "get"),
    ("GET", "{mailbox}/inbox/{message}/{chunk}", "get_chunk"),
    ("PUT", "{mailbox}/inbox/{message}/status/acknowledged", "acknowledge"),
    ("POST", "{mailbox}/outbox", "send"),
    ("GET", "{mailbox}/outbox/tracking", "track"),
    ("GET", "{mailbox}/outbox/tracking/{local}", "track_local"),
    ("POST", "{mailbox}/outbox/{message}/{chunk}", "send_chunk"),
)


@dataclass
class Route:
    """A request line taken apart; ``name`` is ``unknown`` when nothing fits."""

    name: str
    mailbox: str = ""
    message_id: str = ""
    chunk: str = ""
    local_id: str = ""
    ods_code: str = ""
    workflow_id: str = ""
    query: dict[str, str] = field(default_factory=dict)

    @property
    def chunk_number(self) -> int | None:
        """The chunk in the path, or None when there is none or it is not a number."""
        return int(self.chunk) if self.chunk.isascii() and self.chunk.isdigit() else None


@dataclass
class Call:
    """One authenticated request, as the handlers see it."""

    state: State
    route: Route
    method: str
    headers: Message
    version: int
    mailbox: str
    body: Body = EMPTY
    raw_size: int = 0

    def header(self, name: str) -> str:
        """A request header without surrounding blanks; empty when absent."""
        return (self.headers.get(name) or "").strip(" ")

    @property
    def accepts_gzip(self) -> bool:
        """Whether the client asked for gzip."""
        offered = [part.partition(";") for part in self.header("Accept-Encoding").lower().split(",")]
        return any(name.strip() == "gzip" and rest.replace(" ", "") != "q=0" for name, _, rest in offered)


def parse(method: str, target: str) -> Route:
    """Take a request line apart. Mailbox ids in the path are upper-cased, as the service does."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.path.startswith(BASE + "/"):
        return Route("unknown", query=query)
    segments = [unquote(segment) for segment in parts.path[len(BASE) + 1 :].split("/")]
    for methods, pattern, name in _ROUTES:
        wanted = pattern.split("/")
        if method not in methods.split() or len(wanted) != len(segments):
            continue
        found: dict[str, str] = {}
        for want, segment in zip(wanted, segments, strict=True):
            if want.startswith("{"):
                found[want.strip("{}")] = segment
            elif want != segment:
                break
        else:
            if all(found.values()):
                return Route(
                    name,
                    mailbox=found.get("mailbox", "").upper(),
                    message_id=found.get("message", "") or (query.get("messageID", "") if name == "track" else ""),
                    chunk=found.get("chunk", ""),
                    local_id=found.get("local", ""),
                    ods_code=found.get("ods", ""),
                    workflow_id=found.get("workflow", ""),
                    query=query,
                )
    return Route("unknown", query=query)


def api_version(accept: str) -> int:
    """The API version that an Accept header asks for; v1 when it asks for none. Raises Refusal 400."""
    versions = _VERSION.findall(accept)
    if not versions:
        return 1
    if not all(version.isdigit() for version in versions):
        raise Refusal(400, "", "", "Invalid accept header", reason="malformed Accept")
    return 1 if min(int(version) for version in versions) < 2 else 2
