"""Reads about client certificates. A key is never read for a page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import Coalesce

from certificates import reading
from certificates.models import CertificateRequest, ClientIdentity
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team


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
    return requests_of(team).filter(identity__isnull=True)


def examined(identity: ClientIdentity, now: datetime) -> reading.Examined | None:
    """What the certificate and its chain say at ``now``; None when what is kept cannot be read again."""
    try:
        first, *others = reading.certificates_in(identity.certificate_pem.encode(), "the database")
    except reading.CannotUse:
        return None
    return reading.examine(reading.in_order(first, others)[0], now)
