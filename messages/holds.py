"""Holding messages whose recipient's address changes (:mod:`mailboxes.switches`), and letting them go.

| what happens | what follows |
|---|---|
| a message is queued for a practice whose case is frozen, by whatever way | held, in the same transaction |
| the case is frozen while messages wait in the queue | held when the sender takes them up, before a byte leaves |
| a message is on its way in the very moment | it goes to the old address, and stands among the messages at risk |
| released | queued with its new recipient; never held again, so that it goes exactly once |
| cancelled | as any other that was not sent |
| an answer of MESH that comes late, for a message that went back into the queue | kept: MESH has it, and the hold is over |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from django.utils import timezone

from mailboxes.models import Release
from mailboxes.switches import holding
from meshportal.audit.actors import Actor
from messages import records
from messages.models import Hold, Message, Outgoing
from messages.states import State

# Held for longer, somebody must be told.
TOLD_AFTER = timedelta(hours=24)
HOLDER = "meshportal switch hold"


def hold_if_frozen(message: Message, ods_code: str) -> bool:
    """Holds a queued message where a case says so. Needs the transaction that queues it, or takes it up."""
    if Hold.objects.filter(message=message).exists():
        return False
    case = holding.case_that_holds(
        team_id=message.team_id,
        environment=message.environment,
        mailbox_id=message.recipient_mailbox,
        workflow_id=message.workflow_id,
        ods_code=ods_code,
    )
    if case is None:
        return False
    records.move(message, State.ON_HOLD, kind="held", actor=HOLDER, detail={"switch": str(case.pk)})
    Outgoing.objects.filter(message=message).update(due_at=None)
    Hold.objects.create(message=message, case=case, recipient=message.recipient_mailbox)
    return True


def ended(message: Message) -> None:
    """The hold of a message is over by another way than a release."""
    Hold.objects.filter(message=message, ended_at__isnull=True).update(ended_at=timezone.now())


def release(*, actor: Actor, release: Release, addresses: Mapping[str, str]) -> int:
    """Queues what a case holds, each workflow for its address; '' leaves the recipient as it is. Needs a transaction."""
    now = timezone.now()
    rows = Hold.objects.filter(case=release.case, ended_at__isnull=True, message__state=State.ON_HOLD)
    number = 0
    for hold in rows.select_related("message").defer("message__subject", "message__headers", "message__recipient_sealed"):
        message = hold.message
        if message.workflow_id not in addresses:
            # Held since the two looked: it waits for the next release.
            continue
        to = addresses[message.workflow_id] or hold.recipient
        records.move(
            message,
            State.QUEUED,
            kind="released",
            actor=actor.label[:300],
            detail={"recipient": to, "before": hold.recipient, "asked_by": release.asked_by, "reason": release.reason},
            recipient_mailbox=to,
        )
        Outgoing.objects.filter(message=message).update(due_at=now, tries=0)
        Hold.objects.filter(pk=hold.pk).update(ended_at=now, release=release, updated_at=now)
        number += 1
    return number
