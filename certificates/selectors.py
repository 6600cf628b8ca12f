"""Reads about client certificates. A key is never read for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import Coalesce

from certificates import reading, servers
from certificates.models import CertificateRequest, ClientIdentity, ServerCertificate, TrustBundle
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team

# A certificate that a server has shown for so long is what it shows.
STEADY = timedelta(days=7)
# One that no handshake met again for so long is of the past.
GONE = timedelta(days=30)


@dataclass(frozen=True)
class Trusted:
    """What the servers of an environment are checked against, and what they showed, the latest first.

    ``bundle`` is None where there is none; ``authorities`` is None where what is kept of it cannot be read.
    """

    environment: str
    bundle: TrustBundle | None
    authorities: tuple[reading.Facts, ...] | None
    shown: tuple[ServerCertificate, ...]
    warnings: tuple[reading.Warned, ...]
    changes: tuple[ServerCertificate, ...]


def trusted(environment: str, now: datetime) -> Trusted:
    """The trust bundle of ``environment`` and its server's certificates at ``now``."""
    bundle = TrustBundle.objects.filter(environment=environment, current=True).first()
    rows = ServerCertificate.objects.filter(environment=environment, host=servers.host_of(environment))
    shown = tuple(rows.order_by("-last_seen", "-first_seen"))
    authorities: tuple[reading.Facts, ...] | None = ()
    warnings: list[reading.Warned] = []
    if bundle is not None:
        pem = bundle.pem.encode()
        authorities = reading.tried(lambda: tuple(map(reading.facts_of, reading.certificates_in(pem, "the database"))))
        if authorities is None:
            warnings = [reading.Warned("unreadable", "What is kept of it cannot be read: no mailbox can be worked.")]
        else:
            issuer = shown[0].issuer if shown else ""
            warnings = reading.bundle_warnings(authorities, environment=environment, now=now, server_issuer=issuer)
    return Trusted(environment, bundle, authorities, shown, tuple(warnings), tuple(_changes(shown, now)))


def _changes(shown: Sequence[ServerCertificate], now: datetime) -> list[ServerCertificate]:
    """Those that came after others and are not yet what the server shows steadily, the newest first."""
    if not shown:
        return []
    first = min(one.first_seen for one in shown)
    newer = [
        one for one in shown if one.first_seen > first and one.last_seen - one.first_seen < STEADY and now - one.last_seen < GONE
    ]
    return sorted(newer, key=lambda one: one.first_seen, reverse=True)


def issued_as_before(change: ServerCertificate, shown: Sequence[ServerCertificate]) -> bool:
    """Whether the one that ``change`` came after had the same issuer."""
    before = [one for one in shown if one.first_seen < change.first_seen]
    return bool(before) and max(before, key=lambda one: one.first_seen).issuer == change.issuer


def identities_of(team: Team) -> QuerySet[Any]:
    """The team's certificates with their mailboxes counted (``used_by``); ``lapses`` is the column of ``lapses_at``."""
    rows = in_team(ClientIdentity, team).defer("private_key", "certificate_pem")
    return rows.annotate(used_by=Count("mailboxes"), lapses=Coalesce("effective_expiry", "not_after"))


def identity_in_full(team: Team) -> QuerySet[ClientIdentity]:
    """The same with the certificate itself, for its page."""
    return in_team(ClientIdentity, team).defer("private_key")


def users_of(identity: ClientIdentity) -> QuerySet[Any]:
    """The mailboxes that are worked with ``identity``, by name."""
    rows: QuerySet[Any] = identity.mailboxes.filter(team=identity.team_id)
    return rows.only("pk", "name", "mailbox_id", "mode", "last_handshake_at").order_by("name", "mailbox_id")


def requests_of(team: Team) -> QuerySet[CertificateRequest]:
    """The team's requests for certificates, newest first, without their keys."""
    rows = in_team(CertificateRequest, team).select_related("identity", "team")
    return rows.defer("private_key", "identity__private_key", "identity__certificate_pem").order_by("-created_at", "-pk")


def open_requests(team: Team) -> QuerySet[CertificateRequest]:
    """Those whose certificate has not come yet."""
    return requests_of(team).filter(identity=None, withdrawn_at=None)


def examined(identity: ClientIdentity, now: datetime) -> reading.Examined | None:
    """What the certificate and its chain say at ``now``; None when what is kept cannot be read again."""
    try:
        first, *others = reading.certificates_in(identity.certificate_pem.encode(), "the database")
    except reading.CannotUse:
        return None
    return reading.examine(reading.in_order(first, others)[0], now)
