"""The double as a test uses it: start, seed, spoil, look."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from meshportal.demo.pki import Pki, server_context

from .bodies import Body, Damage, Memory, Synthetic, compress, damage, decompress, digest, split
from .faults import Faults
from .recorder import Recorder
from .server import Server
from .state import Clock, Mailbox, Message, Settings, State

BodyLike = bytes | str | Body
Overrides = Mapping[str, str | bytes | None]


@dataclass(frozen=True)
class Put:
    """A seeded message: its id, and SHA-256 and length of the bytes that a correct client must end up with."""

    message_id: str
    sha256: str
    size: int


@dataclass(frozen=True)
class MessageInfo:
    """What the double knows of a message. Times are the double's, in ISO form."""

    message_id: str
    sender: str
    recipient: str
    workflow_id: str
    message_type: str
    status: str
    subject: str
    local_id: str
    file_name: str
    content_type: str
    gzip: bool
    total_chunks: int
    chunks: list[int]
    linked_message_id: str
    sent_at: str
    acknowledged_at: str | None
    acknowledgements: int
    downloads: int


class Double:
    """A strict stand-in for the MESH service on a loopback port.

    ``pki`` None serves plain HTTP. With ``pki``, a client certificate of its authority is demanded unless
    ``client_certificates`` is False. ``port`` 0 picks a free one, kept over ``down`` and ``up``. As a context manager
    it starts and stops. The clock, the settings and the rules may be changed while it runs.
    """

    def __init__(
        self,
        pki: Pki | None = None,
        *,
        port: int = 0,
        client_certificates: bool = True,
        shared_key: str = "TestKey",
        records: Path | None = None,
        record_limit: int = 200_000,
    ) -> None:
        self.state = State(shared_key)
        self.faults = Faults()
        self.recorder = Recorder(limit=record_limit, path=records)
        self.port = port
        self._tls = None
        if pki is not None:
            demanded = pki.authority.certificate_pem if client_certificates else None
            self._tls = server_context(pki.server, demanded)
        self._spool: Path | None = None
        self._server: Server | None = None
        self._past_errors: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a path."""
        return f"{'https' if self._tls is not None else 'http'}://localhost:{self.port}"

    @property
    def settings(self) -> Settings:
        """The switches; change them at any time."""
        return self.state.settings

    @property
    def clock(self) -> Clock:
        """The service's clock: it judges tokens, dates answers, and ages messages."""
        return self.state.clock

    @property
    def errors(self) -> list[str]:
        """Tracebacks of the double's own mistakes; a test should find none."""
        return self._past_errors + (self._server.errors if self._server is not None else [])

    @property
    def connections(self) -> int:
        """TCP connections accepted since it was last started."""
        return self._server.connections if self._server is not None else 0

    def start(self) -> None:
        """Start listening."""
        self._spool = self._spool or Path(tempfile.mkdtemp(prefix="mesh-double-"))
        self.up()

    def stop(self) -> None:
        """Stop listening, end all threads, remove temporary files. The records stay readable."""
        self.down()
        self.recorder.close()
        if self._spool is not None:
            shutil.rmtree(self._spool, ignore_errors=True)
            self._spool = None

    def down(self) -> None:
        """Refuse connections, as in an outage; mailboxes and messages are kept."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._past_errors += server.errors

    def up(self) -> None:
        """Listen (again) on the same port."""
        if self._server is None and self._spool is not None:
            self._server = Server(self.port, self.state, self.faults, self.recorder, tls=self._tls, spool=self._spool)
            self.port = self._server.server_port

    def advance(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """Put the whole clock forward. Tokens made by the real clock fail when this goes beyond two hours."""
        self.clock.advance(timedelta(seconds=seconds, hours=hours, days=days))
        with self.state.lock:
            self.state.expire()

    def age(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let messages grow older without touching the clock that judges tokens."""
        with self.state.lock:
            self.state.ageing += timedelta(seconds=seconds, hours=hours, days=days)
            self.state.expire()

    def set_clock(self, at: datetime) -> None:
        """Let the clock show ``at`` (aware) now and run on."""
        self.clock.set(at)

    def configure(self, **switches: Any) -> None:
        """Change settings by name. Raises ValueError for an unknown one."""
        known = {one.name for one in fields(Settings)}
        if set(switches) - known:
            raise ValueError(f"unknown setting: {', '.join(sorted(set(switches) - known))}")
        for name, value in switches.items():
            setattr(self.settings, name, value)

    def add_mailbox(
        self,
        mailbox_id: str,
        password: str = "password",
        *,
        ods_code: str = "X26",
        name: str = "",
        workflows: Iterable[str] = ("TEST_WORKFLOW",),
        certificates: Iterable[str] = (),
    ) -> None:
        """Register a mailbox. ``workflows`` are those that lookups find it for. Raises ValueError when it exists."""
        with self.state.lock:
            if mailbox_id in self.state.mailboxes or not (mailbox_id.isascii() and mailbox_id.isalnum()):
                raise ValueError(f"mailbox {mailbox_id!r} exists already or is not a mailbox id")
            self.state.mailboxes[mailbox_id] = Mailbox(
                mailbox_id,
                password,
                ods_code,
                name or f"Mailbox {mailbox_id}",
                frozenset(workflows),
                certificates=frozenset(certificates),
            )

    def update_mailbox(self, mailbox_id: str, **changes: Any) -> None:
        """Change password, ods_code, name, workflows, certificates or active. KeyError for an unknown mailbox."""
        allowed = {"password", "ods_code", "name", "workflows", "certificates", "active"}
        if set(changes) - allowed:
            raise ValueError(f"cannot change {', '.join(sorted(set(changes) - allowed))}")
        with self.state.lock:
            mailbox = self.state.mailboxes[mailbox_id]
            for name, value in changes.items():
                setattr(mailbox, name, frozenset(value) if name in {"workflows", "certificates"} else value)

    def route_patient(self, address: str, target: str) -> None:
        """Where a ``GPPROVIDER_…`` address leads: a mailbox id, or a code EPL-150 to EPL-154 (default EPL-151)."""
        with self.state.lock:
            self.state.demographics[address] = target

    def set_addresses(self, rows: Iterable[tuple[str, str, Iterable[str]]]) -> None:
        """What lookups of (ODS code, workflow id) answer, whatever the mailboxes themselves say: shared mailboxes stand for
        many codes. Each row: code, workflow id, mailbox ids."""
        with self.state.lock:
            for code, workflow, ids in rows:
                self.state.addresses[code, workflow] = list(ids)

    def put(
        self,
        mailbox: str,
        body: BodyLike = b"",
        *,
        sender: str = "",
        workflow_id: str = "TEST_WORKFLOW",
        subject: str | bytes = "",
        local_id: str | bytes = "",
        file_name: str | bytes | None = None,
        content_type: str = "",
        checksum: str = "",
        chunks: int = 1,
        gzip: bool = False,
        corrupt: Damage | str | None = None,
        headers: Overrides | None = None,
        report: Mapping[str, Any] | None = None,
        message_id: str | None = None,
    ) -> Put:
        """Put a message into an inbox and give its id and the digest of its content.

        ``corrupt``: ``cut``, ``garbage``, ``trailing``, ``crc``, ``multi`` spoil the gzip of the last chunk (and turn
        ``gzip`` on); ``missing_chunk`` leaves out the last chunk. ``headers`` replace or (None) remove headers of the
        download; values may be any bytes but line ends. ``report`` makes it a report: code, event, description,
        linked_message_id. Raises KeyError for an unknown mailbox, ValueError for values that cannot be sent.
        """
        metadata: dict[str, str | bytes] = {
            "mex-subject": subject,
            "mex-localid": local_id,
            "mex-content-checksum": checksum,
            "mex-content-type": content_type if chunks > 1 else "",
        }
        _no_line_ends([*metadata.values(), file_name, workflow_id, sender, content_type, *(headers or {}).values()])
        with self.state.lock:
            if mailbox not in self.state.mailboxes:
                raise KeyError(mailbox)
            known = message_id or self.state.new_id()
            metadata["mex-filename"] = f"{known}.dat" if file_name is None else file_name
            overrides = dict(headers or {})
            if report is not None:
                self.state.report(
                    mailbox,
                    **report,
                    workflow_id=workflow_id,
                    metadata=metadata,
                    message_id=known,
                    overrides=overrides,
                )
                return Put(known, digest([]), 0)
        whole = _body(body)
        parts = split(whole, chunks)
        packed = _packed(parts, gzip=gzip, corrupt=corrupt)
        with self.state.lock:
            message = self.state.new_message(
                message_id=known,
                sender=sender,
                recipient=mailbox,
                workflow_id=workflow_id,
                total_chunks=chunks,
                chunks={number: part for number, part in enumerate(packed, 1) if part is not None},
                gzip=gzip or corrupt in {"cut", "garbage", "trailing", "crc", "multi"},
                content_type=content_type,
                metadata=metadata,
                overrides=overrides,
            )
            self.state.deliver(message)
        return Put(known, digest([whole]), whole.size)

    def put_many(self, mailbox: str, count: int, *, size: int = 100, seed: int = 1, **options: Any) -> list[Put]:
        """Put ``count`` different messages of ``size`` (at least 12) bytes; ``options`` as for ``put``."""
        tail = b"".join(Synthetic(max(0, size - 12), seed).blocks())
        return [self.put(mailbox, b"%012d" % number + tail, **options) for number in range(count)]

    def withdraw(self, message_id: str, *, status: str = "undeliverable", code: str = "14", event: str = "SEND") -> None:
        """Fail a message now; its sender gets a report. KeyError for an unknown message."""
        with self.state.lock:
            self.state.fail(self.state.messages[message_id], status, code, event, "Withdrawn")

    def message(self, message_id: str) -> MessageInfo | None:
        """What is known of a message; None when there is none (any more)."""
        with self.state.lock:
            self.state.expire()
            found = self.state.messages.get(message_id)
            return None if found is None else _info(found)

    def inbox(self, mailbox: str) -> list[str]:
        """The message ids that wait in an inbox, oldest first."""
        with self.state.lock:
            self.state.expire()
            return [message.message_id for message in self.state.mailboxes[mailbox].inbox.values()]

    def sent_by(self, mailbox: str) -> list[MessageInfo]:
        """The messages that a mailbox sent, oldest first."""
        with self.state.lock:
            self.state.expire()
            found = [one for one in self.state.messages.values() if one.sender == mailbox]
            return [_info(one) for one in sorted(found, key=lambda one: one.sequence)]

    def content(self, message_id: str) -> bytes:
        """The whole content as a correct recipient gets it. ValueError for damaged gzip."""
        return b"".join(block for body in self._plain(message_id) for block in body.blocks())

    def content_digest(self, message_id: str) -> str:
        """SHA-256 (hex) of the whole content, at bounded memory."""
        return digest(self._plain(message_id))

    def _plain(self, message_id: str) -> list[Body]:
        with self.state.lock:
            message = self.state.messages[message_id]
            parts = [message.chunks[number] for number in sorted(message.chunks)]
        return [decompress(part) if message.gzip else part for part in parts]


