"""What the platform's own screens read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.urls import reverse

from certificates.life import CertificateLife, certificate_life
from certificates.models import ClientIdentity
from mailboxes import health
from mailboxes import selectors as mailboxes
from meshportal.accounts.models import Membership, Team
from meshportal.accounts.scoping import in_team
from meshportal.audit.models import AuditEvent
from messages.models import Message


@dataclass(frozen=True)
class HealthCount:
    """How many mailboxes are in one state, and where they are listed."""

    word: str
    tone: str
    number: int
    url: str


def health_counts(team: Team, counts: dict[str, int]) -> list[HealthCount]:
    """``counts`` by state for the overview; states that need a person are named even when there is none."""
    address = reverse("mailboxes:list", kwargs={"team": team.slug})
    return [
        HealthCount(state.word, state.tone if counts[key] else "quiet", counts[key], f"{address}?{urlencode({'state': key})}")
        for key, state in health.STATES.items()
    ]


def polled_within(team: Team, now: datetime) -> timedelta | None:
    """In what time every mailbox of ``team`` that is worked was polled, rounded up to be true; None when none was."""
    oldest = mailboxes.oldest_poll(team)
    if oldest is None:
        return None
    unit = timedelta(minutes=1) if now - oldest < timedelta(hours=2) else timedelta(hours=1)
    return max(-(-(now - oldest) // unit), 1) * unit


@dataclass(frozen=True)
class CertificateDue:
    """A certificate in use, what it has left, and how many mailboxes depend on it."""

    identity: ClientIdentity
    life: CertificateLife
    mailboxes: int
    url: str


def certificates_due(team: Team, in_use: Sequence[tuple[ClientIdentity, int]], now: datetime) -> list[CertificateDue]:
    """The first five of the certificates in use, those that lapse next."""
    address = reverse("mailboxes:list", kwargs={"team": team.slug})
    return [
        CertificateDue(identity, certificate_life(identity, now), number, f"{address}?certificate={identity.pk}")
        for identity, number in in_use[:5]
    ]


@dataclass(frozen=True)
class FirstRun:
    """What a new team has done of its first three steps."""

    certificate: bool
    mailbox: bool
    message: bool

    @property
    def complete(self) -> bool:
        return self.message


def first_run(team: Team, *, any_mailbox: bool) -> FirstRun:
    """How far a new team is. A message proves all three steps."""
    if any_mailbox and in_team(Message, team).exists():
        return FirstRun(True, True, True)
    return FirstRun(in_team(ClientIdentity, team).exists(), any_mailbox, False)


def events_of(team: Team) -> QuerySet[AuditEvent]:
    """The audit events of ``team`` and of no other.

    Sign-ins carry no team and are left out on purpose: a person may work for several teams, and the manager of one must
    not learn when they work for another (promise P8). A failed sign-in is worse: what was typed there may be a
    stranger's address, or a password in the wrong box. Whoever runs the portal reads them on the server.
    """
    return AuditEvent.objects.filter(team_id=str(team.pk))


@dataclass(frozen=True)
class TeamChoice:
    """A team to go to: the person's role there, and how many of its mailboxes need somebody."""

    team: Team
    role: str
    in_need: int

    @property
    def need_words(self) -> str:
        return "1 mailbox needs a person" if self.in_need == 1 else f"{self.in_need:,} mailboxes need a person"


def team_choices(memberships: Sequence[Membership], now: datetime) -> list[TeamChoice]:
    """Where a person with several teams may go."""
    needs = mailboxes.teams_in_need([membership.team for membership in memberships], now)
    return [
        TeamChoice(membership.team, membership.get_role_display(), needs.get(str(membership.team.pk), 0))
        for membership in memberships
    ]
