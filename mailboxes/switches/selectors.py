"""Reads about switch cases."""

from __future__ import annotations

from django.db.models import Count, QuerySet

from mailboxes.models import CaseEvent, Evidence, Mailbox, Release, SwitchCase
from mailboxes.switches.states import ENDED
from meshportal.accounts.models import Team, User
from meshportal.accounts.scoping import in_team

MAX_ROWS = 200


def cases_of(team: Team) -> QuerySet[SwitchCase]:
    """The team's cases with what a list shows."""
    rows = in_team(SwitchCase, team).select_related("team", "organisation", "owner", "deputy")
    return rows.annotate(signs=Count("evidence"))


def open_cases() -> QuerySet[SwitchCase]:
    """The open cases of every team: for rules, never for a page."""
    return SwitchCase.objects.exclude(state__in=ENDED).select_related("team", "organisation").order_by("pk")


def evidence_of(case: SwitchCase) -> list[Evidence]:
    """Its latest evidence, newest first."""
    return list(Evidence.objects.filter(case=case).order_by("-at", "-pk")[:MAX_ROWS])


def events_of(case: SwitchCase) -> list[CaseEvent]:
    """Its latest steps, newest first."""
    return list(CaseEvent.objects.filter(case=case).order_by("-id")[:MAX_ROWS])


def releases_of(case: SwitchCase) -> list[Release]:
    """Its latest releases, newest first."""
    return list(Release.objects.filter(case=case).order_by("-asked_at")[:MAX_ROWS])


def people_of(team: Team) -> QuerySet[User]:
    """Who can look after a case."""
    return User.objects.filter(memberships__team=team, is_active=True).order_by("full_name", "email")


def environments_of(team: Team) -> list[str]:
    """The environments in which the team has mailboxes."""
    return sorted(in_team(Mailbox, team).order_by().values_list("environment", flat=True).distinct())
