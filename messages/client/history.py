"""From a control file of a client to the history: the message that it is about, joined where it is known already.

| the record | the history |
|---|---|
| in IN, of a message that the watch lists or listed | joined: a step of its timeline; its state stays the poller's to say |
| in IN, of a message that nobody knows | a received message that left the inbox |
| in IN, of a message that the portal itself stored | joined, nothing is added |
| in IN, a report of the client on what it sent (TRANSFER, SEND) | joined to the sent message; alone it is only remembered |
| in SENT | a sent message, accepted by MESH; it is tracked while MESH keeps it |
| in SENT or FAILED with an error | a sent message that was refused; a known one gets a step |
| no message ID, where there must be one | a sentence, once |
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.web.masking import mask_numbers
from messages import inbox, registry
from messages.ctl import Control, StatusRecord
from messages.models import ClientPlace, Message, MessageEvent, MessageType, Outgoing
from messages.states import HELD, Direction, State

CLIENT = "MESH client"
_ADVICE = "Look at the client’s log, put right what it says, and let the client send it again."
_ID = re.compile(r"[!-~]{1,100}")
_SENDING = frozenset({"SEND", "TRANSFER"})


class Refusal(Exception):
    """The record cannot be logged, in a sentence that holds no value of it."""


def log(mailbox: Mailbox, place: str, control: Control) -> Message | None:
    """Logs ``control`` in the caller's transaction; the message that it is about, None when it is about none.

    Raises Refusal.
    """
    whose = control.to_dts if place == ClientPlace.IN else control.from_dts
    said = control.status_record or StatusRecord()
    report = control.message_type.upper() == "REPORT"
    own_report = place == ClientPlace.IN and report and said.event.upper() in _SENDING
    if whose and whose.upper() != mailbox.mailbox_id and not own_report:
        raise Refusal("It is about another mailbox than the one whose folder it stands in.")
    if control.dts_id and not _ID.fullmatch(control.dts_id):
        raise Refusal("Its DTSId is no message ID.")
    if own_report:
        return _joined_report(mailbox, control, said)
    if place == ClientPlace.IN:
        # A report that nothing waited (PollReport) is about no message.
        return _received(mailbox, control, said, report=report) if control.dts_id or not report else None
    failed = place == ClientPlace.FAILED or said.status.upper() == "ERROR"
    if not control.dts_id and not failed:
        raise Refusal("It has no DTSId, although the message was sent.")
    return _sent(mailbox, control, said, failed=failed)


def _received(mailbox: Mailbox, control: Control, said: StatusRecord, *, report: bool) -> Message:
    if not control.dts_id:
        raise Refusal("It has no DTSId, the message ID.")
    known = _find(mailbox, Direction.IN, control.dts_id)
    if known is not None:
        if known.state not in HELD:
            _step(known, "client_received", said)
            _fill(known, workflow_id=inbox.clean(control.workflow_id, "workflow_id"), sender=_sender(control))
        return known
    facts = _facts(mailbox, control, said)
    facts["message_type"] = MessageType.REPORT if report else MessageType.DATA
    row = Message(
        direction=Direction.IN, state=State.LEFT, sender=_sender(control), recipient_mailbox=mailbox.mailbox_id, **facts
    )
    row.save(force_insert=True)
    registry.see(mailbox.team_id, [row.workflow_id])
    _step(row, "client_received", said, to_state=State.LEFT)
    return row


def _sent(mailbox: Mailbox, control: Control, said: StatusRecord, *, failed: bool) -> Message:
    kind = "client_failed" if failed else "client_sent"
    known = _find(mailbox, Direction.OUT, control.dts_id) if control.dts_id else None
    if known is not None:
        # What the portal sent from the same folder before says so itself.
        if failed or known.events.filter(actor_label=CLIENT).exists():
            _step(known, kind, said)
        return known
    to = control.to_dts or control.to_esmtp
    # A number that could be a patient's is no mailbox ID, although it is made of the same characters.
    plain = re.fullmatch(r"[A-Z0-9]{1,100}", to.upper()) is not None and mask_numbers(to) == to
    state = State.REFUSED if failed else State.ACCEPTED
    facts = _facts(mailbox, control, said)
    if failed:
        code = f" MESH’s code: {facts['status_code']}." if facts["status_code"] else ""
        facts |= {"problem_code": "client", "problem": f"The MESH client could not send it.{code}", "problem_advice": _ADVICE}
    row = Message(
        direction=Direction.OUT,
        state=state,
        sender=mailbox.mailbox_id,
        recipient_mailbox=to.upper() if plain else "",
        recipient_sealed=None if plain or not to else to,
        **facts,
    )
    row.save(force_insert=True)
    now = timezone.now()
    # MESH can be asked what became of it as long as it keeps the message.
    tracked = state == State.ACCEPTED and row.deleted_at > now
    Outgoing.objects.create(message=row, due_at=now if tracked else None, chunk_size=1, own_local_id=False, requested_by=CLIENT)
    registry.see(mailbox.team_id, [row.workflow_id])
    _step(row, kind, said, to_state=state)
    return row


def _joined_report(mailbox: Mailbox, control: Control, said: StatusRecord) -> Message | None:
    known = _find(mailbox, Direction.OUT, control.dts_id) if control.dts_id else None
    if known is not None:
        _step(known, "client_failed" if said.status.upper() == "ERROR" else "client_sent", said)
    return known


def _find(mailbox: Mailbox, direction: str, mesh_id: str) -> Message | None:
    rows = Message.objects.filter(environment=mailbox.environment, mailbox=mailbox, direction=direction, mesh_id=mesh_id)
    return rows.defer("headers", "subject", "recipient_sealed", "search").first()


def _facts(mailbox: Mailbox, control: Control, said: StatusRecord) -> dict[str, Any]:
    now = timezone.now()
    at: datetime = min(said.at, now) if said.at is not None else now
    return {
        "team_id": mailbox.team_id,
        "mailbox": mailbox,
        "environment": mailbox.environment,
        "mesh_id": control.dts_id,
        "workflow_id": inbox.clean(control.workflow_id, "workflow_id"),
        "subject": control.subject or None,
        "local_id": inbox.clean(control.local_id, "local_id"),
        "checksum": inbox.clean(control.data_checksum, "checksum"),
        "status_code": inbox.clean(said.code, "status_code"),
        "status_event": inbox.clean(said.event, "status_event"),
        "status_description": inbox.clean(said.description, "status_description"),
        "status_at": said.at,
        # So that what the client did last year stands in last year.
        "seen_at": at,
        "sent_at": inbox.accepted_at(control.dts_id) or said.at,
    }


def _sender(control: Control) -> str:
    return inbox.clean(control.from_dts or control.from_esmtp, "sender")


def _fill(known: Message, **facts: str) -> None:
    """Writes what nobody knew of a message before."""
    empty = {name: value for name, value in facts.items() if value and not getattr(known, name)}
    if empty:
        Message.objects.filter(pk=known.pk, **dict.fromkeys(empty, "")).update(**empty)


def _step(row: Message, kind: str, said: StatusRecord, *, to_state: str = "") -> None:
    detail = {"code": said.code[:40]} if said.code else {}
    MessageEvent.objects.create(
        message=row,
        at=min(said.at, timezone.now()) if said.at is not None else timezone.now(),
        kind=kind,
        to_state=to_state,
        actor_label=CLIENT,
        detail=detail,
    )
