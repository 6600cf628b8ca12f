"""An address book that nobody checks looks as if nothing had changed: said once for each team and environment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce

from certificates.models import Environment
from mailboxes.models import AddressEntry
from meshportal.accounts.models import Team
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule, register_kind, register_rule

OVERDUE = "address.unchecked"
# Asked every day; two hours of grace, as for handshakes.
WITHIN = timedelta(hours=26)


def register() -> None:
    """Makes the kind and rule of this module known."""
    register_kind(KIND)
    register_rule(RULE)


def find(now: datetime) -> Iterator[Condition]:
    """Books with addresses that MESH has not answered for more than a day."""
    limit = now - WITHIN
    late = Q(pair__answered_at__lt=limit) | Q(pair__answered_at__isnull=True, created_at__lt=limit)
    rows = AddressEntry.objects.filter(late, removed_at__isnull=True, pair__next_lookup_at__isnull=False).order_by()
    groups = list(
        rows.values("team_id", "pair__environment").annotate(
            number=Count("pk"), since=Min(Coalesce("pair__answered_at", "created_at"))
        )
    )
    teams = Team.objects.in_bulk({group["team_id"] for group in groups})
    for group in groups:
        team, environment, number = teams[group["team_id"]], group["pair__environment"], group["number"]
        one = number == 1
        yield Condition(
            kind=OVERDUE,
            key=environment,
            subject=f"{number:,} address{'' if one else 'es'} ({Environment(environment).label.lower()})",
            sentence=f"{'was' if one else 'were'} not checked with MESH for more than a day.",
            team=team,
            url_name="addresses:list",
            url_args={"team": team.slug},
            url_query={"environment": environment},
            since=group["since"],
        )


KIND = Kind(
    OVERDUE,
    "Addresses not checked",
    "address book is not checked",
    "address books are not checked",
    Severity.WARNING,
    "A practice that moves is not noticed meanwhile. Open an address to see why its last check failed, and look at the workers.",
)
RULE = Rule("unchecked addresses", (OVERDUE,), find)
