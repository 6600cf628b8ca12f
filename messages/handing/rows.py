"""The rows of messages that are handed on: made with the message, written under the lease of their outlet."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from mailboxes.models import Outlet
from mailboxes.problems import Problem
from meshportal.core import lease
from messages import records
from messages.models import Handed, HandOver, Message

HANDER = "meshportal hand-over"


def plan(message: Message) -> None:
    """Makes the rows of a message that is stored in this very transaction."""
    for outlet in Outlet.objects.filter(mailbox_id=message.mailbox_id, enabled=True).only("pk", "channel"):
        HandOver.objects.create(team_id=message.team_id, message=message, outlet=outlet)


def due(outlet: Outlet) -> QuerySet[HandOver]:
    """What the outlet may hand on now, in the order in which it came."""
    rows = HandOver.objects.filter(outlet=outlet, state=Handed.PENDING, due_at__lte=timezone.now())
    return rows.order_by("began_at", "created_at", "pk")


def outlets_due() -> QuerySet[Outlet]:
    """Outlets with something to hand on, that do not wait for their consumer; the longest due first."""
    pending = HandOver.objects.filter(outlet=OuterRef("pk"), state=Handed.PENDING, due_at__lte=timezone.now())
    return Outlet.objects.filter(Exists(pending), resume_at__lte=timezone.now()).order_by("resume_at")


def not_handed_on() -> Exists:
    """Messages that a consumer of their mailbox does not have, for a filter."""
    return Exists(HandOver.objects.filter(message=OuterRef("pk")).exclude(state=Handed.DONE))


def of_message(message: Message) -> list[HandOver]:
    """Where the message was, or is to be, handed on to."""
    found = HandOver.objects.filter(message=message).select_related("outlet").defer("outlet__secret")
    return list(found.order_by("outlet__channel"))


def write(outlet: Outlet, row: HandOver, **changes: Any) -> None:
    """Writes to a row while the lease of its outlet is held. Raises LeaseLost."""
    with transaction.atomic():
        lease.hold(outlet)
        HandOver.objects.filter(pk=row.pk).update(updated_at=timezone.now(), **changes)
    for name, value in changes.items():
        setattr(row, name, value)


def done(outlet: Outlet, row: HandOver) -> None:
    """Commits that a message was handed on, once. Raises LeaseLost."""
    now = timezone.now()
    with transaction.atomic():
        records.lock(row.message)
        lease.hold(outlet)
        write(outlet, row, state=Handed.DONE, done_at=now, problem_code="", problem="", problem_advice="")
        records.note(row.message, "handed_on", actor=HANDER, channel=outlet.channel, attempt=row.tries)


def later(outlet: Outlet, row: HandOver, problem: Problem, **changes: Any) -> None:
    """Commits why a try failed. The timeline tells the first try that failed, and no other: an outage is not a step of every
    message that waited through it. Raises LeaseLost."""
    first = not row.problem_code
    with transaction.atomic():
        records.lock(row.message)
        write(outlet, row, **_said(problem), **changes)
        if first:
            records.note(row.message, "hand_over_failed", actor=HANDER, channel=outlet.channel, problem=problem.sentence)


def give_up(outlet: Outlet, row: HandOver, problem: Problem) -> None:
    """Commits that a message is not tried again by itself. Raises LeaseLost."""
    with transaction.atomic():
        records.lock(row.message)
        write(outlet, row, state=Handed.FAILED, **_said(problem))
        records.note(
            row.message, "hand_over_given_up", actor=HANDER, channel=outlet.channel, problem=problem.sentence, attempt=row.tries
        )


def _said(problem: Problem) -> dict[str, str]:
    return {"problem_code": problem.code, "problem": problem.sentence, "problem_advice": problem.advice}
