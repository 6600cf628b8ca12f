"""What MESH says, as frozen values. Nothing here raises on odd input: a missing or unreadable value is '' or None.

Header names are compared without case (MESH API specification, note on version 2). Their reprs leave out everything a
sender may have put patient data into: subject, recipient, local id, file name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meshportal.mesh.parse import as_text, flag, parse_chunk_range, timestamp, whole_number


def _text(raw: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = raw.get(name)
        if value is not None and value != "":
            return as_text(value)
    return ""


def decode_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header lines as lower-case name -> value; repeated ones joined with ", ". UTF-8 where it is, else Latin-1."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in pairs:
        name = name_bytes.decode("latin-1").lower()
        try:
            value = value_bytes.decode("utf-8")
        except UnicodeDecodeError:
            value = value_bytes.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageHeaders:
    """The headers of a message in an inbox (MESH API specification, Get Message).

    ``raw`` holds every header received. ``chunk_number`` and ``chunk_total`` are 1 and 1 without a ``Mex-Chunk-Range``;
    a report's ``1:0`` is 1 and 0. ``status_timestamp`` is UTC. ``content_length`` is in bytes, as transferred, of this
    chunk. ``content_compressed`` and ``content_encrypted`` are the sender's statements about the payload, not about
    the transfer.
    """

    raw: Mapping[str, str]
    message_id: str = ""
    sender: str = ""
    recipient: str = ""
    workflow_id: str = ""
    message_type: str = ""
    subject: str = ""
    local_id: str = ""
    file_name: str = ""
    partner_id: str = ""
    linked_message_id: str = ""
    status_code: str = ""
    status_event: str = ""
    status_description: str = ""
    status_success: str = ""
    status_timestamp: datetime | None = None
    chunk_number: int = 1
    chunk_total: int = 1
    content_type: str = ""
    mex_content_type: str = ""
    content_encoding: str = ""
    content_length: int | None = None
    content_encrypted: bool | None = None
    content_compressed: bool | None = None
    checksum: str = ""
    version: str = ""
    address_type: str = ""
    from_ods: str = ""

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> MessageHeaders:
        """From lower-case name -> value. Never raises."""
        total = whole_number(raw.get("mex-total-chunks"))
        fallback = (1, 1 if total is None else total)
        number, total = parse_chunk_range(raw.get("mex-chunk-range", "")) or fallback
        return cls(
            raw=dict(raw),
            message_id=_text(raw, "mex-messageid"),
            sender=_text(raw, "mex-from"),
            recipient=_text(raw, "mex-to"),
            workflow_id=_text(raw, "mex-workflowid"),
            message_type=_text(raw, "mex-messagetype").upper(),
            subject=_text(raw, "mex-subject"),
            local_id=_text(raw, "mex-localid"),
            file_name=_text(raw, "mex-filename"),
            partner_id=_text(raw, "mex-partnerid"),
            linked_message_id=_text(raw, "mex-linkedmsgid"),
            status_code=_text(raw, "mex-statuscode"),
            status_event=_text(raw, "mex-statusevent"),
            status_description=_text(raw, "mex-statusdescription"),
            status_success=_text(raw, "mex-statussuccess"),
            status_timestamp=timestamp(raw.get("mex-statustimestamp")),
            chunk_number=number,
            chunk_total=total,
            content_type=_text(raw, "content-type"),
            mex_content_type=_text(raw, "mex-content-type"),
            content_encoding=_text(raw, "content-encoding").strip().lower(),
            content_length=whole_number(raw.get("content-length")),
            content_encrypted=flag(raw.get("mex-content-encrypted")),
            content_compressed=flag(raw.get("mex-content-compressed")),
            checksum=_text(raw, "mex-content-checksum"),
            version=_text(raw, "mex-version"),
            address_type=_text(raw, "mex-addresstype"),
            from_ods=_text(raw, "mex-from-ods"),
        )

    @property
    def is_report(self) -> bool:
        """Whether this is a report about another message (MESH API specification, Report messages)."""
        return self.message_type == "REPORT"

    def __repr__(self) -> str:
        return f"<MessageHeaders {self.message_id!r} {self.message_type or 'DATA'} {self.chunk_number}:{self.chunk_total}>"


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxPage:
    """One page of an inbox, in the server's order (MESH API specification, Check an inbox).

    ``continue_from`` is the token of the next page, None on the last one: a filtered page can be empty and yet not be
    the last. ``approx_count`` ignores the filter and lags behind.
    """

    message_ids: tuple[str, ...]
    continue_from: str | None = None
    approx_count: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """What MESH knows of a message that we sent (MESH API specification, Track outbox). Times are UTC.

    ``status`` is lower case: uploading, accepted, acknowledged, undeliverable, error. Decide on it, not on
    ``status_success``, which the sandbox sets to true for undeliverable ones. ``acknowledged_at``, ``size``,
    ``chunk_count`` and the failure fields come with version 1 only. ``raw`` is the whole record.
    """

    raw: Mapping[str, Any] = field(repr=False)
    message_id: str = ""
    status: str = ""
    status_success: bool | None = None
    status_event: str = ""
    status_code: str = ""
    status_description: str = field(default="", repr=False)
    status_timestamp: datetime | None = None
    uploaded_at: datetime | None = None
    expires_at: datetime | None = None
    acknowledged_at: datetime | None = None
    failed_at: datetime | None = None
    failure_diagnostic: str = field(default="", repr=False)
    workflow_id: str = ""
    local_id: str = field(default="", repr=False)
    file_name: str = field(default="", repr=False)
    subject: str = field(default="", repr=False)
    sender: str = field(default="", repr=False)
    recipient: str = field(default="", repr=False)
    recipient_name: str = field(default="", repr=False)
    recipient_ods_code: str = ""
    recipient_org_code: str = ""
    recipient_org_name: str = field(default="", repr=False)
    size: int | None = None
    chunk_count: int | None = None
    linked_message_id: str = ""

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> Tracking:
        """From a record of version 1 (camelCase) or 2 (snake_case). Never raises."""
        return cls(
            raw=dict(record),
            message_id=_text(record, "message_id", "messageId", "messageID"),
            status=_text(record, "status").lower(),
            status_success=flag(record.get("status_success", record.get("statusSuccess"))),
            status_event=_text(record, "status_event", "statusEvent"),
            status_code=_text(record, "status_code", "statusCode"),
            status_description=_text(record, "status_description", "statusDescription"),
            status_timestamp=timestamp(record.get("status_timestamp") or record.get("statusTimestamp")),
            uploaded_at=timestamp(record.get("upload_timestamp") or record.get("uploadTimestamp")),
            expires_at=timestamp(record.get("expiry_time") or record.get("expiryTime")),
            acknowledged_at=timestamp(record.get("downloadTimestamp")),
            failed_at=timestamp(record.get("failureDate")),
            failure_diagnostic=_text(record, "failureDiagnostic"),
            workflow_id=_text(record, "workflow_id", "workflowId"),
            local_id=_text(record, "local_id", "localId"),
            file_name=_text(record, "filename", "fileName"),
            subject=_text(record, "subject"),
            sender=_text(record, "sender"),
            recipient=_text(record, "recipient"),
            recipient_name=_text(record, "recipient_name", "recipientName"),
            recipient_ods_code=_text(record, "recipient_ods_code", "meshRecipientOdsCode"),
            recipient_org_code=_text(record, "recipient_org_code", "recipientOrgCode"),
            recipient_org_name=_text(record, "recipient_org_name", "recipientOrgName"),
            size=whole_number(record.get("fileSize")),
            chunk_count=whole_number(record.get("chunkCount")),
            linked_message_id=_text(record, "linkedMsgId"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointMatch:
    """A mailbox that may receive a workflow (MESH API specification, Look up MESH address)."""

    mailbox_id: str
    mailbox_name: str = ""

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> EndpointMatch:
        """From a result of version 1 (address, description) or 2. Never raises."""
        return cls(
            mailbox_id=_text(record, "mailbox_id", "address"),
            mailbox_name=_text(record, "mailbox_name", "description"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SendReceipt:
    """A message that MESH accepted. Accepted is not delivered, and not even collected.

    ``size`` is the payload's, ``sent_size`` what went over the wire (smaller when compressed), both in bytes.
    """

    message_id: str
    size: int
    sent_size: int
    chunk_total: int
