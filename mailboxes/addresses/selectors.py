"""Reads of the address book, for pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, When

from certificates.models import Environment
from mailboxes.models import (
    AddressAnswer,
    AddressChange,
    AddressEntry,
    Mailbox,
    Organisation,
    WorkflowDifference,
    WorkflowSearch,
)
from mailboxes.models.address import DRIFTED, Drift
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team

# So many answers are read for the history of an entry; equal ones that follow each other are one line.
_MOST_ANSWERS = 400
_MOST_CHANGES = 50
_MOST_DIFFERENCES = 10
# The first question that a book answers: has anything moved?
MOST_FIRST = 20


def entries_of(team: Team) -> QuerySet[AddressEntry]:
    """The address book of ``team``, by organisation and workflow."""
    rows = in_team(AddressEntry, team).filter(removed_at__isnull=True).select_related("pair", "team")
    return rows.order_by("pair__ods_code", "pair__workflow_id", "pair__environment", "pk")


def in_need(team: Team) -> QuerySet[AddressEntry]:
    """Those that need a person: what changed first, then what has no mailbox."""
    rank = Case(When(drift__in=DRIFTED, then=0), default=1, output_field=IntegerField())
    rows = entries_of(team).filter(drift__in=(*DRIFTED, Drift.UNKNOWN))
    return rows.order_by(rank, "pair__ods_code", "pair__environment", "pair__workflow_id", "pk")


def workflows_of(team: Team) -> list[str]:
    """The workflows in the book of ``team``."""
    rows = in_team(AddressEntry, team).filter(removed_at__isnull=True).order_by("pair__workflow_id")
    return list(rows.values_list("pair__workflow_id", flat=True).distinct())


def environments_of(team: Team) -> list[tuple[str, str]]:
    """Those in which ``team`` has mailboxes, for a choice; all where it has none."""
    found = set(in_team(Mailbox, team).order_by().values_list("environment", flat=True).distinct())
    return [(key, label) for key, label in Environment.choices if key in found or not found]


def names_of(codes: Iterable[str]) -> dict[str, str]:
    """The names of organisations, as far as they are known."""
    rows = Organisation.objects.filter(ods_code__in=set(codes)).exclude(name="")
    return dict(rows.values_list("ods_code", "name"))


def named_like(word: str) -> Q:
    """Entries whose organisation's name holds ``word``."""
    return Q(pair__ods_code__in=Organisation.objects.filter(name__icontains=word).values("ods_code"))


@dataclass(frozen=True)
class Run:
    """Answers of MESH that followed each other and said the same; ``results`` None: failures with the same reason."""

    first: datetime
    last: datetime
    number: int
    results: list[dict[str, str]] | None
    problem: str


def runs_of(entry: AddressEntry) -> list[Run]:
    """What MESH answered since the entry is in the book, latest first. What it answered to others before is theirs."""
    rows = AddressAnswer.objects.filter(pair=entry.pair_id, at__gte=entry.created_at).order_by("-id")[:_MOST_ANSWERS]
    runs = []
    for _, group in groupby(rows, key=lambda row: (None if row.results is None else str(row.results), row.problem_code)):
        same = list(group)
        runs.append(Run(same[-1].at, same[0].at, len(same), same[0].results, same[0].problem))
    return runs


def changes_of(entry: AddressEntry) -> list[AddressChange]:
    """When MESH answered another thing than the entry says, latest first."""
    return list(AddressChange.objects.filter(entry=entry).order_by("-at", "-pk")[:_MOST_CHANGES])


@dataclass(frozen=True)
class Listed:
    """What the daily search for the workflow says of an entry. ``there``: its mailbox is in the latest list."""

    searched_at: datetime
    total: int
    there: bool
    differences: list[WorkflowDifference]


def listed(entry: AddressEntry) -> Listed | None:
    """None before the first search."""
    row: Any = WorkflowSearch.objects.filter(
        environment=entry.pair.environment, workflow_id=entry.pair.workflow_id, searched_at__isnull=False
    ).first()
    if row is None:
        return None
    differences = WorkflowDifference.objects.filter(search=row, at__gte=entry.created_at).order_by("-id")
    return Listed(row.searched_at, len(row.members), entry.mailbox_id in row.members, list(differences[:_MOST_DIFFERENCES]))
