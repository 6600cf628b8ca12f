"""What is done with alerts: by parts of the portal that raise them, and by people. Each act is one transaction with its
audit row; what the portal does by itself stands in the alert's own history, which nothing can alter either."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from meshportal.accounts.models import Membership, Team, User
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.notify import upkeep
from meshportal.notify.models import Act, Alert, AlertEvent
from meshportal.notify.registry import Condition

OVER_ALREADY = "This alert is closed already."


def raise_alert(*, actor: Actor, condition: Condition, now: datetime | None = None) -> Alert | None:
    """Raises ``condition``, or sees it once more. None when a person closed just this and it has not become worse since."""
    moment = now or timezone.now()
    with transaction.atomic():
        upkeep.keep_true([condition.kind], [condition], moment, also_over=False)
        alert = _open(condition.team, condition.kind, condition.key)
        if actor.kind != "system" and alert is not None:
            audit.record(actor=actor, action="alert.raised", target=_target(alert), team=condition.team)
    return alert


def close_alert(*, actor: Actor, team: Team | None, kind: str, key: str, reason: str = "") -> None:
    """The condition is over. Does nothing where no such alert is open."""
    with transaction.atomic():
        alert = _open(team, kind, key)
        if alert is None:
            return
        by = "" if actor.kind == "system" else actor.label
        _close(alert, by=by, reason=reason)
        if actor.kind != "system":
            audit.record(actor=actor, action="alert.closed", target=_target(alert), team=team, reason=reason)


def acknowledge(*, actor: Actor, alert: Alert) -> Alert:
    """Somebody has seen it and deals with it: it is not told again unless it becomes worse. Raises Refused."""
    with transaction.atomic():
        alert = _held(alert)
        if alert.acknowledged_at is not None:
            raise Refused(f"{alert.acknowledged_by.partition(' <')[0]} acknowledged this alert already.")
        alert.acknowledged_at, alert.acknowledged_by = timezone.now(), actor.label[:300]
        alert.save(update_fields=["acknowledged_at", "acknowledged_by", "updated_at"])
        _note(alert, Act.ACKNOWLEDGED, actor)
        audit.record(actor=actor, action="alert.acknowledged", target=_target(alert), team=alert.team)
    return alert


def snooze(*, actor: Actor, alert: Alert, until: datetime | None) -> Alert:
    """Nobody is told of it before ``until``; None wakes it. Raises Refused."""
    now = timezone.now()
    with transaction.atomic():
        alert = _held(alert)
        if until is not None and until <= now:
            raise Refused("Choose a time that is still to come.")
        if until is None and not alert.snoozed_at(now):
            raise Refused("This alert is not snoozed.")
        before, alert.snoozed_until = alert.snoozed_until, until
        alert.save(update_fields=["snoozed_until", "updated_at"])
        _note(alert, Act.SNOOZED if until else Act.WOKEN, actor, until.isoformat(timespec="minutes") if until else "")
        audit.record(
            actor=actor,
            action="alert.snoozed" if until else "alert.woken",
            target=_target(alert),
            team=alert.team,
            before={"until": before.isoformat() if before else ""},
            after={"until": until.isoformat() if until else ""},
        )
    return alert


def assign(*, actor: Actor, alert: Alert, to: User | None) -> Alert:
    """Says who deals with it; None: nobody in particular. Raises Refused for somebody who is not of the team."""
    with transaction.atomic():
        alert = _held(alert)
        if to is not None and not Membership.objects.filter(user=to, team=alert.team).exists():
            raise Refused("Only a member of this team can deal with its alerts.")
        before, alert.assigned_to = alert.assigned_to, to
        alert.save(update_fields=["assigned_to", "updated_at"])
        _note(alert, Act.ASSIGNED, actor, f"to {to.full_name}" if to else "to nobody in particular")
        audit.record(
            actor=actor,
            action="alert.assigned",
            target=_target(alert),
            team=alert.team,
            before={"to": before.full_name if before else ""},
            after={"to": to.full_name if to else ""},
        )
    return alert


def comment(*, actor: Actor, alert: Alert, words: str) -> Alert:
    """Adds a note for colleagues. It never leaves the portal. Raises Refused when it is empty."""
    if not words.strip():
        raise Refused("Write something first.")
    with transaction.atomic():
        alert = _held(alert, closed_too=True)
        _note(alert, Act.COMMENTED, actor, words.strip())
        audit.record(actor=actor, action="alert.commented", target=_target(alert), team=alert.team)
    return alert


def close(*, actor: Actor, alert: Alert, reason: str) -> Alert:
    """A person says that it is dealt with. It stays closed while nothing gets worse. Raises Refused."""
    if not reason.strip():
        raise Refused("Say why the alert is closed.")
    with transaction.atomic():
        alert = _held(alert)
        _close(alert, by=actor.label, reason=reason.strip())
        audit.record(actor=actor, action="alert.closed", target=_target(alert), team=alert.team, reason=reason.strip())
    return alert


def _open(team: Team | None, kind: str, key: str) -> Alert | None:
    rows = Alert.objects.select_for_update(of=("self",)).filter(kind=kind, key=key, closed_at__isnull=True)
    return rows.filter(team=team).first() if team else rows.filter(team__isnull=True).first()


def _held(alert: Alert, *, closed_too: bool = False) -> Alert:
    found = Alert.objects.select_for_update(of=("self",)).select_related("team", "assigned_to").get(pk=alert.pk)
    if found.team_id is None:
        raise Refused("This alert is about the portal itself. Whoever runs the portal deals with it.")
    if not found.open and not closed_too:
        raise Refused(OVER_ALREADY)
    return found


def _close(alert: Alert, *, by: str, reason: str) -> None:
    now = timezone.now()
    alert.closed_at, alert.closed_by, alert.closed_reason = now, by[:300], reason
    alert.save(update_fields=["closed_at", "closed_by", "closed_reason", "updated_at"])
    AlertEvent.of(alert, Act.CLOSED if by else Act.OVER, now, by=by, words=reason).save(force_insert=True)


def _note(alert: Alert, act: Act, actor: Actor, words: str = "") -> None:
    AlertEvent.of(alert, act, timezone.now(), by=actor.label, words=words).save(force_insert=True)


def _target(alert: Alert) -> tuple[str, str, str]:
    return "alert", str(alert.pk), str(alert)[:300]
