"""What people do with messages: read a body, retry, acknowledge without keeping. Each act is audited where it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from mailboxes.services import bring_forward
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core import payloads
from meshportal.core.acts import Refused
from messages import records
from messages.models import Message
from messages.states import State


@dataclass(frozen=True)
class Body:
    """A body that may be read: the reading is recorded already."""

    key: str
    sha256: str
    size: int

    def blocks(self) -> Iterator[bytes]:
        """The clear bytes. Raises PayloadMissing or PayloadUnreadable."""
        return payloads.open_blocks(self.key)

    def head(self, limit: int) -> tuple[bytes, bool]:
        """The first ``limit`` bytes, and whether there are more. Raises as :meth:`blocks`."""
        return payloads.read_all(self.key, limit=limit)


def open_body(*, actor: Actor, message: Message, reason: str, purpose: str) -> Body:
    """Lets ``actor`` read the body of ``message`` (promise P9).

    ``purpose`` is ``preview`` or ``download``. The audit row is committed before this returns, so before the first
    byte. Raises Refused when there is no reason, or no body is kept.
    """
    if not reason.strip():
        raise Refused("Say why you are opening this message. The reason is kept with your name.")
    payload = getattr(message, "payload", None)
    if payload is None or payload.purged_at is not None:
        raise Refused("The portal does not hold the body of this message.")
    with transaction.atomic():
        audit.record(
            actor=actor,
            action="message.body_read" if purpose == "preview" else "message.body_downloaded",
            target=message,
            team=message.team,
            reason=reason.strip(),
            after={"mailbox": message.mailbox.mailbox_id, "sha256": payload.sha256, "bytes": payload.size},
        )
        records.note(message, "body_read" if purpose == "preview" else "body_downloaded", actor=actor.label)
    return Body(key=payload.storage_key, sha256=payload.sha256, size=payload.size)


def retry(*, actor: Actor, message: Message) -> None:
    """Takes a message out of quarantine, or tries a waiting one at once. Raises Refused when it is in neither state."""
    with transaction.atomic():
        message = _fresh(message)
        waits = message.state == State.LISTED and message.next_attempt_at is not None
        if message.state == State.QUARANTINED or waits:
            _must_collect(message.mailbox)
        if message.state == State.QUARANTINED:
            records.move(message, State.LISTED, kind="retried", actor=actor.label, attempts=0, faults=0, next_attempt_at=None)
        elif waits:
            Message.objects.filter(pk=message.pk).update(next_attempt_at=None, updated_at=timezone.now())
            records.note(message, "retried", actor=actor.label)
        else:
            raise Refused("This message is not waiting for a retry any more. Look at its timeline for what happened.")
        bring_forward(message.mailbox)
        audit.record(actor=actor, action="message.retried", target=message, team=message.team)


def discard(*, actor: Actor, message: Message, reason: str) -> None:
    """Has MESH told that a message which cannot be stored is done with. It is then gone for good (MESH API specification,
    Acknowledge message).

    The acknowledge itself is sent by the worker that holds the mailbox. Raises Refused without a reason, and for a
    message that is not in quarantine.
    """
    if not reason.strip():
        raise Refused("Say why this message may go without being kept. The reason is kept with your name.")
    with transaction.atomic():
        message = _fresh(message)
        if message.state != State.QUARANTINED:
            raise Refused("Only a message that needs a person can be acknowledged without keeping it.")
        _must_collect(message.mailbox)
        records.move(message, State.DISCARDING, kind="discard_asked", actor=actor.label, detail={"reason": reason.strip()})
        bring_forward(message.mailbox)
        audit.record(actor=actor, action="message.discarded", target=message, team=message.team, reason=reason.strip())


def _fresh(message: Message) -> Message:
    """The row as it is now, locked where the database can: the mailbox first, then the message, the audit chain last,
    in the order in which everybody locks them."""
    mailbox = Mailbox.objects.select_for_update(of=("self",)).defer("password").get(pk=message.mailbox_id)
    found = Message.objects.select_for_update(of=("self",)).select_related("team").get(pk=message.pk)
    found.mailbox = mailbox
    return found


def _must_collect(mailbox: Mailbox) -> None:
    """Raises Refused where the portal neither downloads nor acknowledges."""
    if mailbox.mode != Mode.COLLECT:
        raise Refused(
            f"This mailbox is in {mailbox.get_mode_display().lower()} mode, so the portal neither downloads nor acknowledges "
            "anything there. Set it to collect first."
        )
