"""What the double remembers: mailboxes, messages, used tokens, and two clocks."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import secrets
import threading
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .answers import Refusal
from .bodies import Body

NOT_COLLECTED = "Message not collected by recipient after 5 days"


@dataclass
class Settings:
    """How strict the double is. Sizes in bytes.

    ``max_body``: limit of one request's body (more: 413). ``token_window``: how far a token's time may be off.
    ``after_acknowledge``: status of GET and HEAD of an acknowledged message. ``repeat_acknowledge``: status of a second
    acknowledgement. ``bind_certificates``: the client certificate must be known for the mailbox.
    ``lookup_needs_token``: endpoint lookup and workflow search need a token. ``unknown_mailbox_status``: 403, or 200
    for an error body under a success status. ``token_restarts``: a continuation token whose item was acknowledged
    meanwhile starts from the beginning (the sandbox does so). ``next_on_last_page``: tell a next link although
    nothing follows. ``compress_downloads``: gzip plain bodies for v2 clients that accept it. ``idle_timeout``: seconds
    after which a silent connection is closed. ``transfer_chunked``: accept bodies without Content-Length.
    ``enforce_workflows``: refuse sends to mailboxes that do not receive the workflow (417, code 17).
    """

    max_body: int = 100_000_000
    token_window: float = 7200.0
    after_acknowledge: int = 410
    repeat_acknowledge: int = 200
    bind_certificates: bool = False
    lookup_needs_token: bool = True
    unknown_mailbox_status: int = 403
    token_restarts: bool = False
    next_on_last_page: bool = False
    compress_downloads: bool = True
    idle_timeout: float = 60.0
    transfer_chunked: bool = False
    enforce_workflows: bool = False
    inbox_days: float = 5.0
    keep_days: float = 30.0


class Clock:
    """A UTC clock that runs with real time from a settable start."""

    def __init__(self) -> None:
        self._offset = timedelta(0)
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        """The time it shows."""
        return self._frozen if self._frozen is not None else datetime.now(UTC) + self._offset

    def advance(self, by: timedelta) -> None:
        """Put it forward (or back, when negative)."""
        self._offset += by
        if self._frozen is not None:
            self._frozen += by

    def set(self, at: datetime) -> None:
        """Let it show ``at`` now and run on."""
        self._offset = at.astimezone(UTC) - datetime.now(UTC)
        self._frozen = None

    def freeze(self, at: datetime | None = None) -> None:
        """Stop it, at ``at`` or where it stands."""
        self._frozen = at.astimezone(UTC) if at is not None else self.now()


@dataclass
class Message:
    """One message. ``status``: uploading, accepted, acknowledged, undeliverable or error."""

    message_id: str
    sequence: int
    sender: str
    recipient: str
    workflow_id: str
    sent_at: datetime
    total_chunks: int = 1
    chunks: dict[int, Body] = field(default_factory=dict, repr=False)
    gzip: bool = False
    content_type: str = ""
    message_type: str = "DATA"
    status: str = "accepted"
    status_at: datetime | None = None
    status_code: str = "00"
    status_event: str = "TRANSFER"
    status_description: str = "Transferred to recipient mailbox"
    linked_message_id: str = ""
    metadata: dict[str, str | bytes] = field(default_factory=dict)
    overrides: dict[str, str | bytes | None] = field(default_factory=dict)
    acknowledged_at: datetime | None = None
    acknowledgements: int = 0
    downloads: int = 0
    routing_failure: str = ""

    def text(self, name: str) -> str:
        """A metadata header as text; empty when it was not given."""
        value = self.metadata.get(name, "")
        return value.decode("latin-1") if isinstance(value, bytes) else value


@dataclass
class Mailbox:
    """One mailbox. ``workflows`` are the ids that it may receive; ``certificates`` the common names bound to it."""

    mailbox_id: str
    password: str = field(repr=False)
    ods_code: str = ""
    name: str = ""
    workflows: frozenset[str] = frozenset()
    active: bool = True
    certificates: frozenset[str] = frozenset()
    inbox: dict[int, Message] = field(default_factory=dict, repr=False)
    sent: dict[str, list[Message]] = field(default_factory=dict, repr=False)
    handshakes: int = 0


class State:
    """Everything the double remembers. Hold ``lock`` while reading or changing it."""

    def __init__(self, shared_key: str) -> None:
        self.lock = threading.RLock()
        self.shared_key = shared_key
        self.settings = Settings()
        self.clock = Clock()
        self.ageing = timedelta(0)
        self.mailboxes: dict[str, Mailbox] = {}
        self.messages: dict[str, Message] = {}
        self.demographics: dict[str, str] = {}
        self.addresses: dict[tuple[str, str], list[str]] = {}
        self._sequence = 0
        self._due: list[tuple[datetime, int, str, str]] = []
        self._tokens: set[tuple[str, str, str]] = set()
        self._token_order: deque[tuple[datetime, tuple[str, str, str]]] = deque()

    def calendar(self) -> datetime:
        """The time by which messages age; ahead of the clock by ``ageing``."""
        return self.clock.now() + self.ageing

    def new_id(self) -> str:
        """A message id in the real form: 20 digits of time, an underscore, six upper-case hexadecimal digits."""
        while True:
            made = f"{self.clock.now():%Y%m%d%H%M%S%f}_{secrets.token_hex(3).upper()}"
            if made not in self.messages:
                return made

    def new_message(self, **facts: Any) -> Message:
        """Remember a message. It enters the recipient's inbox when ``deliver`` is called."""
        self._sequence += 1
        facts.setdefault("message_id", self.new_id())
        if facts["message_id"] in self.messages:
            raise ValueError(f"message id {facts['message_id']} exists already")
        message = Message(sequence=self._sequence, sent_at=self.calendar(), **facts)
        self.messages[message.message_id] = message
        sender = self.mailboxes.get(message.sender)
        if sender is not None and message.message_type == "DATA":
            sender.sent.setdefault(message.text("mex-localid"), []).append(message)
        self._plan(message, "delete", self.settings.keep_days)
        return message

    def deliver(self, message: Message) -> None:
        """Let a complete message appear in its recipient's inbox."""
        message.status, message.status_at = "accepted", self.calendar()
        recipient = self.mailboxes[message.recipient]
        if not recipient.active:
            self.fail(message, "undeliverable", "14", "SEND", "Message not delivered: recipient mailbox deactivated")
            return
        recipient.inbox[message.sequence] = message
        self._plan(message, "withdraw", self.settings.inbox_days)

    def fail(self, message: Message, status: str, code: str, event: str, description: str) -> Message | None:
        """Withdraw a message and put a report into its sender's inbox, if the sender is known here."""
        recipient = self.mailboxes.get(message.recipient)
        if recipient is not None:
            recipient.inbox.pop(message.sequence, None)
        message.status, message.status_at = status, self.calendar()
        message.status_code, message.status_event, message.status_description = code, event, description
        if message.message_type == "REPORT" or message.sender not in self.mailboxes:
            return None
        subject = message.metadata.get("mex-subject", "")
        prefix: str | bytes = b"NDR: " if isinstance(subject, bytes) else "NDR: "
        return self.report(
            message.sender,
            code=code,
            event=event,
            description=description,
            linked_message_id=message.message_id,
            workflow_id=message.workflow_id,
            metadata={**message.metadata, "mex-subject": prefix + subject},  # type: ignore[operator]
        )

    def report(
        self,
        mailbox_id: str,
        *,
        code: str = "14",
        event: str = "SEND",
        description: str = NOT_COLLECTED,
        linked_message_id: str = "",
        workflow_id: str = "",
        metadata: dict[str, str | bytes] | None = None,
        message_id: str | None = None,
        overrides: dict[str, str | bytes | None] | None = None,
    ) -> Message:
        """Put a report into an inbox (MESH API specification, "Report messages")."""
        kept = {
            name: value
            for name, value in (metadata or {}).items()
            if name in {"mex-localid", "mex-subject", "mex-filename", "mex-partnerid"}
        }
        message = self.new_message(
            message_id=message_id or self.new_id(),
            sender="",
            recipient=mailbox_id,
            workflow_id=workflow_id,
            total_chunks=0,
            message_type="REPORT",
            metadata=kept,
            linked_message_id=linked_message_id,
            overrides=overrides or {},
        )
        self.deliver(message)
        message.status_code, message.status_event, message.status_description = code, event, description
        return message

    def acknowledge(self, message: Message) -> None:
        """Take a message out of its inbox for good."""
        message.acknowledgements += 1
        if message.status == "accepted":
            message.status = "acknowledged"
            message.status_at = message.acknowledged_at = self.calendar()
            self.mailboxes[message.recipient].inbox.pop(message.sequence, None)

    def expire(self) -> None:
        """Apply the 5-day and 30-day rules (MESH API specification, "Message expiration")."""
        now = self.calendar()
        while self._due and self._due[0][0] <= now:
            _, _, what, message_id = heapq.heappop(self._due)
            message = self.messages.get(message_id)
            if message is None:
                continue
            if what == "delete":
                self._forget(message)
            elif message.status == "accepted":
                self.fail(message, "undeliverable", "14", "SEND", NOT_COLLECTED)

    def _plan(self, message: Message, what: str, days: float) -> None:
        heapq.heappush(self._due, (self.calendar() + timedelta(days=days), message.sequence, what, message.message_id))

    def _forget(self, message: Message) -> None:
        self.messages.pop(message.message_id, None)
        recipient = self.mailboxes.get(message.recipient)
        if recipient is not None:
            recipient.inbox.pop(message.sequence, None)
        sender = self.mailboxes.get(message.sender)
        if sender is not None:
            same = sender.sent.get(message.text("mex-localid"), [])
            if message in same:
                same.remove(message)

    def check_token(self, header: str, mailbox_id: str | None) -> Mailbox:
        """Verify and use up an Authorization header (MESH API specification, "MESH Authorization header").

        ``mailbox_id`` is the one in the path, None where there is none. Raises Refusal 403. A correct token is used up
        whatever becomes of the request.
        """
        scheme, _, rest = header.partition(" ")
        fields = rest.split(":")
        if scheme != "NHSMESH" or len(fields) != 5 or not _well_formed(fields):
            raise Refusal(403, "", "", "Error reading from Authorization header", reason="malformed token")
        owner, nonce, count, stamp, proof = fields
        if mailbox_id is not None and owner != mailbox_id:
            raise Refusal(403, "", "", "Mailbox id does not match token", reason="token of another mailbox")
        with self.lock:
            mailbox = self.mailboxes.get(owner)
            if mailbox is None:
                status = self.settings.unknown_mailbox_status
                raise Refusal(status, "SEND", "EPL-151", "No mailbox matched", reason="unknown mailbox")
            text = f"{owner}:{nonce}:{count}:{mailbox.password}:{stamp}"
            right = hmac.new(self.shared_key.encode(), text.encode(), hashlib.sha256).hexdigest()
            if not hmac.compare_digest(right.encode(), proof.encode("utf-8", "surrogateescape")):
                raise Refusal(403, "", "", "Invalid Authentication Token", reason="wrong password or key")
            now = self.clock.now()
            at = datetime.strptime(stamp, "%Y%m%d%H%M").replace(tzinfo=UTC)
            if abs((now - at).total_seconds()) > self.settings.token_window:
                raise Refusal(403, "", "", "Invalid Authentication Token", reason="token outside the time window")
            used = (owner, nonce.lower(), count)
            if used in self._tokens:
                raise Refusal(403, "", "", "Error Duplicated Authentication Token", reason="replayed token")
            self._remember(used, now)
            if not mailbox.active:
                raise Refusal(403, "", "", "Request Received from Inactive Mailbox", reason="inactive mailbox")
            return mailbox

    def _remember(self, used: tuple[str, str, str], now: datetime) -> None:
        self._tokens.add(used)
        self._token_order.append((now, used))
        keep = timedelta(seconds=3 * self.settings.token_window)
        while now - self._token_order[0][0] > keep:
            self._tokens.discard(self._token_order.popleft()[1])


def _well_formed(fields: list[str]) -> bool:
    owner, nonce, count, stamp, proof = fields
    try:
        uuid.UUID(nonce)
        datetime.strptime(stamp, "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return False
    return bool(owner) and count.isascii() and count.isdigit() and len(stamp) == 12 and len(proof) == 64
