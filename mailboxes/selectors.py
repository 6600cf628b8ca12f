"""Reads about mailboxes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Count,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    Min,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from mailboxes import health
from mailboxes.models import Mailbox, Mode, Onboarding, Outlet, WatchedFolder
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.core import lease

# A due mailbox that nobody picked up for this long means that no worker is taking work.
PICK_UP_WITHIN = timedelta(minutes=5)
PAUSED_FOR = timedelta(days=1)
# With a day set on which it goes on: what nobody collects leaves the inbox after 5 days (MESH API specification).
PAUSED_UNTIL_FOR = timedelta(days=4)
# What no page shows, and what must not keep a page from showing when it cannot be unsealed.
_SEALED = ("password", "identity__private_key", "identity__certificate_pem")

_OUTLET_SEALED = ("secret", "mailbox__password")


def mailboxes_of(team: Team) -> QuerySet[Mailbox]:
    """The team's mailboxes with what a list shows, by name."""
    rows = in_team(Mailbox, team).select_related("organisation", "identity").defer(*_SEALED)
    return rows.order_by("name", "mailbox_id")


def every_mailbox() -> QuerySet[Mailbox]:
    """The mailboxes of every team, without what is sealed: for rules, never for a page."""
    return Mailbox.objects.select_related("organisation", "identity", "team").defer(*_SEALED).order_by("pk")


def paused_too_long(mailboxes: QuerySet[Mailbox], now: datetime) -> QuerySet[Mailbox]:
    """Those that were paused for so long that they may have been forgotten; with an end set, a little before letters are lost."""
    # Those that are being onboarded are paused for that; their own list says what they wait for.
    begun = Onboarding.objects.filter(mailbox__isnull=False, live_at__isnull=True, stopped_at__isnull=True).values("mailbox")
    rows = (
        mailboxes.filter(mode=Mode.PAUSED, archived_at__isnull=True)
        .exclude(pk__in=begun)
        .annotate(pause_began=Coalesce("paused_at", "updated_at"))
    )
    forgotten = Q(paused_until__isnull=True) | Q(paused_until__lt=now - timedelta(hours=1))
    return rows.filter(Q(pause_began__lt=now - PAUSED_UNTIL_FOR) | forgotten & Q(pause_began__lt=now - PAUSED_FOR))


def run_off_over(mailboxes: QuerySet[Mailbox], now: datetime) -> QuerySet[Mailbox]:
    """Those that are being closed and may be archived."""
    return mailboxes.filter(archived_at__isnull=True, closing_at__lte=now - Mailbox.RUN_OFF)


def said_by_its_certificate(mailbox: Mailbox, now: datetime) -> bool:
    """True when what is wrong is said once for all the mailboxes of a certificate that has expired."""
    expired = mailbox.identity is not None and mailbox.identity.lapses_at <= now
    return mailbox.problem_code == "certificate_expired" and expired


def link_to(mailbox: Mailbox, name: str = "mailboxes:detail") -> dict[str, Any]:
    """How an alert names a page of the mailbox."""
    return {"url_name": name, "url_args": {"team": mailbox.team.slug, "pk": str(mailbox.pk)}}


def only_environment(team: Team) -> str:
    """The environment of all the team's mailboxes, to be said once at the head of a page; '' when they are in several."""
    found = list(in_team(Mailbox, team).order_by().values_list("environment", flat=True).distinct()[:2])
    return found[0] if len(found) == 1 else ""


def counts_by_environment(team: Team) -> list[tuple[str, int]]:
    """How many mailboxes the team has in each environment where it has some."""
    rows = in_team(Mailbox, team).order_by("environment").values_list("environment").annotate(number=Count("pk"))
    return [(environment, number) for environment, number in rows]