def _body(given: BodyLike) -> Body:
    if isinstance(given, str):
        return Memory(given.encode())
    return Memory(given) if isinstance(given, bytes) else given


def _packed(parts: list[Body], *, gzip: bool, corrupt: str | None) -> list[Body | None]:
    damaged = corrupt is not None and corrupt != "missing_chunk"
    packed: list[Body | None] = [compress(part) if gzip or damaged else part for part in parts]
    if corrupt == "missing_chunk":
        packed[-1] = None
    elif damaged:
        last = packed[-1]
        if not isinstance(last, Memory):
            raise ValueError("only a body in memory can be damaged")
        packed[-1] = Memory(damage(last.data, corrupt))  # type: ignore[arg-type]
    return packed


def _no_line_ends(values: Iterable[str | bytes | None]) -> None:
    for value in values:
        raw = value.encode() if isinstance(value, str) else value or b""
        if b"\r" in raw or b"\n" in raw:
            raise ValueError("a header value cannot hold a line end")


def _info(message: Message) -> MessageInfo:
    return MessageInfo(
        message_id=message.message_id,
        sender=message.sender,
        recipient=message.recipient,
        workflow_id=message.workflow_id,
        message_type=message.message_type,
        status=message.status,
        subject=message.text("mex-subject"),
        local_id=message.text("mex-localid"),
        file_name=message.text("mex-filename"),
        content_type=message.content_type,
        gzip=message.gzip,
        total_chunks=message.total_chunks,
        chunks=sorted(message.chunks),
        linked_message_id=message.linked_message_id,
        sent_at=message.sent_at.isoformat(),
        acknowledged_at=message.acknowledged_at.isoformat() if message.acknowledged_at is not None else None,
        acknowledgements=message.acknowledgements,
        downloads=message.downloads,
    )
