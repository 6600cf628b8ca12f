"""What messages show of the address book: where they went, who answered, and which address no longer holds."""

from __future__ import annotations

from mailboxes.addresses import services
from meshportal.mesh import MessageHeaders, Tracking
from messages.models import Message, MessageType
from messages.registry import ACK

# The address is not the organisation's any more, or not for this workflow (MESH API specification, error codes).
_OF_MAILBOX = frozenset({"12", "100"})
_OF_WORKFLOW = frozenset({"17", "EPL-150", "EPL-151"})


def sent(message: Message, found: Tracking) -> None:
    """MESH took ``message``, and says to which organisation its mailbox belongs."""
    services.note_seen(
        team_id=message.team_id,
        environment=message.environment,
        ods_code=found.recipient_ods_code,
        workflow_id=message.workflow_id,
        mailbox_id=message.recipient_mailbox or found.recipient,
        mailbox_name=found.recipient_name,
    )


def received(message: Message, headers: MessageHeaders) -> None:
    """An acknowledgement comes from the mailbox that takes the workflow which it answers. Of another message it is known who
    sent it, not where its sender takes what."""
    if message.message_type == MessageType.REPORT or not message.workflow_id.endswith(ACK):
        return
    services.note_seen(
        team_id=message.team_id,
        environment=message.environment,
        ods_code=headers.from_ods,
        workflow_id=message.workflow_id.removesuffix(ACK),
        mailbox_id=message.sender,
    )


def returned(message: Message, code: str, description: str) -> None:
    """A sent message was refused or came back: where that speaks of its address, MESH is asked for it at once."""
    code = code.strip().upper()
    deactivated = code == "14" and "deactivat" in description.lower()
    if deactivated or code in _OF_MAILBOX:
        services.check_soon(environment=message.environment, mailbox_id=message.recipient_mailbox)
    elif code in _OF_WORKFLOW:
        services.check_soon(
            environment=message.environment, mailbox_id=message.recipient_mailbox, workflow_id=message.workflow_id
        )
