"""Sending again whatever fits a filter: what would happen, and the one word that begins it. The work is in
:mod:`messages.bulk_work`.

| what is asked | what it gets |
|---|---|
| no filter, or more messages than the portal is set to take at once | a sentence; nothing is begun |
| messages of several environments | a sentence: choose a mailbox; nothing is begun |
| no message of the filter can be sent again | their number by reason; nothing can be begun |
| the messages of the filter, or what can be done to them, changed since the person looked | it is shown anew |
| two people begin with the same filter in the same moment | the second one is shown anew what is left: nothing |
| a rule forbids a message, nobody asked where the rule wants that, it has not come to an end, was collected, was sent
  again before, or its body is gone | that message is left as it is, with its reason; the others go |
| a person stops it | what is done is done; the rest is left, with the reason |
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from certificates.models import Environment
from meshportal.accounts.models import Team
from meshportal.audit import context
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from messages import outbox, registry, resend
from messages.models import BulkResend, BulkResendRow, BulkRowState, Message, Outgoing, ResendPolicy

CHANGED = (
    "Other messages would be sent again than those that you looked at, so nothing was begun. Look at the numbers again, then "
    "tick the box."
)
WAITS_ELSEWHERE = "Somebody is sending it again already, together with others."
STOPPED = "It was stopped before this message had its turn."


@dataclass(frozen=True)
class Plan:
    """What would happen to the messages of a filter. ``go`` and ``left`` are newest first."""

    total: int
    go: Sequence[Message] = ()
    left: Sequence[tuple[Message, str]] = ()
    # How many of both want to know who asked.
    on_request: int = 0
    # Why nothing can be begun, as a sentence; then nothing else is known.
    obstacle: str = ""

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why messages are left as they are, the most frequent first."""
        return Counter(why for _, why in self.left).most_common()

    @property
    def digest(self) -> str:
        """The same for two plans that send the same messages again, and for no others."""
        return hashlib.sha256("\n".join(sorted(str(row.pk) for row in self.go)).encode()).hexdigest()

    @property
    def environment(self) -> str:
        """The one environment of what is sent again; '' when nothing is."""
        return self.go[0].environment if self.go else ""


def plan(team: Team, rows: QuerySet[Message], *, asked_by: str = "") -> Plan:
    """What sending ``rows``, sent messages of ``team``, again would do."""
    most = settings.RESEND_MOST
    waiting = BulkResendRow.objects.filter(message=OuterRef("pk"), state=BulkRowState.WAITING)
    again = Outgoing.objects.filter(resend_of=OuterRef("pk"))
    rows = rows.select_related("mailbox", "outgoing", "payload").annotate(again=Exists(again), elsewhere=Exists(waiting))
    found = list(rows.order_by("-seen_at", "-pk")[: most + 1])
    if len(found) > most:
        return Plan(
            total=len(found),
            obstacle=f"More than {most:,} messages fit, which is the most that are sent again at once. Narrow the filter, by a "
            "mailbox, a state or a period for example, and do the rest after that.",
        )
    rules = registry.rules(team.pk, [row.workflow_id for row in found])
    go, left, on_request = [], [], 0
    for row in found:
        rule = rules.get(row.workflow_id, "")
        why = _why_not(row, rule, asked_by)
        on_request += rule == ResendPolicy.ON_REQUEST and why in ("", resend.NOBODY_ASKED)
        if why:
            left.append((row, why))
        else:
            go.append(row)
    environments = sorted({row.environment for row in go})
    if len(environments) > 1:
        names = " and ".join(Environment(name).label.lower() for name in environments)
        return Plan(
            total=len(found),
            obstacle=f"These messages belong to different environments ({names}), which are never mixed in one act. Choose a "
            "mailbox among the filters.",
        )
    return Plan(total=len(found), go=go, left=left, on_request=on_request)


def _why_not(row: Any, rule: str, asked_by: str) -> str:
    if row.elsewhere:
        return WAITS_ELSEWHERE
    if row.again:
        return outbox.SENT_AGAIN
    return resend.not_with_others(row, rule, asked_by)


def start(
    *,
    actor: Actor,
    team: Team,
    rows: QuerySet[Message],
    digest: str,
    reason: str,
    filters: Sequence[tuple[str, str]],
    asked_by: str = "",
) -> BulkResend:
    """Begins to send again what can be of ``rows``. ``digest`` is that of the plan that the person agreed to; ``filters`` is
    what the rows were found by, in words.

    Raises Refused when that plan is not true any more, or nothing can be begun. Then nothing was.
    """
    if not reason.strip():
        raise Refused("Say why the documents are sent again. The reason is kept with your name.")
    now = timezone.now()
    with transaction.atomic():
        # Two people with the same messages, one after the other: the second one's plan finds them taken.
        Team.objects.select_for_update(no_key=True).get(pk=team.pk)
        planned = plan(team, rows, asked_by=asked_by)
        if planned.obstacle:
            raise Refused(planned.obstacle)
        if planned.digest != digest or not planned.go:
            raise Refused(CHANGED)
        gesture = BulkResend.objects.create(
            team=team,
            environment=planned.environment,
            filters=[list(pair) for pair in filters],
            reason=reason.strip(),
            asked_by=asked_by.strip()[:150],
            due_at=now,
            **BulkResend.asked_by_actor(actor),
        )
        why = {row.pk: said for row, said in planned.left}
        # Oldest first, as they were sent the first time.
        ordered = sorted([*planned.go, *(row for row, _ in planned.left)], key=lambda row: (row.seen_at, row.pk))
        BulkResendRow.objects.bulk_create(
            [
                BulkResendRow(
                    gesture=gesture,
                    message=row,
                    state=BulkRowState.LEFT if row.pk in why else BulkRowState.WAITING,
                    why_not=why.get(row.pk, ""),
                    try_at=now,
                )
                for row in ordered
            ],
            batch_size=500,
        )
        with context.request(gesture.request_id):
            audit.record(
                actor=actor,
                action="bulk_resend.begun",
                target=gesture,
                team=team,
                reason=gesture.reason,
                after={
                    "messages": len(planned.go),
                    "left": len(planned.left),
                    "environment": gesture.environment,
                    "filters": dict(filters),
                    "asked_by": gesture.asked_by,
                },
            )
    return gesture


def stop(*, actor: Actor, gesture: BulkResend) -> int:
    """Ends a bulk resend before its time; how many messages are left as they are. Raises Refused when it has ended."""
    with transaction.atomic():
        gesture = BulkResend.objects.select_for_update(of=("self",)).select_related("team").get(pk=gesture.pk)
        if gesture.finished_at is not None:
            raise Refused("This had come to its end already.")
        now = timezone.now()
        left = gesture.rows.filter(state=BulkRowState.WAITING).update(state=BulkRowState.LEFT, why_not=STOPPED, updated_at=now)
        BulkResend.objects.filter(pk=gesture.pk).update(
            due_at=None, finished_at=now, stopped_at=now, stopped_by=actor.label[:300], updated_at=now
        )
        with context.request(gesture.request_id):
            audit.record(actor=actor, action="bulk_resend.stopped", target=gesture, team=gesture.team, after={"left": left})
    return left
