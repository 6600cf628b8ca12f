"""What became of a sent message: asked of MESH rarely, and of an uncertain one until it is settled (promise P3).

An uncertain message is looked for by its local id, which is unique when the portal made it. MESH knows it: it was
accepted. MESH knows of none at several looks, whose distance doubles, although it knows of another message by that one's
local id: it never arrived, and is queued again. MESH cannot say, or several have the id: a person decides.

MESH API specification, Track outbox: not to be polled often. The looks at an accepted message thin out with its age, and
a mailbox has so many in five minutes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Case, Count, When
from django.utils import timezone

from mailboxes import connections
from mailboxes.models import Mode
from mailboxes.problems import NotConfigured
from meshportal.core import lease
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import MeshClient, Tracking, errors
from messages import book, receive, records, refusals, send, shares, suspicions
from messages.models import Message, MessageEvent, Outgoing
from messages.states import TO_TRACK, Direction, State

log = structlog.get_logger("messages.track")

TRACKER = "meshportal tracker"
_WINDOW = timedelta(minutes=5)
# So many looks that find nothing mean that the message never arrived.
LOOKS_FOR_NOTHING = 4
# So often a message that never arrived is sent again by itself.
_SENDS = 5
_LONGEST_SECONDS = 3600
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
    # A person waits for these; the others are merely told of.
    urgent = Case(When(message__state=State.UNCERTAIN, then=0), default=1)
    claimed = lease.claim(rows.order_by(urgent, "due_at"), limit=1, duration=send.lease_duration(), looked_at=now)
    return claimed[0] if claimed else None


def work(outgoing: Outgoing) -> None:
    """Asks MESH about a message whose lease the caller claimed, and gives it back."""
    message = Message.objects.select_related("mailbox__identity", "outgoing").defer(*send.SEALED).get(pk=outgoing.message_id)
    outgoing.message = message
    outgoing.looks += 1
    try:
        with lease.kept_alive(outgoing, send.lease_duration()):
            wait = _look(outgoing, message)
    except lease.LeaseLost:
        log.warning("lease_lost", message=str(message.pk))
        return
    except records.Moved:
        # A report, an acknowledgement or a person settled it in the very moment.
        wait = timedelta(0)
    shares.give_back(outgoing, message, wait, looks=outgoing.looks)


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
        wait = receive.backoff(outgoing.looks)
        if shares.concerns_mailbox(error):
            shares.hold_back(message, TO_TRACK, wait)
        if message.state == State.UNCERTAIN and outgoing.looks >= _LOOKS_WITHOUT_ANSWER:
            return None
        return wait


def _reconcile(outgoing: Outgoing, message: Message, client: MeshClient) -> timedelta | None:
    if not outgoing.own_local_id:
        # Others may have the same local id: what MESH says of it need not be about this message.
        return None
    try:
        found = client.track_by_local_id(message.local_id)
    except errors.NotUnique:
        return None
    except errors.NotFound:
        return _nothing_found(outgoing, message, client)
    if found.recipient and message.recipient_mailbox and found.recipient.upper() != message.recipient_mailbox:
        return None
    total = outgoing.chunk_total
    # A message of one chunk that MESH has not worked through yet is whole all the same.
    uploading = found.status == "uploading" and total > 1
    send.accepted(message, found.message_id, chunks=total if uploading else 1, next_chunk=2, at=found.uploaded_at)
    outgoing.looks = 0
    return timedelta(0) if uploading else _settle(message, found)


def _nothing_found(outgoing: Outgoing, message: Message, client: MeshClient) -> timedelta | None:
    """MESH knows of no such message. Only several such answers, of a service that does find others by their local id,
    mean that the message never arrived: the call is deprecated, and where it is gone the answer is the same."""
    times = _answered_nothing(message) + 1
    if times >= LOOKS_FOR_NOTHING and _finds_others(message, client):
        if MessageEvent.objects.filter(message=message, kind="never_arrived").count() >= _SENDS:
            # It is lost every time: somebody must know, and nobody would be told.
            return None
        with transaction.atomic():
            # A look that took so long that somebody else looked, and sent it, must not have it sent once more.
            records.lock(message)
            lease.hold(outgoing)
            records.move(
                message,
                State.QUEUED,
                kind="never_arrived",
                actor=TRACKER,
                detail={"looks": times},
                problem_code="",
                problem="",
                problem_advice="",
            )
        outgoing.looks = 0
        return timedelta(0)
    if outgoing.looks >= _LOOKS_WITHOUT_ANSWER:
        return None
    records.note(message, "not_found", actor=TRACKER)
    return timedelta(seconds=min(settings.RECONCILE_SECONDS * (1 << times), _LONGEST_SECONDS))


def _answered_nothing(message: Message) -> int:
    """How often MESH has said so since the message became uncertain; a look that failed says nothing."""
    events = MessageEvent.objects.filter(message=message)
    since = events.filter(to_state=State.UNCERTAIN).order_by("-id").values_list("id", flat=True).first() or 0
    return events.filter(kind="not_found", id__gt=since).count()


def _finds_others(message: Message, client: MeshClient) -> bool:
    """Whether MESH finds a message by its local id that it is known to have: the newest one of the same mailbox."""
    known = (
        Message.objects.filter(
            mailbox_id=message.mailbox_id,
            direction=Direction.OUT,
            state__in=[State.ACCEPTED, State.COLLECTED],
            outgoing__own_local_id=True,
        )
        .order_by("-sent_at")
        .only("mesh_id", "local_id")
        .first()
    )
    if known is None:
        return False
    try:
        return client.track_by_local_id(known.local_id).message_id == known.mesh_id
    except errors.NotUnique:
        return True
    except errors.NotFound:
        log.warning("local_ids_not_tracked", message=str(message.pk))
        return False


def _follow(message: Message, client: MeshClient) -> timedelta | None:
    """One look at a message that MESH accepted."""
    with transaction.atomic():
        # A report that was committed in the same moment as the message's id did not see it, nor was it seen.
        receive.link_waiting_reports(message)
    if message.state == State.RETURNED and not _restorable(message):
        return None
    try:
        found = client.track(message.mesh_id)
    except errors.NotFound:
        return _next_look(message)
    when = found.acknowledged_at if found.status == "acknowledged" else found.status_timestamp
    if when is None and (found.status == "acknowledged" or (found.status == "accepted" and message.state != State.ACCEPTED)):
        try:
            # Only version 1 says when.
            found = client.track(message.mesh_id, version=1)
        except errors.MeshError:
            log.info("version_1_failed", message=str(message.pk))
    return _settle(message, found)


def _settle(message: Message, found: Tracking) -> timedelta | None:
    if found.status in ("accepted", "acknowledged"):
        book.sent(message, found)
    if found.status == "acknowledged":
        at = found.acknowledged_at or found.status_timestamp or timezone.now()
        records.move(message, State.COLLECTED, kind="collected", actor=TRACKER, acknowledged_at=at)
        return None
    if found.status in ("undeliverable", "error"):
        if message.state != State.RETURNED:
            changes: dict[str, Any] = {
                "status_code": found.status_code[:40],
                "status_event": found.status_event[:40],
                "status_description": (found.status_description or found.failure_diagnostic)[:500],
                "status_at": found.failed_at or found.status_timestamp,
            }
            detail = {"code": found.status_code, "status": found.status}
            with transaction.atomic():
                records.move(message, State.RETURNED, kind="returned", actor=TRACKER, detail=detail, **changes)
                book.returned(message, found.status_code, found.status_description or found.failure_diagnostic)
                suspicions.of_answer(message, code=found.status_code, description=changes["status_description"])
        return _next_look(message) if _restorable(message) else None
    if found.status == "accepted" and message.state != State.ACCEPTED and _put_back(message, found):
        records.move(
            message,
            State.ACCEPTED,
            kind="put_back",
            actor=TRACKER,
            sent_at=found.status_timestamp,
            status_code="",
            status_event="",
            status_description="",
            status_at=None,
        )
    elif message.state == State.ACCEPTED and timezone.now() > message.leaves_inbox_at:
        records.move(message, State.EXPIRED, kind="expired", actor=TRACKER)
    return _next_look(message)


def _restorable(message: Message) -> bool:
    return refusals.restorable(message.status_code, message.status_description)


def _put_back(message: Message, found: Tracking) -> bool:
    """Whether the service desk has put it back into the recipient's inbox since it left that."""
    left = max(message.leaves_inbox_at, message.status_at or message.leaves_inbox_at)
    return found.status_timestamp is not None and found.status_timestamp > left


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
