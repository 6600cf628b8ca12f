"""What MESH says of a sent message that hints at a changed address, passed on to :mod:`mailboxes.switches`.

In the transaction that keeps what MESH said: a sign is never lost, and never told of a message that was not returned.
"""

from __future__ import annotations

from mailboxes.switches import scores
from mailboxes.switches.signals import note_signal
from messages.models import Message, Outgoing
from messages.states import Direction, State

_BY_CODE = {
    "12": scores.REPORT_UNKNOWN,
    "EPL-150": scores.REPORT_SEVERAL,
    "EPL-151": scores.REPORT_NONE,
}


def of_answer(message: Message, *, code: str, description: str) -> None:
    """Notes the sign that lies in a code of MESH about ``message``, in a report or in an answer; most hold none."""
    kind = _kind(message, code.strip().upper(), description)
    if not kind:
        return
    ods = Outgoing.objects.filter(message=message).values_list("recipient_ods", flat=True).first() or ""
    note_signal(
        environment=message.environment,
        ods_code=ods,
        workflow_id=message.workflow_id,
        kind=kind,
        # What MESH wrote stays with the message: it comes from outside.
        detail={"mailbox": message.recipient_mailbox, "code": code.strip().upper(), "message": str(message.pk)},
        team=message.team,
    )


def _kind(message: Message, code: str, description: str) -> str:
    if not message.recipient_mailbox:
        return ""
    if code == "14":
        return scores.REPORT_DEACTIVATED if "deactivat" in description.lower() else ""
    if code == "17":
        return scores.REPORT_WORKFLOW if _taken_before(message) else scores.REPORT_WORKFLOW_FIRST
    return _BY_CODE.get(code, "")


def _taken_before(message: Message) -> bool:
    """Whether a message of the workflow was ever collected at the same mailbox: then it is not merely a wrong address."""
    return Message.objects.filter(
        team_id=message.team_id,
        environment=message.environment,
        direction=Direction.OUT,
        recipient_mailbox=message.recipient_mailbox,
        workflow_id=message.workflow_id,
        state=State.COLLECTED,
    ).exists()
