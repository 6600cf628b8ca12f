"""Reads about alerts and channels."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404

from meshportal.accounts.models import Team, User
from meshportal.accounts.scoping import in_team
from meshportal.notify.models import Alert, AlertEvent, Channel, Delivery, Subscription

MOST_EVENTS = 200
MOST_DELIVERIES = 20
# A deeper count would not be read, and costs on every page.
MOST_COUNTED = 999


def alerts_of(team: Team) -> QuerySet[Alert]:
    """The alerts of ``team``, and those of the portal itself."""
    return Alert.objects.filter(Q(team=team) | Q(team__isnull=True)).select_related("assigned_to", "team")


def alert_or_404(team: Team, key: Any) -> Alert:
    """One of :func:`alerts_of`. Raises Http404 for one of another team and for none alike."""
    found = alerts_of(team).filter(pk=key).first()
    if found is None:
        raise Http404
    return found


def open_count(team: Team) -> int:
    """How many alerts of ``team`` are open and not snoozed, no more than :data:`MOST_COUNTED` and one."""
    rows = Alert.objects.filter(Q(team=team) | Q(team__isnull=True), closed_at__isnull=True).order_by()
    return len(rows.values_list("pk")[: MOST_COUNTED + 1])


def events_of(alert: Alert) -> list[AlertEvent]:
    """The latest steps, newest first; one more than :data:`MOST_EVENTS` when there are more."""
    return list(AlertEvent.objects.filter(alert=alert).order_by("-id")[: MOST_EVENTS + 1])


def members_of(team: Team) -> QuerySet[User]:
    """Who an alert of ``team`` can be given to."""
    return User.objects.filter(memberships__team=team, is_active=True).order_by("full_name")


def channels_of(team: Team) -> QuerySet[Channel]:
    """The channels of ``team``, without what is sealed."""
    return in_team(Channel, team).defer("config").order_by("name").prefetch_related("subscriptions")


def subscription_or_404(channel: Channel, key: Any) -> Subscription:
    """One subscription of ``channel``. Raises Http404."""
    found = channel.subscriptions.filter(pk=key).first()
    if found is None:
        raise Http404
    return found


def deliveries_of(channel: Channel) -> list[Delivery]:
    """The latest messages to ``channel``, newest first."""
    return list(Delivery.objects.filter(channel=channel).order_by("-created_at", "-pk")[:MOST_DELIVERIES])


def open_data(kind: str) -> dict[str, dict[str, Any]]:
    """What the rule of ``kind`` kept with each open alert, by the alert's key."""
    return dict(Alert.objects.filter(kind=kind, closed_at__isnull=True).values_list("key", "data"))


def mine(rows: QuerySet[Alert], user: User) -> QuerySet[Alert]:
    """Those that ``user`` deals with."""
    return rows.filter(closed_at__isnull=True, assigned_to=user)


def snoozed(rows: QuerySet[Alert], now: datetime) -> QuerySet[Alert]:
    """Those that nobody wants to hear of yet."""
    return rows.filter(closed_at__isnull=True, snoozed_until__gt=now)
