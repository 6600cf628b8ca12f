"""Fair shares of the sender's threads, and giving back what a worker held (promise P4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from meshportal.core import lease
from meshportal.mesh import errors
from messages import records
from messages.models import Message, Outgoing
from messages.states import TO_SEND

# One after the other, so that the message that failed is the one that tries first.
_BEHIND = timedelta(seconds=1)
_MOST_HELD_BACK = 10_000


def full_mailboxes() -> list[Any]:
    """The mailboxes that have half of a process's threads busy with sending: one with much to send, or whose messages
    hang, leaves the other half to the others."""
    most = max(1, settings.SEND_THREADS // 2)
    held = Outgoing.objects.exclude(lease.free()).filter(message__state__in=TO_SEND).order_by()
    counted = held.values("message__mailbox_id").annotate(number=Count("pk"))
    return [row["message__mailbox_id"] for row in counted if row["number"] >= most]


def concerns_mailbox(error: errors.MeshError) -> bool:
    """Whether the next message of the same mailbox would fail alike (MESH API specification, reactions to refusals: stop
    the mailbox, do not hammer)."""
    if isinstance(error, errors.SendUncertain):
        return isinstance(error.__cause__, errors.ConnectionLost)
    outside = isinstance(error, errors.ConnectionFailed | errors.ConnectionLost | errors.Throttled)
    return outside or error.misconfigured or error.retry_after is not None


def hold_back(message: Message, states: Sequence[str], wait: timedelta) -> None:
    """Lets the other messages of the mailbox in ``states`` wait until after ``message`` has tried again."""
    until = timezone.now() + wait + _BEHIND
    with transaction.atomic():
        others: QuerySet[Outgoing] = Outgoing.objects.filter(
            lease.free(), message__mailbox_id=message.mailbox_id, message__state__in=states, due_at__lt=until
        ).exclude(message=message)
        keys = list(others.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)[:_MOST_HELD_BACK])
        for begin in range(0, len(keys), 500):
            Outgoing.objects.filter(pk__in=keys[begin : begin + 500]).update(due_at=until)


def give_back(outgoing: Outgoing, message: Message, wait: timedelta | None, **changes: Any) -> None:
    """Ends a round: ``outgoing`` is due again after ``wait``, or never by itself (None).

    When somebody else changed the message's state meanwhile (a person, a report), when it is due is theirs to say, and
    nothing is written: a None over their answer would leave a message queued that nobody ever sends.
    """
    with transaction.atomic():
        if records.lock(message) == message.state:
            changes["due_at"] = None if wait is None else timezone.now() + wait
        else:
            changes = {}
        lease.release(outgoing, **changes)
