"""The one door to a team's rows (promise P8). Views and forms use nothing else.

A stranger and a wrong id look the same: 404. Nobody learns that something exists.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404

from meshportal.accounts.models import Membership, Team, TeamOwned

Row = TypeVar("Row", bound=TeamOwned)


def membership_or_404(user: Any, slug: str) -> Membership:
    """The membership of ``user`` in the team at ``slug``. Raises Http404 for no such team and for no such member alike."""
    if not user.is_authenticated or not user.is_active:
        raise Http404
    found = Membership.objects.select_related("team", "user").filter(user=user, team__slug=slug).first()
    if found is None:
        raise Http404
    return found


def teams_of(user: Any) -> QuerySet[Team]:
    """The teams that ``user`` belongs to, by name."""
    return Team.objects.filter(memberships__user=user).order_by("name")


def memberships_of(user: Any) -> QuerySet[Membership]:
    """What ``user`` is to each team, by the team's name."""
    return Membership.objects.filter(user=user).select_related("team").order_by("team__name")


def in_team(model: type[Row], team: Team) -> QuerySet[Row]:
    """The rows of ``model`` that ``team`` owns."""
    return model._default_manager.filter(team=team)


def get_or_404(rows: type[Row] | QuerySet[Row], team: Team, **lookup: Any) -> Row:
    """One row of the team. Raises Http404 when there is none, also when another team has it."""
    queryset = rows.filter(team=team) if isinstance(rows, QuerySet) else in_team(rows, team)
    try:
        return queryset.get(**lookup)
    except (queryset.model.DoesNotExist, ValidationError, ValueError):
        raise Http404 from None
