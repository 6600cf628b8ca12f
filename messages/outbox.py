"""Putting a message into the outbox: what is checked before anything is kept, and what a person may still decide.

Nothing is half-kept: the body is stored first, under a key of its own, and the row that names it is committed after; a
process that dies in between leaves a file that nothing names.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core import payloads
from meshportal.core.acts import Refused
from meshportal.mesh import errors
from meshportal.mesh.upload import header_value
from meshportal.web.masking import mask_numbers
from messages import acks, holds, receive, records, registry
from messages.models import Message, Outgoing, Payload, ResendPolicy, Workflow
from messages.states import TO_SEND, Direction, State

TWIN_WITHIN = timedelta(days=30)
TOO_LATE = "This message is on its way already, or was settled, so it cannot be cancelled."
SENT_AGAIN = "It was sent again before: its latest sending stands for it."
_MAILBOX_ID = re.compile(r"[A-Z0-9]{1,100}")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be sent. ``local_id`` '' lets the portal make a unique one, by which a lost answer can be settled.

    ``ods_code`` is the recipient's, where the sender gave it: a mailbox that several practices share does not say whose the
    letter is.
    """

    recipient: str
    workflow_id: str
    subject: str = ""
    local_id: str = ""
    file_name: str = ""
    content_type: str = ""
    compress: bool = False
    ods_code: str = ""


@dataclass(frozen=True, kw_only=True)
class Again:
    """That somebody wants a document to go out a second time: why, who asked for it, and of which message when it is known.

    ``once`` refuses a message that was ever sent again.
    """

    reason: str
    asked_by: str = ""
    of: Message | None = None
    once: bool = False


def check(draft: Draft) -> None:
    """Everything that MESH or the rules would refuse, by field. Raises ValidationError; values are never quoted.

    MESH API specification, Send message (lengths, characters) and Outbox workflow (no patient data in a local id).
    """
    problems: dict[str, str] = {}
    if not _MAILBOX_ID.fullmatch(draft.recipient):
        problems["recipient"] = "Enter the recipient's mailbox ID: capital letters and digits, such as X26HC005."
    if not draft.workflow_id:
        problems["workflow_id"] = "Enter the workflow ID."
    headers = {
        "workflow_id": "Mex-WorkflowID",
        "subject": "Mex-Subject",
        "local_id": "Mex-LocalID",
        "file_name": "Mex-FileName",
        "content_type": "Mex-Content-Type",
    }
    for field, header in headers.items():
        try:
            header_value(header, getattr(draft, field))
        except errors.InvalidHeader as error:
            problems.setdefault(field, str(error))
    for field, name in (("local_id", "local ID"), ("file_name", "file name")):
        value = getattr(draft, field)
        if mask_numbers(value) != value:
            problems[field] = f"The {name} holds an NHS number. It is not encrypted on the way: take it out."
    if problems:
        raise ValidationError(problems)


def twin(mailbox: Mailbox, draft: Draft, sha256: str) -> Message | None:
    """The same body sent to the same recipient within 30 days, the newest one."""
    return (
        Message.objects.filter(
            mailbox=mailbox,
            direction=Direction.OUT,
            recipient_mailbox=draft.recipient,
            workflow_id=draft.workflow_id,
            payload__sha256=sha256,
            seen_at__gt=timezone.now() - TWIN_WITHIN,
        )
        .exclude(state__in=[State.REFUSED, State.CANCELLED])
        .defer("headers", "subject")
        .order_by("-seen_at")
        .first()
    )


