"""What became of a sent message: asked of MESH rarely, and of an uncertain one until it is settled (promise P3).

An uncertain message is looked for by its local id, which is unique when the portal made it. MESH knows it: it was
accepted. MESH knows of none at several looks, whose distance doubles: it never arrived, and is queued again. MESH cannot
say, or several have the id: a person decides.

MESH API specification, Track outbox: not to be polled often. The looks at an accepted message thin out with its age, and
a mailbox has so many in five minutes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Count
from django.utils import timezone

from mailboxes import connections
from mailboxes.models import Mode
from mailboxes.problems import NotConfigured
from meshportal.core import lease
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import MeshClient, Tracking, errors
from messages import receive, records, send
from messages.models import Message, Outgoing
from messages.states import TO_TRACK, State

log = structlog.get_logger("messages.track")

TRACKER = "meshportal tracker"
_WINDOW = timedelta(minutes=5)
# So many looks that find nothing mean that the message never arrived.
LOOKS_FOR_NOTHING = 4
_LOOKS_WITHOUT_ANSWER = 12


def claim_due() -> Outgoing | None:
    """Claims the sent message whose look is due for longest; None when none is, or their mailboxes had their share."""
    now = timezone.now()
    due = Outgoing.objects.filter(due_at__lte=now, message__state__in=TO_TRACK).exclude(message__mailbox__mode=Mode.PAUSED)
    if not due.exists():
        return None
    recent = Outgoing.objects.filter(looked_at__gt=now - _WINDOW).order_by().values("message__mailbox_id")
    busy = recent.annotate(number=Count("pk")).filter(number__gte=settings.TRACK_PER_MAILBOX)
    full = [row["message__mailbox_id"] for row in busy]
    rows = due.exclude(message__mailbox_id__in=full) if full else due
    claimed = lease.claim(rows.order_by("due_at"), limit=1, duration=send.lease_duration(), looked_at=now)
    return claimed[0] if claimed else None


def work(outgoing: Outgoing) -> None:
    """Asks MESH about a message whose lease the caller claimed, and gives it back."""
    message = Message.objects.select_related("mailbox__identity").get(pk=outgoing.message_id)
    outgoing.message = message
    outgoing.looks += 1
    try:
        wait = _look(outgoing, message)
    except records.Moved:
        # A report, an acknowledgement or a person settled it in the very moment.
        wait = timedelta(0)
    due_at = None if wait is None else timezone.now() + wait
    lease.release(outgoing, due_at=due_at, looks=outgoing.looks)


def _look(outgoing: Outgoing, message: Message) -> timedelta | None:
    try:
        client = connections.client_for(message.mailbox)
    except (NotConfigured, CannotUnseal, errors.MeshError):
        # The mailbox's own page says so.
        outgoing.looks -= 1
        return timedelta(minutes=5)
    try:
        if message.state == State.UNCERTAIN:
            return _reconcile(outgoing, message, client)
        return _follow(message, client)
    except errors.MeshError as error:
        log.warning("look_failed", message=str(message.pk), error=type(error).__name__)
        if message.state == State.UNCERTAIN and outgoing.looks >= _LOOKS_WITHOUT_ANSWER:
            return None
        return receive.backoff(outgoing.looks)


def _reconcile(outgoing: Outgoing, message: Message, client: MeshClient) -> timedelta | None:
    if not outgoing.own_local_id:
        # Others may have the same local id: what MESH says of it need not be about this message.
        return None
    try:
        found = client.track_by_local_id(message.local_id)
    except errors.NotUnique:
        return None
    except errors.NotFound:
        if outgoing.looks < LOOKS_FOR_NOTHING:
            return timedelta(seconds=settings.RECONCILE_SECONDS * (1 << outgoing.looks))
        records.move(
            message,
            State.QUEUED,
            kind="never_arrived",
            actor=TRACKER,
            detail={"looks": outgoing.looks},
            problem_code="",
            problem="",
            problem_advice="",
        )
        outgoing.looks = 0
        return timedelta(0)
    if found.recipient and message.recipient_mailbox and found.recipient.upper() != message.recipient_mailbox:
        return None
    uploading = found.status == "uploading"
    send.accepted(message, found.message_id, chunks=2 if uploading else 1, next_chunk=2)
    outgoing.looks = 0
    return timedelta(0) if uploading else _settle(message, found)


def _follow(message: Message, client: MeshClient) -> timedelta | None:
    """One look at a message that MESH accepted."""
    try:
        found = client.track(message.mesh_id)
    except errors.NotFound:
        return _next_look(message)
    if found.status == "acknowledged" and found.acknowledged_at is None:
        try:
            # Only version 1 says when.
            found = client.track(message.mesh_id, version=1)
        except errors.MeshError:
            log.info("version_1_failed", message=str(message.pk))
    return _settle(message, found)


def _settle(message: Message, found: Tracking) -> timedelta | None:
    changes: dict[str, Any] = {"status_code": found.status_code[:40], "status_event": found.status_event[:40]}
    if found.status == "acknowledged":
        at = found.acknowledged_at or found.status_timestamp or timezone.now()
        records.move(message, State.COLLECTED, kind="collected", actor=TRACKER, acknowledged_at=at)
        return None
    if found.status in ("undeliverable", "error"):
        changes["status_description"] = (found.status_description or found.failure_diagnostic)[:500]
        detail = {"code": found.status_code, "status": found.status}
        records.move(message, State.RETURNED, kind="returned", actor=TRACKER, detail=detail, **changes)
        return None
    if message.state == State.ACCEPTED and timezone.now() > message.leaves_inbox_at:
        records.move(message, State.EXPIRED, kind="expired", actor=TRACKER)
    elif message.state == State.EXPIRED and found.status == "accepted" and _put_back(message, found):
        records.move(message, State.ACCEPTED, kind="put_back", actor=TRACKER, sent_at=found.status_timestamp)
    return _next_look(message)


def _put_back(message: Message, found: Tracking) -> bool:
    at = found.status_timestamp
    return at is not None and at > message.leaves_inbox_at


def _next_look(message: Message) -> timedelta | None:
    """The looks thin out: about 15 minutes, 1 hour and 4 hours after it was accepted, then daily for 30 days."""
    now = timezone.now()
    if now > message.deleted_at:
        return None
    age = now - message.arrived_at
    for at in look_times():
        if age < at:
            return at - age
    return timedelta(days=1)


def look_times() -> list[timedelta]:
    """The ages at which an accepted message is looked at, before the daily looks."""
    first = timedelta(seconds=settings.TRACK_SECONDS)
    return [first, first * 4, first * 16]
