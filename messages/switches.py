"""What :mod:`mailboxes.switches` asks of messages (see its module ``asking``)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from mailboxes.models import Release, SwitchCase
from mailboxes.switches.asking import Held, Proof, Traffic
from meshportal.audit.actors import Actor
from messages import holds, risk
from messages.models import AckAnswer, Hold, Message, Workflow
from messages.states import Direction, State

_LATELY = Message.LIFE
# A report can come so long after its message was sent.
_RETURNED_WITHIN = timedelta(days=60)


def held_by(case: SwitchCase) -> QuerySet[Hold]:
    """What a case holds now."""
    return Hold.objects.filter(case=case, ended_at__isnull=True, message__state=State.ON_HOLD)


class Answers:
    """See :class:`mailboxes.switches.asking.Messages`."""

    def held(self, case: SwitchCase) -> Held:
        """See there."""
        rows = held_by(case).order_by()
        found = rows.aggregate(number=Count("pk"), oldest=Min("since"))
        workflows = rows.values_list("message__workflow_id", flat=True).distinct()
        return Held(found["number"], found["oldest"], tuple(sorted(workflows)))

    def proof(self, case: SwitchCase) -> Proof:
        """Collected, and, where the team's registry names a workflow of acknowledgements, acknowledged without a no."""
        if case.switched_at is None:
            return Proof()
        collected = Message.objects.filter(risk.to_new(case), sent_at__gte=case.switched_at)
        collected = collected.filter(state__in=[State.COLLECTED, State.CONFIRMED])
        names = [address.workflow_id for address in case.addresses.all()]
        rules = Workflow.objects.filter(team_id=case.team_id, workflow_id__in=names).exclude(ack_workflow_id="")
        answered = set(rules.values_list("workflow_id", flat=True))
        counts = {}
        for name in names:
            rows = collected.filter(workflow_id=name)
            if name in answered:
                rows = rows.filter(acks__answer__in=[AckAnswer.POSITIVE, AckAnswer.UNKNOWN])
            counts[name] = rows.order_by().values("pk").distinct().count()
        returned = Message.objects.filter(
            risk.to_old(case) | risk.to_new(case),
            state=State.RETURNED,
            status_code__contains="14",
            seen_at__gt=timezone.now() - _RETURNED_WITHIN,
        )
        last = returned.order_by().aggregate(last=Max(Coalesce("status_at", "updated_at")))["last"]
        return Proof(counts, last)

    def traffic(self, *, team_id: Any, environment: str, mailbox_id: str) -> Traffic:
        """See there."""
        rows = _sent(environment).filter(team_id=team_id, recipient_mailbox=mailbox_id)
        workflows = rows.values_list("workflow_id", flat=True).distinct()
        codes = rows.exclude(outgoing__recipient_ods="").exclude(outgoing__isnull=True)
        return Traffic(
            tuple(sorted(name for name in workflows if name)),
            tuple(sorted(codes.values_list("outgoing__recipient_ods", flat=True).distinct())),
        )

    def teams_that_send(self, *, environment: str, ods_code: str, mailbox_id: str) -> list[Any]:
        """See there."""
        wanted = Q(recipient_mailbox=mailbox_id) if mailbox_id else Q()
        if ods_code:
            wanted |= Q(outgoing__recipient_ods=ods_code)
        return list(_sent(environment).filter(wanted).values_list("team_id", flat=True).distinct()) if wanted else []

    def release(self, *, actor: Actor, release: Release, addresses: Mapping[str, str]) -> int:
        """See there."""
        return holds.release(actor=actor, release=release, addresses=addresses)


def _sent(environment: str) -> QuerySet[Message]:
    since = timezone.now() - _LATELY
    return Message.objects.filter(environment=environment, direction=Direction.OUT, seen_at__gt=since).order_by()