def chunk_bytes(mailbox: Mailbox) -> int:
    """The clear bytes of each chunk: what is set, and below the environment's limit even where gzip makes them more."""
    return min(settings.SEND_CHUNK_BYTES, settings.MESH_MAX_REQUEST_BYTES[mailbox.environment] * 99 // 100)


def put(
    *,
    actor: Actor,
    mailbox: Mailbox,
    draft: Draft,
    body: Iterable[bytes] | payloads.Stored,
    again: Again | None = None,
    alongside: Callable[[Message], None] | None = None,
    pk: uuid.UUID | None = None,
) -> Message:
    """Keeps ``body`` and queues a message from ``mailbox``; the sender takes it from there, unless its recipient's address is
    changing: then it is held (:mod:`messages.holds`).

    A body that is kept already is the message's from the commit on; until then, and when it is refused, the caller's.
    ``alongside`` writes what must be committed together with the message; when it raises, nothing is queued.
    ``pk`` is the key that the message is to have.

    Raises ValidationError by field (an empty body under ``file``), Refused when the same was sent within 30 days and
    ``again`` is not given, or the workflow's rule forbids it all the same, payloads.StorageFailed. Nothing is kept then.
    """
    check(draft)
    workflow = registry.known(mailbox.team_id, draft.workflow_id)
    earlier = again.of if again else None
    if earlier is not None:
        # Before the body is read: there may be a lot of it.
        _permit(workflow, draft, earlier, again)
    message = Message(
        pk=pk or uuid.uuid4(),
        team_id=mailbox.team_id,
        mailbox=mailbox,
        environment=mailbox.environment,
        direction=Direction.OUT,
        state=State.QUEUED,
        seen_at=timezone.now(),
        sender=mailbox.mailbox_id,
        recipient_mailbox=draft.recipient,
        workflow_id=draft.workflow_id,
        subject=draft.subject or None,
        local_id=draft.local_id or f"MP{uuid.uuid4().hex.upper()}",
        file_name=draft.file_name,
        content_type=draft.content_type,
    )
    kept = body if isinstance(body, payloads.Stored) else payloads.write(receive.storage_key(message), body)
    try:
        if kept.size == 0:
            raise ValidationError({"file": "The file is empty. MESH takes no message without a body."})
        if kept.size > settings.MESH_MAX_MESSAGE_BYTES:
            raise ValidationError({"file": "The file is larger than the portal is set to send (MESHPORTAL_MAX_MESSAGE_MB)."})
        names = acks.names_of(kept) if workflow.ack_workflow_id else frozenset()
        message.size = kept.size
        chunk_size = chunk_bytes(mailbox)
        message.chunk_count = max(1, -(-kept.size // chunk_size))
        with transaction.atomic():
            if earlier is None:
                # One at a time, or two people who send the same document in the same moment miss each other's.
                Workflow.objects.select_for_update(no_key=True).filter(pk=workflow.pk).first()
                if (earlier := twin(mailbox, draft, kept.sha256)) is not None:
                    _permit(workflow, draft, earlier, again)
            reason = again.reason.strip() if again and earlier else ""
            asked_by = again.asked_by.strip()[:150] if again and earlier else ""
            if again is not None and again.of is not None:
                _hold_for_resend(again.of, once=again.once)
            records.add_all([message], kind="queued", actor=actor.label)
            if alongside is not None:
                alongside(message)
            Payload.objects.create(
                message=message, storage_key=kept.key, sha256=kept.sha256, size=kept.size, stored_size=kept.stored_size
            )
            Outgoing.objects.create(
                message=message,
                due_at=timezone.now(),
                chunk_size=chunk_size,
                compress=draft.compress,
                own_local_id=not draft.local_id,
                resend_of=earlier,
                reason=reason,
                asked_by=asked_by,
                requested_by=actor.label[:300],
                recipient_ods=draft.ods_code.upper()[:12],
            )
            holds.hold_if_frozen(message, draft.ods_code.upper())
            acks.keep_names(message, names)
            if earlier is not None:
                records.note(earlier, "resent", actor=actor.label, reason=reason, by=message.local_id)
            audit.record(
                actor=actor,
                action="message.resent" if earlier is not None else "message.queued",
                target=message,
                team=mailbox.team,
                reason=reason,
                after={
                    "mailbox": mailbox.mailbox_id,
                    "recipient": draft.recipient,
                    "workflow_id": draft.workflow_id,
                    "bytes": kept.size,
                    "sha256": kept.sha256,
                    **({"resend_of": str(earlier.pk), "asked_by": asked_by} if earlier is not None else {}),
                },
            )
    except BaseException:
        # A commit whose answer was lost has happened all the same.
        if kept is not body and not Payload.objects.filter(storage_key=kept.key).exists():
            payloads.delete(kept.key)
        raise
    return message


def _permit(workflow: Workflow, draft: Draft, earlier: Message, again: Again | None) -> None:
    if again is None and workflow.resend_policy != ResendPolicy.NEVER:
        raise Refused(
            f"The same document went to {draft.recipient} within the last 30 days (message "
            f"{earlier.mesh_id or 'not sent yet'}). Say why you want to send it again."
        )
    registry.permit_again(workflow, reason=again.reason if again else "", asked_by=again.asked_by if again else "")


def _hold_for_resend(message: Message, *, once: bool) -> None:
    """Two people who send the same message again in the same moment: the second one finds the first one's."""
    fresh = _fresh(message)
    if fresh.state != message.state:
        raise Refused("This message moved on in the meantime. Look at its timeline for what happened.")
    under_way = (
        fresh.resends.filter(message__state__in=[*TO_SEND, State.ON_HOLD, State.UNCERTAIN]).select_related("message").first()
    )
    if under_way is not None:
        raise Refused(f"This message is being sent again already, with local ID {under_way.message.local_id}.")
    if once and fresh.resends.exists():
        raise Refused(SENT_AGAIN)


def cancel(*, actor: Actor, message: Message, reason: str) -> None:
    """Takes a message back before anything of it was sent. Raises Refused when it is too late, or without a reason."""
    if not reason.strip():
        raise Refused("Say why this message is cancelled. The reason is kept with your name.")
    with transaction.atomic():
        message = _fresh(message)
        if message.state not in (State.QUEUED, State.ON_HOLD):
            raise Refused(TOO_LATE)
        records.move(message, State.CANCELLED, kind="cancelled", actor=actor.label, detail={"reason": reason.strip()})
        Outgoing.objects.filter(message=message).update(due_at=None)
        holds.ended(message)
        audit.record(actor=actor, action="message.cancelled", target=message, team=message.team, reason=reason.strip())


def decide(*, actor: Actor, message: Message, arrived: bool, reason: str) -> None:
    """A person's decision on an uncertain message: it arrived (and is left alone), or it is sent again.

    Raises Refused when it is no longer uncertain, or without a reason.
    """
    if not reason.strip():
        raise Refused("Say how you know. The reason is kept with your name.")
    with transaction.atomic():
        message = _fresh(message)
        if message.state != State.UNCERTAIN:
            raise Refused("This message is not waiting for a decision any more. Look at its timeline for what happened.")
        # Without its id MESH cannot be asked about it: "arrived" is the last thing that the portal will ever know.
        to = State.CONFIRMED if arrived else State.QUEUED
        records.move(
            message,
            to,
            kind="decided_arrived" if arrived else "decided_again",
            actor=actor.label,
            detail={"reason": reason.strip()},
            problem_code="",
            problem="",
            problem_advice="",
        )
        Outgoing.objects.filter(message=message).update(due_at=None if arrived else timezone.now(), tries=0, looks=0)
        audit.record(
            actor=actor,
            action="message.decided",
            target=message,
            team=message.team,
            reason=reason.strip(),
            after={"arrived": arrived},
        )


def _fresh(message: Message) -> Message:
    return Message.objects.select_for_update(of=("self",)).select_related("team").get(pk=message.pk)
