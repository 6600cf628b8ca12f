"""Reads about alerts."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from meshportal.accounts.models import Team
from meshportal.notify.models import Alert


def alerts_of(team: Team) -> QuerySet[Alert]:
    """The alerts of ``team``, and those of the portal itself."""
    return Alert.objects.filter(Q(team=team) | Q(team__isnull=True)).select_related("assigned_to", "team")


def open_count(team: Team) -> int:
    """How many alerts of ``team`` are open."""
    return Alert.objects.filter(Q(team=team) | Q(team__isnull=True), closed_at__isnull=True).count()


def open_data(kind: str) -> dict[str, dict[str, Any]]:
    """What the rule of ``kind`` kept with each open alert, by the alert's key."""
    return dict(Alert.objects.filter(kind=kind, closed_at__isnull=True).values_list("key", "data"))
