"""Which certificates of a team lapse when, who depends on each, and what takes its place. Everything in five queries."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from certificates import selectors
from certificates.life import RUNGS, CertificateLife, certificate_life
from certificates.models import CertificateRequest, ClientIdentity
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.web.time import in_london, london_day

MONTHS = 12


@dataclass(frozen=True)
class User:
    """A mailbox that is worked with a certificate."""

    pk: uuid.UUID
    name: str
    mailbox_id: str

    def __str__(self) -> str:
        return f"{self.name} ({self.mailbox_id})"


@dataclass(frozen=True)
class Successor:
    """What takes the place of a certificate. ``word`` and ``tone`` are those of its tag.

    At most one of ``identity`` (a certificate that lasts longer) and ``asked`` (a request whose certificate has not come)
    is there; ``roll_over`` is the id of the roll-over to ``identity``, where one was begun.
    """

    word: str
    tone: str
    identity: ClientIdentity | None = None
    asked: CertificateRequest | None = None
    roll_over: uuid.UUID | None = None

    @property
    def none(self) -> bool:
        return self.identity is None and self.asked is None

    @property
    def missing(self) -> bool:
        """Whether somebody has to see to one now."""
        return self.none and self.tone == "warn"


@dataclass(frozen=True)
class Lapse:
    """One certificate and its end."""

    identity: ClientIdentity
    life: CertificateLife
    users: Sequence[User]
    successor: Successor

    @property
    def at(self) -> datetime:
        return self.identity.lapses_at

    @property
    def day(self) -> date:
        """The day in London."""
        return in_london(self.at).date()

    @property
    def tone(self) -> str:
        """bad: lapsed, in use; warn: lapses soon, and nothing takes its place; quiet: nobody depends on it; else info."""
        if not self.users:
            return "quiet"
        if self.life.tone == "bad":
            return "bad"
        return "warn" if self.successor.missing else "info"


@dataclass(frozen=True)
class Month:
    """A month of London's calendar with what lapses in it, the earliest first."""

    first: date
    lapses: Sequence[Lapse]

    @property
    def key(self) -> str:
        """``2026-12``."""
        return f"{self.first:%Y-%m}"

    @property
    def missing(self) -> int:
        """How many that a mailbox depends on lapse soon and have nothing to take their place."""
        return sum(1 for lapse in self.lapses if lapse.tone == "warn")

    @property
    def tone(self) -> str:
        tones = {lapse.tone for lapse in self.lapses}
        return next((tone for tone in ("bad", "warn", "info") if tone in tones), "quiet")


@dataclass(frozen=True)
class Calendar:
    """``lapsed``: ended already, while mailboxes depend on them. ``later``: how many last longer than the twelve months."""

    lapsed: Sequence[Lapse]
    months: Sequence[Month]
    later: int

    @property
    def coming(self) -> list[Lapse]:
        """All of the twelve months, the earliest first."""
        return [lapse for month in self.months for lapse in month.lapses]

    @property
    def missing(self) -> int:
        return sum(month.missing for month in self.months)


def calendar(team: Team, now: datetime) -> Calendar:
    """The twelve months from ``now`` on: as many months as that touches, those in which nothing lapses too."""
    identities = list(selectors.identities_of(team).order_by("lapses", "name", "pk"))
    until = _a_year_on(now)
    shown = [identity for identity in identities if identity.lapses_at <= until]
    lapses = _lapses(team, shown, identities, now)
    by_month: dict[date, list[Lapse]] = defaultdict(list)
    for lapse in lapses:
        if lapse.at > now:
            by_month[lapse.day.replace(day=1)].append(lapse)
    return Calendar(
        lapsed=[lapse for lapse in lapses if lapse.at <= now and lapse.users],
        months=[Month(first, by_month[first]) for first in _months(now)],
        later=len(identities) - len(shown),
    )


