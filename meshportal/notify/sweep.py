"""The sweep: every minute asks every rule what holds now, and keeps the alerts true to it.

| what goes wrong | what happens |
|---|---|
| a rule raises | it is logged by its name, its alerts stay as they are, the other rules go on, and that is an alert itself |
| the worker dies in the middle | each rule is one transaction; the next sweep does the rest |
| two workers sweep at once | one has the turn; the other does nothing |
| the scheduler dies | the last sweep rang for the next one itself (see :mod:`meshportal.notify.tasks`), which finds it silent |
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from meshportal.accounts.models import Team
from meshportal.notify import registry, turns, upkeep
from meshportal.notify.models import Act, Alert, AlertEvent, Severity
from meshportal.notify.registry import Condition

log = structlog.get_logger("notify.sweep")

EVERY = timedelta(minutes=1)
RULE_BROKEN = "portal.rule_broken"


def run_due() -> bool:
    """One sweep, when one is due. True when it was ours to do."""
    with turns.taken("sweep", every=EVERY) as mine:
        if mine:
            run(timezone.now())
    return mine


def run(now: datetime) -> None:
    """Asks every rule, then passes on what nobody acknowledged."""
    broken = []
    for rule in registry.rules():
        try:
            upkeep.keep_true(rule.kinds, rule.find(now), now)
        except Exception as error:
            # By its class alone: the words of an exception can hold anything.
            log.error("rule_failed", rule=rule.name, error=type(error).__name__)
            broken.append(rule.name)
    upkeep.keep_true([RULE_BROKEN], _broken(broken), now)
    escalate(now)


def _broken(names: Iterable[str]) -> list[Condition]:
    found = sorted(names)
    if not found:
        return []
    return [
        Condition(
            kind=RULE_BROKEN,
            key="rules",
            subject="Warnings",
            sentence=f"cannot be worked out: the rule{'' if len(found) == 1 else 's'} {', '.join(found)} failed.",
            team=team,
        )
        for team in Team.objects.order_by("pk")
    ]


def escalate(now: datetime) -> None:
    """Marks critical alerts that nobody acknowledged in time; the channels for that are told."""
    late = now - timedelta(minutes=settings.NOTIFY_ESCALATE_MINUTES)
    with transaction.atomic():
        rows = Alert.objects.select_for_update(of=("self",)).filter(
            Q(snoozed_until__isnull=True) | Q(snoozed_until__lte=now),
            severity=Severity.CRITICAL,
            closed_at__isnull=True,
            acknowledged_at__isnull=True,
            escalated_at__isnull=True,
            opened_at__lte=late,
            level_at__lte=late,
        )
        found = list(rows.order_by("pk").values_list("pk", flat=True))
        for start in range(0, len(found), 500):
            Alert.objects.filter(pk__in=found[start : start + 500]).update(escalated_at=now)
        AlertEvent.objects.bulk_create([AlertEvent(alert_id=key, at=now, act=Act.ESCALATED) for key in found], batch_size=500)
