"""One connection of the double: reading requests, carrying them out, spoiling and writing the answers."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol, cast

from meshportal.demo.pki import CLIENT_DOMAIN

from . import inbox, outbox
from .answers import Answer, Refusal, canned
from .bodies import EMPTY, Body, Memory, OnDisk, compress
from .faults import Action, Faults
from .recorder import Record, Recorder
from .routes import Call, Route, api_version, parse
from .state import State

HANDLERS: dict[str, Callable[[Call], Answer]] = {
    "handshake": inbox.handshake,
    "list": inbox.list_inbox,
    "count": inbox.count,
    "head": inbox.head,
    "get": inbox.get,
    "get_chunk": inbox.get,
    "acknowledge": inbox.acknowledge,
    "send": outbox.send,
    "send_chunk": outbox.send_chunk,
    "track": outbox.track,
    "track_local": outbox.track_local,
    "lookup": outbox.lookup,
    "search": outbox.search,
    "ping": outbox.ping,
}
_IN_MEMORY = 1 << 20


class Cut(Exception):
    """The connection is to be closed without a (full) answer."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("connection cut")
        self.reset = reset


class Serving(Protocol):
    """What a connection needs of its server."""

    state: State
    faults: Faults
    recorder: Recorder
    stopping: threading.Event
    errors: list[str]

    def new_file(self) -> Path:
        """A path for a large request body."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, client_address: Any, server: Any, number: int) -> None:
        self.number = number
        super().__init__(connection, client_address, server)

    @property
    def double(self) -> Serving:
        """The server, under the type it has."""
        return cast(Serving, self.server)

    def setup(self) -> None:
        """Limit how long the connection may stay silent."""
        super().setup()
        self.connection.settimeout(self.double.state.settings.idle_timeout)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the recorder keeps what matters."""

    def do_GET(self) -> None:
        """Serve one request of any method."""
        route = parse(self.command, self.path)
        token = (self.headers.get("Authorization") or "").split(":")
        record = self.double.recorder.begin(
            connection=self.number,
            certificate=common_name(self.connection),
            method=self.command,
            path=self.path,
            route=route.name,
            mailbox=route.mailbox,
            message_id=route.message_id,
            chunk=route.chunk_number,
            query=route.query,
            nonce=token[1] if len(token) > 1 else "",
            user_agent=self.headers.get("User-Agent") or "",
        )
        try:
            self._exchange(route, record)
        except Cut:
            self.close_connection = True
            raise
        except OSError:
            record.reason = record.reason or "the client left"
            raise
        except Exception:
            record.reason = "internal error"
            self.double.errors.append(traceback.format_exc())
            raise
        finally:
            self.double.recorder.finish(record)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def _exchange(self, route: Route, record: Record) -> None:
        version, actions, refusal = 2, [], None
        call = Call(self.double.state, route, self.command, self.headers, version, route.mailbox)
        with self.double.state.lock:
            self.double.state.expire()
        try:
            call.version = version = api_version(self.headers.get("Accept") or "")
            self._authorise(call, record)
            actions = self.double.faults.hits(self._facts(route, record))
        except Refusal as error:
            refusal = error
        record.faults = [str(action["kind"]) for action in actions]
        self._before(actions)
        try:
            call.body = self._read(actions, record)
            if refusal is not None:
                raise refusal
            answer = self._carried_out(call, actions)
        except Refusal as error:
            record.reason = error.reason
            answer = error.answer(version)
        self._drop_or_hang(actions, "after")
        self._write(answer, actions, record)

    def _facts(self, route: Route, record: Record) -> dict[str, Any]:
        return {
            "mailbox": route.mailbox or None,
            "route": route.name,
            "message_id": route.message_id or None,
            "method": self.command,
            "chunk": route.chunk_number,
            "certificate": record.certificate or None,
        }

    def _authorise(self, call: Call, record: Record) -> None:
        name, state = call.route.name, self.double.state
        if name in {"ping", "unknown"}:
            return
        if name in {"lookup", "search"} and not state.settings.lookup_needs_token:
            return
        in_path = None if name in {"lookup", "search"} else call.route.mailbox
        mailbox = state.check_token(self.headers.get("Authorization") or "", in_path)
        call.mailbox = mailbox.mailbox_id
        record.mailbox = mailbox.mailbox_id
        bound = mailbox.certificates | {f"{mailbox.mailbox_id}.{mailbox.ods_code}.{CLIENT_DOMAIN}"}
        if state.settings.bind_certificates and record.certificate not in bound:
            raise Refusal(403, "", "", "Certificate does not match mailbox", reason="certificate not bound")

    def _carried_out(self, call: Call, actions: list[Action]) -> Answer:
        replaced = [action for action in actions if action["kind"] in {"status", "redirect"}]
        answer: Answer | None = None
        if not replaced or replaced[-1].get("processed"):
            handler = HANDLERS.get(call.route.name)
            if handler is None:
                raise Refusal(404, "", "", "Not Found", reason="unknown route")
            answer = handler(call)
        if not replaced:
            return cast(Answer, answer)
        action = replaced[-1]
        if action["kind"] == "redirect":
            return Answer(action["code"], [("Location", action["location"])])
        answer = canned(
            action["code"],
            action["body"],
            version=call.version,
            event=action["event"],
            code=action["error_code"],
            message=action["message"],
        )
        if action["retry_after"] is not None:
            answer.set_header("Retry-After", action["retry_after"])
        return answer

    def _before(self, actions: list[Action]) -> None:
        for action in actions:
            if action["kind"] == "delay":
                self.double.stopping.wait(action["seconds"])
        self._drop_or_hang(actions, "before_body")

    def _drop_or_hang(self, actions: list[Action], when: str) -> None:
        for action in actions:
            if action.get("when") == when:
                if action["kind"] == "hang":
                    self.double.stopping.wait(action["seconds"])
                raise Cut(reset=bool(action.get("reset")))

    def _read(self, actions: list[Action], record: Record) -> Body:
        length = self.headers.get("Content-Length")
        drop = next((action for action in actions if action.get("when") == "during_body"), None)
        if drop is not None and length is None:
            raise Cut(reset=bool(drop["reset"]))
        transfer = bool(self.headers.get("Transfer-Encoding"))
        if transfer:
            pieces = self._transfer_pieces()
        elif length is None:
            return EMPTY
        elif length.isascii() and length.isdigit():
            pieces = self._pieces(int(length))
        else:
            self.close_connection = True
            raise Refusal(400, "", "", "Invalid Content-Length", reason="bad Content-Length")
        most = self.double.state.settings.max_body
        kept: list[bytes] = []
        path: Path | None = None
        for piece in pieces:
            record.bytes_in += len(piece)
            if drop is not None and record.bytes_in >= int(length or 0) // 2:
                raise Cut(reset=bool(drop["reset"]))
            if record.bytes_in > most:
                kept.clear()
                continue
            kept.append(piece)
            if path is not None or record.bytes_in > _IN_MEMORY:
                path = path or self.double.new_file()
                with path.open("ab") as stream:
                    stream.write(b"".join(kept))
                kept.clear()
        if transfer and not self.double.state.settings.transfer_chunked:
            raise Refusal(411, "SEND", "", "Content-Length is required", reason="transfer-encoded body")
        if record.bytes_in > most:
            raise Refusal(413, "SEND", "", "Request body is too large", reason="body above the limit")
        return OnDisk(path, record.bytes_in) if path is not None else Memory(b"".join(kept))

    def _pieces(self, length: int) -> Iterator[bytes]:
        left = length
        while left:
            piece = self.rfile.read1(min(left, 1 << 18))
            if not piece:
                raise ConnectionError("the body ended early")
            left -= len(piece)
            yield piece

    def _transfer_pieces(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(100).partition(b";")[0], 16):
            yield from self._pieces(size)
            self.rfile.readline(10)
        while self.rfile.readline(1000).strip():
            pass

    def _write(self, answer: Answer, actions: list[Action], record: Record) -> None:
        pace: Action | None = None
        skew = 0.0
        cut: Action | None = None
        for action in actions:
            match action["kind"]:
                case "drip":
                    pace = action
                case "skew_date":
                    skew = action["seconds"]
                case "truncate":
                    cut = action
                case "header":
                    answer.set_header(action["name"], action["value"])
        if cut is not None and cut.get("gzip") and answer.header("Content-Encoding") != "gzip":
            answer.body = compress(answer.body)
            answer.set_header("Content-Encoding", "gzip")
        size = declared = answer.body.size
        if cut is not None:
            size = min(size, int(cut["keep"] if cut["keep"] >= 1 else size * cut["keep"]))
            declared = size if cut["declare"] == "actual" else declared
        answer.set_header("Content-Length", str(declared))
        date = self.double.state.clock.now() + timedelta(seconds=skew)
        answer.set_header("Date", format_datetime(date.replace(microsecond=0), usegmt=True))
        if self.close_connection:
            answer.set_header("Connection", "close")
        record.status = answer.status
        head = f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('Status',))[0]}\r\n".encode()
        head += b"".join(_header_line(name, value) for name, value in answer.headers) + b"\r\n"
        if self.command == "HEAD":
            size = declared = 0
        if cut is not None and cut["declare"] == "full" and not declared:
            # Within the status line: some clients take a cut header block for the end of it.
            self.wfile.write(head[:9])
            raise Cut(reset=bool(cut.get("reset")))
        self._pour(head, answer.body, size, pace, record)
        if size < declared:
            raise Cut(reset=bool(cut and cut.get("reset")))

    def _pour(self, head: bytes, body: Body, size: int, pace: Action | None, record: Record) -> None:
        if pace is not None or size == 0:
            if size == 0:
                record.ended = time.monotonic()
            self.wfile.write(head)
            head = b""
        left = size
        step = int(pace["block"]) if pace is not None else 1 << 30
        for block in body.blocks() if size else ():
            for start in range(0, min(len(block), left), step):
                piece = block[start : start + min(step, left)]
                left -= len(piece)
                record.bytes_out += len(piece)
                if not left:
                    record.ended = time.monotonic()
                self.wfile.write(head + piece if head else piece)
                head = b""
                if pace is not None and self.double.stopping.wait(float(pace["interval"])):
                    raise Cut
            if not left:
                return


def common_name(connection: Any) -> str:
    """The common name of a client's certificate; empty without one."""
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    for part in (certificate or {}).get("subject", ()):
        for name, value in cast(Any, part):
            if name == "commonName":
                return str(value)
    return ""


def _header_line(name: str, value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        raw = value
    else:
        try:
            raw = value.encode("latin-1")
        except UnicodeEncodeError:
            raw = value.encode()
    return name.encode("ascii") + b": " + raw + b"\r\n"