def with_standing(mailboxes: QuerySet[Mailbox], now: datetime) -> QuerySet[Any]:
    """Adds ``standing``: :attr:`Mailbox.health` as a column, to filter, count and order by."""
    # SQLite multiplies lengths of time by plain integers only.
    seconds = ExpressionWrapper(F("poll_interval_seconds"), output_field=IntegerField())
    three_intervals = ExpressionWrapper(seconds * Value(3 * timedelta(seconds=1)), output_field=DurationField())
    latest = ExpressionWrapper(Value(now) - three_intervals, output_field=DateTimeField())
    quiet = mailboxes.annotate(quiet_since=Coalesce("last_polled_at", "created_at"))
    late = Q(quiet_since__lt=latest) & Q(quiet_since__lt=now - timedelta(minutes=1))
    return quiet.annotate(
        standing=Case(
            When(mode=Mode.PAUSED, then=Value(health.PAUSED)),
            When(~Q(problem_code=""), then=Value(health.PROBLEM)),
            When(late, then=Value(health.LATE)),
            When(last_polled_at__isnull=True, then=Value(health.NEW)),
            default=Value(health.OK),
            output_field=CharField(),
        )
    )


def standing_counts(team: Team, now: datetime) -> dict[str, int]:
    """How many of the team's mailboxes that are not closed are in each state, in the order of :data:`mailboxes.health.STATES`."""
    rows = (
        with_standing(in_team(Mailbox, team).filter(archived_at__isnull=True), now)
        .order_by()
        .values("standing")
        .annotate(number=Count("pk"))
    )
    found = {row["standing"]: row["number"] for row in rows}
    return {state: found.get(state, 0) for state in health.STATES}


def teams_in_need(teams: list[Team], now: datetime) -> dict[str, int]:
    """For each team that has some, by its id: how many of its mailboxes need a person."""
    rows = with_standing(Mailbox.objects.filter(team__in=teams), now).filter(standing__in=health.NEEDS_A_PERSON)
    counted = rows.order_by().values("team_id").annotate(number=Count("pk"))
    return {str(row["team_id"]): row["number"] for row in counted}


def oldest_poll(team: Team) -> datetime | None:
    """When the mailbox was polled that was not polled for longest, among those that are worked and were ever polled."""
    rows = in_team(Mailbox, team).exclude(mode=Mode.PAUSED)
    oldest: datetime | None = rows.aggregate(oldest=Min("last_polled_at"))["oldest"]
    return oldest


def overdue_count() -> int:
    """How many mailboxes of all teams are due and were not picked up in time. For machines: no names."""
    late = Mailbox.objects.exclude(mode=Mode.PAUSED).filter(next_poll_at__lt=timezone.now() - PICK_UP_WITHIN)
    # One that is being worked on was picked up, however long its message takes.
    return late.filter(lease.free()).count()


def folders_in_trouble(team: Team) -> QuerySet[WatchedFolder]:
    """The folders of the team's mailboxes that cannot be worked at the moment."""
    rows = WatchedFolder.objects.filter(mailbox__in=in_team(Mailbox, team)).exclude(problem_code="")
    return rows.select_related("mailbox").defer("mailbox__password")


def outlets_in_trouble(team: Team) -> QuerySet[Outlet]:
    """Where the team's mailboxes hand messages on to, and cannot at the moment."""
    return in_team(Outlet, team).exclude(problem_code="").filter(enabled=True).select_related("mailbox").defer(*_OUTLET_SEALED)


def outlets_of(mailbox: Mailbox) -> QuerySet[Outlet]:
    """Where a mailbox hands messages on to, without the secret."""
    return Outlet.objects.filter(mailbox=mailbox, enabled=True).defer("secret").order_by("channel")


def named(mailbox_id: str, *, environment: str | None = None) -> Mailbox | None:
    """The mailbox with this id, for the command line; None when there is none, or one in each of two environments."""
    rows = Mailbox.objects.select_related("team", "organisation", "identity").defer(*_SEALED)
    rows = rows.filter(mailbox_id=mailbox_id.upper())
    if environment:
        rows = rows.filter(environment=environment)
    found = list(rows[:2])
    return found[0] if len(found) == 1 else None


def not_named(mailbox_id: str) -> str:
    """Why :func:`named` found nothing."""
    environments = list(Mailbox.objects.filter(mailbox_id=mailbox_id.upper()).values_list("environment", flat=True))
    if len(environments) > 1:
        return f"{mailbox_id} is in {' and '.join(sorted(environments))}: say which with --environment."
    return f"There is no mailbox {mailbox_id}. Add it with: manage.py add_mailbox"
