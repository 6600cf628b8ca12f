"""Keeping alerts true to what holds now: raises, raises again, lifts, and ends them.

| what happened since the last look | what becomes of the alert |
|---|---|
| holds, and no alert is open | a new one |
| holds again within :data:`RETURNS_WITHIN` of having been over by itself | the same one is open again |
| holds on, though a person closed it with a reason | it stays closed until it is worse, or comes back after having been over |
| holds on | seen once more; its words are as they are now |
| holds on and is worse (level or severity) | told again; an acknowledgement of less no longer counts |
| holds on and is better | quietly lower; worse again is told again |
| is over | closed by itself |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q

from meshportal.notify import registry
from meshportal.notify.models import Act, Alert, AlertEvent, Notice
from meshportal.notify.registry import Condition

RETURNS_WITHIN = timedelta(hours=1)
# SQLite takes a limited number of values in one statement.
_AT_ONCE = 500

Key = tuple[Any, str, str]
_SHOWN = ("severity", "subject", "sentence", "url_name", "url_args", "url_query", "data")
_TOLD = (*_SHOWN, "level", "level_at", "acknowledged_at", "acknowledged_by", "escalated_at")


def key_of(found: Alert | Condition) -> Key:
    """What makes two sightings the same alert."""
    team = found.team_id if isinstance(found, Alert) else found.team and found.team.pk
    return team, found.kind, found.key


def keep_true(kinds: Sequence[str], conditions: Iterable[Condition], now: datetime, *, also_over: bool = True) -> None:
    """Makes the alerts of ``kinds`` fit ``conditions``, all in one transaction.

    ``also_over``: ``conditions`` are all that hold, so whatever is not among them is over.
    """
    holding: dict[Key, Condition] = {}
    for condition in conditions:
        if condition.kind not in kinds:
            raise ValueError(f"A condition of the kind {condition.kind!r} came from a rule for {', '.join(kinds)}.")
        holding.setdefault(key_of(condition), condition)
    with transaction.atomic():
        rows = Alert.objects.filter(kind__in=kinds, closed_at__isnull=True).select_for_update(of=("self",)).order_by("pk")
        if not also_over:
            rows = rows.filter(key__in=[key for _team, _kind, key in holding])
        going_on = {key_of(alert): alert for alert in rows}
        _see_again([(alert, holding[key]) for key, alert in going_on.items() if key in holding], now)
        _come_up([condition for key, condition in holding.items() if key not in going_on], now)
        if also_over:
            _end([alert for key, alert in going_on.items() if key not in holding], now)


def _see_again(pairs: list[tuple[Alert, Condition]], now: datetime) -> None:
    changed, events = [], []
    for alert, condition in pairs:
        shown = shown_of(condition)
        worse = condition.level > alert.level or shown["severity"] > alert.severity
        better = condition.level < alert.level
        if not worse and not better and all(getattr(alert, name) == value for name, value in shown.items()):
            continue
        for name, value in shown.items():
            setattr(alert, name, value)
        alert.level = condition.level
        if worse:
            alert.level_at, alert.acknowledged_at, alert.acknowledged_by, alert.escalated_at = now, None, "", None
            events.append(AlertEvent.of(alert, Act.ROSE, now, words=condition.sentence))
        if better:
            Notice.objects.filter(alert=alert, level__gt=condition.level).update(level=condition.level)
        changed.append(alert)
    Alert.objects.bulk_update(changed, _TOLD, batch_size=100)
    AlertEvent.objects.bulk_create(events, batch_size=_AT_ONCE)
    _touch([alert.pk for alert, _condition in pairs], now)


def _come_up(conditions: list[Condition], now: datetime) -> None:
    earlier = _closed_lately(conditions, now)
    new, back, events, seen = [], [], [], []
    for condition in conditions:
        last = earlier.get(key_of(condition))
        if last is not None and last.closed_by:
            if condition.level <= last.level and shown_of(condition)["severity"] <= last.severity:
                seen.append(last.pk)
                continue
            last = None
        if last is None:
            alert = alert_of(condition, now)
            new.append(alert)
            events.append(AlertEvent.of(alert, Act.RAISED, now, words=condition.sentence))
            continue
        _return(last, condition, now)
        back.append(last)
        events.append(AlertEvent.of(last, Act.RETURNED, now, words=condition.sentence))
    Alert.objects.bulk_create(new, batch_size=100)
    Alert.objects.bulk_update(back, [*_TOLD, "opened_at", "last_seen", "closed_at", "returns", "count"], batch_size=100)
    AlertEvent.objects.bulk_create(events, batch_size=_AT_ONCE)
    _touch(seen, now)


def _closed_lately(conditions: list[Condition], now: datetime) -> dict[Key, Alert]:
    """The latest closed alert of each key that was seen within the time in which it counts as the same."""
    found: dict[Key, Alert] = {}
    for part in _parts([condition.key for condition in conditions]):
        kinds = {condition.kind for condition in conditions}
        rows = Alert.objects.filter(kind__in=kinds, key__in=part, closed_at__isnull=False)
        lately = Q(closed_by="", closed_at__gt=now - RETURNS_WITHIN) | (~Q(closed_by="") & Q(last_seen__gt=now - RETURNS_WITHIN))
        for alert in rows.filter(lately).order_by("closed_at", "pk"):
            found[key_of(alert)] = alert
    return found


def _return(alert: Alert, condition: Condition, now: datetime) -> None:
    worse = condition.level > alert.level
    if condition.level < alert.level:
        Notice.objects.filter(alert=alert, level__gt=condition.level).update(level=condition.level)
    for name, value in shown_of(condition).items():
        setattr(alert, name, value)
    alert.level, alert.opened_at, alert.last_seen, alert.closed_at = condition.level, now, now, None
    alert.returns, alert.count = alert.returns + 1, alert.count + 1
    if worse:
        alert.level_at, alert.acknowledged_at, alert.acknowledged_by, alert.escalated_at = now, None, "", None


def _end(alerts: list[Alert], now: datetime) -> None:
    for part in _parts([alert.pk for alert in alerts]):
        Alert.objects.filter(pk__in=part).update(closed_at=now, closed_by="", closed_reason="", updated_at=now)
    AlertEvent.objects.bulk_create([AlertEvent.of(alert, Act.OVER, now) for alert in alerts], batch_size=_AT_ONCE)


def _touch(keys: list[Any], now: datetime) -> None:
    for part in _parts(keys):
        Alert.objects.filter(pk__in=part).update(last_seen=now, count=F("count") + 1)


def alert_of(condition: Condition, now: datetime) -> Alert:
    """An unsaved alert."""
    return Alert(
        team=condition.team,
        kind=condition.kind,
        key=condition.key,
        level=condition.level,
        level_at=now,
        first_seen=min(condition.since or now, now),
        opened_at=now,
        last_seen=now,
        **shown_of(condition),
    )


def shown_of(condition: Condition) -> dict[str, Any]:
    """What an alert shows of a condition, by column."""
    severity = condition.severity or registry.kind(condition.kind).severity
    return {
        "severity": int(severity),
        "subject": condition.subject[:250],
        "sentence": condition.sentence,
        "url_name": condition.url_name,
        "url_args": dict(condition.url_args),
        "url_query": dict(condition.url_query),
        "data": dict(condition.data),
    }


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
