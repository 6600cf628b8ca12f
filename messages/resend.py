"""Sending a document again, as a new message that is linked to the first.

| what is asked | what it gets |
|---|---|
| the workflow's rule forbids it, or wants to know who asked | a sentence; nothing is queued |
| it has not come to an end, or still waits in the same recipient's inbox | a sentence: the recipient would have it twice |
| it is being sent again already | a sentence, also for two people in the same moment |
| the portal's copy is gone or cannot be read | a sentence, and the way by the service desk while there is one |
| the process dies | before the commit nothing is queued; after it one new message is |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from meshportal.audit.actors import Actor
from meshportal.core import payloads
from meshportal.core.acts import Refused
from messages import outbox
from messages.models import Message, ResendPolicy
from messages.states import Direction, State

# What has come to an end, for whatever reason.
SETTLED = (State.RETURNED, State.EXPIRED, State.REFUSED, State.COLLECTED, State.CONFIRMED, State.CANCELLED)
# In these some client of the recipient has it already, as far as anybody knows.
ARRIVED = (State.COLLECTED, State.CONFIRMED)
_LONGEST_CHAIN = 20
NOBODY_ASKED = "Its workflow’s rule is that the recipient must ask for it, and it is not said who asked."
_GONE = (
    "The portal does not hold the body of this message any more, so it cannot send it again. Send the document from where it "
    "came from, or have the service desk put the message back while that is possible."
)


def not_with_others(message: Message, rule: str, asked_by: str | None = None) -> str:
    """Why a message is not sent again together with others: ``rule`` is its workflow's. '' when it can be.

    ``asked_by`` is who asked for all of them, '' when that is not said; None where it cannot be said for many.
    """
    if message.state not in SETTLED:
        return "It has not come to an end yet."
    if message.state in ARRIVED:
        return "A client of the recipient has collected it: send it again from its own page."
    if rule == ResendPolicy.NEVER:
        return "Its workflow’s rule is that it is never sent again."
    if rule == ResendPolicy.ON_REQUEST and asked_by == "":
        return NOBODY_ASKED
    if rule == ResendPolicy.ON_REQUEST and asked_by is None:
        return "Its recipient must ask for it: send it again from its own page, and say who asked."
    payload = getattr(message, "payload", None)
    return "" if payload is not None and payload.purged_at is None else "The portal does not hold its body any more."


def resend(
    *,
    actor: Actor,
    message: Message,
    reason: str,
    asked_by: str = "",
    recipient: str = "",
    once: bool = False,
    alongside: Callable[[Message], None] | None = None,
) -> Message:
    """Queues the document of ``message`` as a new message, to ``recipient`` where it is given. ``once`` is as in
    :class:`outbox.Again`, ``alongside`` as in :func:`outbox.put`.

    Raises Refused, ValidationError by field when what was composed then would be refused now, and StorageFailed.
    """
    to = recipient or message.recipient_mailbox
    if message.direction != Direction.OUT:
        raise Refused("Only a message that one of your mailboxes sent can be sent again.")
    if message.state == State.ACCEPTED and to == message.recipient_mailbox:
        raise Refused("The message still waits in the recipient's inbox: sent again, they would have it twice.")
    if message.state not in (*SETTLED, State.ACCEPTED):
        raise Refused("This message has not come to an end yet. Look at its timeline for what happens next.")
    payload = getattr(message, "payload", None)
    if payload is None or payload.purged_at is not None:
        raise Refused(_GONE)
    own = message.outgoing.own_local_id
    draft = outbox.Draft(
        recipient=to,
        workflow_id=message.workflow_id,
        subject=message.subject or "",
        local_id="" if own else message.local_id,
        file_name=message.file_name,
        content_type=message.content_type,
        compress=message.outgoing.compress,
        # Another recipient may be another practice.
        ods_code=message.outgoing.recipient_ods if to == message.recipient_mailbox else "",
    )
    again = outbox.Again(reason=reason, asked_by=asked_by, of=message, once=once)
    try:
        return outbox.put(
            actor=actor, mailbox=message.mailbox, draft=draft, body=_blocks(payload.storage_key), again=again, alongside=alongside
        )
    except payloads.PayloadMissing:
        raise Refused(_GONE) from None
    except payloads.PayloadUnreadable:
        raise Refused(
            "The portal's copy of this message cannot be read, so it cannot be sent again. Tell whoever runs the portal."
        ) from None


def _blocks(key: str) -> Iterator[bytes]:
    # Opened when it is read: what is refused before that leaves no file open.
    yield from payloads.open_blocks(key)


def chain(message: Message) -> Sequence[Message]:
    """Every sending of the same document that ``message`` is part of, the first one first; only itself when it is alone."""
    first, above = message, 0
    while (earlier := first.outgoing.resend_of) is not None and above < _LONGEST_CHAIN:
        first, above = earlier, above + 1
    found, level = [first], [first.pk]
    while level and len(found) <= _LONGEST_CHAIN:
        rows = Message.objects.filter(outgoing__resend_of__in=level).select_related("outgoing").order_by("seen_at")
        later = list(rows.defer("headers", "subject", "recipient_sealed", "search")[:_LONGEST_CHAIN])
        found += later
        level = [row.pk for row in later]
    return found
