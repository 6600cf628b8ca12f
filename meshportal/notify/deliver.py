"""Sending what is due, one message at a time under a lease.

| the worker dies | what happens |
|---|---|
| before the try is written | the lease runs out; another worker takes the message as it was |
| after the try was written, before or while it is made | the same; the message is tried again, under the same id |
| after the receiver took it, before that is written | it is sent once more, under the same id: nobody can know that it arrived |
| after that is written | it is never sent again |

| what goes wrong | what happens |
|---|---|
| no connection, no answer, 408, 425, 429, 5xx, a mail server's 4xx | tried again, later each time or when the receiver says |
| that goes on for MESHPORTAL_NOTIFY_HOURS | given up; the channel is failing, which is an alert of its own |
| 3xx, other 4xx, an address that may not be called, a mail server's 5xx | given up at once, likewise |
| a configuration that no key opens | tried again: whoever runs the portal may put the key back |
"""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from meshportal.core import lease
from meshportal.core.crypto import CannotUnseal
from meshportal.notify import transports
from meshportal.notify.models import Attempt, Channel, Delivery, Outcome, Status
from meshportal.notify.transports import Failed

log = structlog.get_logger("notify.deliver")

LEASE = timedelta(minutes=2)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
# One task takes new messages for so long; the next ring goes on.
BUDGET_SECONDS = 40


def run_due() -> int:
    """Sends every message that is due, those that never failed first. Returns how many were taken in hand."""
    until = time.monotonic() + BUDGET_SECONDS
    number = 0
    while time.monotonic() < until:
        due = Delivery.objects.filter(status=Status.WAITING, due_at__lte=timezone.now()).order_by("tries", "due_at")
        claimed = lease.claim(due, limit=1, duration=lease_duration())
        if not claimed:
            break
        send(claimed[0])
        number += 1
    return number


def lease_duration() -> timedelta:
    """How long a claim on a message holds without a sign of life."""
    return min(LEASE, timedelta(seconds=settings.LEASE_SECONDS))


def send(delivery: Delivery) -> None:
    """One try. What becomes of it is written only while the message is still ours."""
    attempt = _begin(delivery)
    failure: Failed | None = None
    try:
        with lease.kept_alive(delivery, lease_duration()):
            channel = Channel.objects.get(pk=delivery.channel_id)
            transports.send(channel.transport, channel.config, delivery.content, str(delivery.pk))
    except Failed as failed:
        failure = failed
    except CannotUnseal:
        failure = Failed("The channel’s configuration cannot be opened with the portal’s keys.")
    except Exception as error:
        # Whatever it was, it must not keep the message leased or the others waiting.
        log.error("delivery_broke", delivery=str(delivery.pk), error=type(error).__name__)
        failure = Failed("The portal itself failed on this message.")
    try:
        _end(delivery, attempt, failure, timezone.now())
    except lease.LeaseLost:
        log.warning("delivery_lease_lost", delivery=str(delivery.pk))


def _begin(delivery: Delivery) -> Attempt:
    with transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(tries=F("tries") + 1)
        delivery.tries += 1
        return Attempt.objects.create(delivery=delivery, began_at=timezone.now())


def _end(delivery: Delivery, attempt: Attempt, failure: Failed | None, now: datetime) -> None:
    with transaction.atomic():
        lease.hold(delivery)
        attempt.ended_at = now
        attempt.problem = "" if failure is None else str(failure)
        if failure is None:
            attempt.outcome, status, due = Outcome.SENT, Status.SENT, now
        else:
            due = now + (failure.wait or _wait(delivery.tries))
            late = due > delivery.created_at + timedelta(hours=settings.NOTIFY_HOURS)
            status = Status.DEAD if failure.for_good or late else Status.WAITING
            attempt.outcome = Outcome.REFUSED if status == Status.DEAD else Outcome.FAILED
        attempt.save()
        over = status != Status.WAITING
        changes = {"status": status, "due_at": due, "problem": attempt.problem, "ended_at": now if over else None}
        lease.release(delivery, **changes)
        _note(delivery, status, attempt.problem, now)
    log.info("delivery_tried", delivery=str(delivery.pk), outcome=str(attempt.outcome), tries=delivery.tries)


def _note(delivery: Delivery, status: Status, problem: str, now: datetime) -> None:
    """What the channel shows of it."""
    rows = Channel.objects.filter(pk=delivery.channel_id)
    if status == Status.SENT:
        rows.filter(Q(failing_since__isnull=False) | ~Q(problem="")).update(failing_since=None, problem="")
    elif status == Status.DEAD:
        rows.update(failing_since=Coalesce("failing_since", Value(now)), problem=problem)
    else:
        rows.update(problem=problem)


def _wait(tries: int) -> timedelta:
    """30 seconds, then twice as long each time, up to an hour; a little apart, so that not all come at once."""
    wait = min(FIRST_WAIT * int(2 ** min(tries - 1, 12)), LONGEST_WAIT)
    return wait * random.uniform(1, 1.2)  # noqa: S311  no secret
