"""What a listing means for the history: rows for what is new, and what left the inbox of a watched mailbox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from meshportal.mesh import MessageHeaders
from meshportal.web.masking import mask_numbers
from messages import records
from messages.models import Message, MessageType
from messages.states import Direction, State

# MESH API specification, message IDs: the real service's begin with the time of acceptance, in UTC.
_STAMP = re.compile(r"(\d{14})\d{3,6}_")
_BATCH = 400
_TAKEN_UP = {
    State.LISTED: frozenset({State.GONE, State.LEFT, State.WATCHED}),
    State.WATCHED: frozenset({State.GONE, State.LEFT, State.LISTED}),
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def accepted_at(mesh_id: str) -> datetime | None:
    """When MESH accepted a message, from its id; None when the id does not say, or says something impossible."""
    found = _STAMP.match(mesh_id)
    if found is None:
        return None
    try:
        moment = datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment if moment < timezone.now() + timedelta(days=1) else None


def clean(text: str, field: str) -> str:
    """Sender-controlled text for a plain column: control characters shown as spaces, cut to the column's length."""
    limit = getattr(Message._meta.get_field(field), "max_length", None)
    return _CONTROL.sub(" ", text)[:limit]


def register(mailbox: Mailbox, mesh_ids: Sequence[str]) -> list[Message]:
    """The rows of ``mesh_ids`` in the order of the listing; missing ones are added.

    A row that the other mode left behind, or that came back into the inbox (the service desk can put a message back),
    is taken up again.
    """
    start = State.WATCHED if mailbox.mode == Mode.WATCH else State.LISTED
    found: dict[str, Message] = {}
    for begin in range(0, len(mesh_ids), _BATCH):
        part = mesh_ids[begin : begin + _BATCH]
        found |= _rows(mailbox, part)
        new = [_new_row(mailbox, mesh_id, start) for mesh_id in part if mesh_id not in found]
        if new:
            inserted = records.add_all(new, kind="seen")
            found |= {row.mesh_id: row for row in inserted}
            if len(inserted) < len(new):
                found |= _rows(mailbox, part)
    now = timezone.now()
    for row in found.values():
        # What MESH lists and does not give out is not asked for at every poll.
        resting = row.state == State.GONE and row.next_attempt_at is not None and row.next_attempt_at > now
        if row.state in _TAKEN_UP[start] and not resting:
            records.move(row, start, kind="seen_again", next_attempt_at=None)
    return [found[mesh_id] for mesh_id in mesh_ids]


def _rows(mailbox: Mailbox, mesh_ids: Sequence[str]) -> dict[str, Message]:
    rows = Message.objects.filter(
        environment=mailbox.environment, mailbox=mailbox, direction=Direction.IN, mesh_id__in=list(mesh_ids)
    )
    return {row.mesh_id: row for row in rows.defer("headers", "subject")}


def _new_row(mailbox: Mailbox, mesh_id: str, state: State) -> Message:
    return Message(
        team_id=mailbox.team_id,
        mailbox=mailbox,
        environment=mailbox.environment,
        direction=Direction.IN,
        mesh_id=mesh_id,
        state=state,
        recipient_mailbox=mailbox.mailbox_id,
        seen_at=timezone.now(),
        sent_at=accepted_at(mesh_id),
    )


def metadata(headers: MessageHeaders) -> dict[str, Any]:
    """The columns that a message's headers fill. Addresses and subjects that can hold patient data go to sealed ones."""
    to = headers.recipient
    # A number that could be a patient's is no mailbox id, although it is made of the same characters.
    plain = re.fullmatch(r"[A-Z0-9]{1,100}", to.upper()) is not None and mask_numbers(to) == to
    report = headers.message_type.upper() == MessageType.REPORT
    return {
        "message_type": MessageType.REPORT if report else MessageType.DATA,
        "workflow_id": clean(headers.workflow_id, "workflow_id"),
        "sender": clean(headers.sender, "sender"),
        "recipient_mailbox": to.upper() if plain else "",
        "recipient_sealed": None if plain or not to else to,
        "subject": headers.subject or None,
        "local_id": clean(headers.local_id, "local_id"),
        "file_name": clean(headers.file_name, "file_name"),
        "content_type": clean(headers.mex_content_type or headers.content_type, "content_type"),
        "checksum": clean(headers.checksum, "checksum"),
        "headers": dict(headers.raw),
        "chunk_count": headers.chunk_total,
        "status_code": clean(headers.status_code, "status_code"),
        "status_event": clean(headers.status_event, "status_event"),
        "status_description": clean(headers.status_description, "status_description"),
        "status_at": headers.status_timestamp,
        "linked_mesh_id": clean(headers.linked_message_id, "linked_mesh_id"),
    }


def sent_at(message: Message, headers: MessageHeaders) -> datetime | None:
    """The best knowledge of when MESH accepted the message."""
    return message.sent_at or headers.status_timestamp
