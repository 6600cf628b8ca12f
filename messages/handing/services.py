"""What people do with messages that were handed on, or could not be."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils import timezone

from mailboxes.models import Outlet
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from messages import records
from messages.models import Handed, HandOver, Message


def known(message: Message, channel: str) -> bool:
    """Whether the message was ever to be handed on there."""
    return HandOver.objects.filter(message=message, outlet__channel=channel).exists()


def hand_on_again(*, actor: Actor, message: Message, channel: str, reason: str) -> None:
    """Has a message handed on again, as a delivery of its own: a consumer that has it gets it a second time.

    Raises Refused without a reason, when it was never to be handed on there, waits to be handed on anyway, is switched off,
    or its body is gone.
    """
    if not reason.strip():
        raise Refused("Say why this message is handed on again. The reason is kept with your name.")
    with transaction.atomic():
        records.lock(message)
        row = HandOver.objects.select_for_update(of=("self",)).filter(message=message, outlet__channel=channel).first()
        if row is None:
            raise Refused("This message was never to be handed on there.")
        if row.state == Handed.PENDING:
            raise Refused("This message waits to be handed on. The portal tries again by itself.")
        outlet = Outlet.objects.only("enabled", "channel").get(pk=row.outlet_id)
        if not outlet.enabled:
            raise Refused("Handing on is switched off for this mailbox. Switch it on first.")
        payload = getattr(message, "payload", None)
        if payload is None or payload.purged_at is not None:
            raise Refused("The portal does not hold the body of this message any more.")
        now = timezone.now()
        HandOver.objects.filter(pk=row.pk).update(
            state=Handed.PENDING,
            delivery_id=uuid.uuid4(),
            staged="",
            began_at=now,
            due_at=now,
            tries=0,
            refusals=0,
            problem_code="",
            problem="",
            problem_advice="",
            updated_at=now,
        )
        records.note(message, "hand_over_again", actor=actor.label, channel=channel, reason=reason.strip())
        audit.record(
            actor=actor,
            action="message.handed_on_again",
            target=message,
            team=message.team,
            reason=reason.strip(),
            after={"channel": channel, "mailbox": message.mailbox.mailbox_id},
        )