def _lapses(team: Team, shown: Sequence[ClientIdentity], every: Sequence[ClientIdentity], now: datetime) -> list[Lapse]:
    users = _users(team, [identity.pk for identity in shown])
    roll_overs = _roll_overs(team, [identity.pk for identity in shown])
    asked: dict[tuple[str, str], CertificateRequest] = {}
    for request in selectors.open_requests(team):
        asked.setdefault((request.environment, request.common_name.lower()), request)
    by_pk = {identity.pk: identity for identity in every}
    by_name: dict[tuple[str, str], list[ClientIdentity]] = defaultdict(list)
    for identity in every:
        by_name[_name(identity)].append(identity)
    found = []
    for identity in shown:
        depending = users[identity.pk]
        successor = _successor(
            identity,
            depending,
            identity.lapses_at - now <= RUNGS[0],
            [(by_pk[new], pk) for pk, new in roll_overs[identity.pk] if new in by_pk],
            by_name[_name(identity)],
            asked.get(_name(identity)),
        )
        found.append(Lapse(identity, certificate_life(identity, now), depending, successor))
    return found


def _successor(
    identity: ClientIdentity,
    users: Sequence[User],
    soon: bool,
    rolled: Iterable[tuple[ClientIdentity, uuid.UUID]],
    alike: Iterable[ClientIdentity],
    asked: CertificateRequest | None,
) -> Successor:
    """A certificate that lasts longer: one that mailboxes are rolled over to, else one of the same name; else a request."""
    rolling = {new.pk: (new, pk) for new, pk in rolled if new.lapses_at > identity.lapses_at}
    longer = [new for new, _ in rolling.values()] or [one for one in alike if one.lapses_at > identity.lapses_at]
    best = max(longer, key=lambda one: one.lapses_at, default=None)
    if best is not None:
        roll_over = rolling[best.pk][1] if best.pk in rolling else None
        if not users:
            return Successor("In place", "good", identity=best, roll_over=roll_over)
        return Successor("There, not in use everywhere", "info", identity=best, roll_over=roll_over)
    if asked is not None:
        return Successor("Requested", "busy", asked=asked)
    if not users:
        return Successor("None needed", "quiet")
    return Successor("None yet", "warn" if soon else "quiet")


def _name(identity: ClientIdentity) -> tuple[str, str]:
    return identity.environment, identity.subject_cn.lower()


def _users(team: Team, identities: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[User]]:
    rows: Any = in_team(ClientIdentity, team).filter(pk__in=identities, mailboxes__team=team)
    found: dict[uuid.UUID, list[User]] = defaultdict(list)
    columns = ("pk", "mailboxes__pk", "mailboxes__name", "mailboxes__mailbox_id")
    for pk, mailbox, name, mailbox_id in rows.order_by("mailboxes__name", "mailboxes__mailbox_id").values_list(*columns):
        found[pk].append(User(mailbox, name, mailbox_id))
    return found


def _roll_overs(team: Team, identities: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[tuple[uuid.UUID, uuid.UUID]]]:
    rows: Any = in_team(ClientIdentity, team).filter(pk__in=identities, roll_overs_from__isnull=False)
    found: dict[uuid.UUID, list[tuple[uuid.UUID, uuid.UUID]]] = defaultdict(list)
    for pk, roll_over, new in rows.values_list("pk", "roll_overs_from__pk", "roll_overs_from__new"):
        found[pk].append((roll_over, new))
    return found


def _a_year_on(now: datetime) -> datetime:
    """The end of this day next year, on London clocks."""
    today = in_london(now).date()
    leap_day = (today.month, today.day) == (2, 29)
    return london_day(today.replace(year=today.year + 1, day=28 if leap_day else today.day))[1] - timedelta(microseconds=1)


def _months(now: datetime) -> list[date]:
    first = in_london(now).date().replace(day=1)
    counted = (first.year * 12 + first.month - 1 + number for number in range(MONTHS + 1))
    return [date(number // 12, number % 12 + 1, 1) for number in counted]
