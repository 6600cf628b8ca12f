"""Every mailbox that takes a workflow, asked once a day, and what is otherwise than the day before.

MESH API specification, workflow search: ids and names, no organisation. Whether the list is complete is not said, so that a
mailbox that left it is a sign, and no more. The process may die at any step: the lease runs out, and it is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from mailboxes.addresses import pace, timing
from mailboxes.addresses.askers import Askers, CannotAsk, told
from mailboxes.models import AddressEntry, WorkflowDifference, WorkflowSearch
from mailboxes.problems import Problem
from meshportal.core import lease
from meshportal.mesh import EndpointMatch, errors

log = structlog.get_logger("mailboxes.addresses")

# MESH has some 22,000 mailboxes in all.
_MOST = 50_000
_ASK_LATER = timedelta(minutes=15)


def plan(environment: str, workflow_id: str) -> None:
    """A workflow came into a book: it is searched for from now on."""
    row, _ = WorkflowSearch.objects.get_or_create(environment=environment, workflow_id=workflow_id)
    if row.next_search_at is None:
        WorkflowSearch.objects.filter(pk=row.pk, next_search_at__isnull=True).update(next_search_at=timezone.now())


def due(environment: str, now: datetime) -> QuerySet[WorkflowSearch]:
    """The searches whose turn it is."""
    return WorkflowSearch.objects.filter(environment=environment, next_search_at__lte=now)


def claim(rows: QuerySet[WorkflowSearch], duration: timedelta) -> Callable[[], object] | None:
    """Claims one of ``rows``, to be worked by calling what this gives; None when there is none."""
    if not rows.exists():
        return None
    claimed = lease.claim(rows.order_by("next_search_at", "pk"), limit=1, duration=duration)
    return partial(work, claimed[0]) if claimed else None


def work(row: WorkflowSearch) -> None:
    """Searches for the workflow of ``row``, whose lease the caller claimed, and gives it back."""
    next(pace.turns(row.environment, 1))
    entries = AddressEntry.objects.filter(
        pair__environment=row.environment, pair__workflow_id=row.workflow_id, removed_at__isnull=True
    )
    teams = set(entries.order_by().values_list("team_id", flat=True).distinct())
    if not teams:
        lease.release(row, next_search_at=None)
        return
    try:
        found = Askers(row.environment, teams).ask(teams, lambda client: client.search(row.workflow_id))
    except CannotAsk as error:
        _failed(row, error.problem, timezone.now() + _ASK_LATER)
    except errors.MeshError as error:
        _failed(row, told(error, row.environment), timing.after_failure(row.failures + 1, timezone.now()))
    else:
        _keep(row, found)


def _keep(row: WorkflowSearch, found: tuple[EndpointMatch, ...]) -> None:
    now = timezone.now()
    members = {_plain(one.mailbox_id).upper(): _plain(one.mailbox_name) for one in found[:_MOST]}
    members.pop("", None)
    with transaction.atomic():
        kept = lease.release(
            row,
            members=members,
            searched_at=now,
            next_search_at=timing.tonight(row.workflow_id, now),
            failures=0,
            problem="",
            updated_at=now,
        )
        # The first list is nothing to compare with.
        if kept and row.searched_at is not None and set(members) != set(row.members):
            WorkflowDifference.objects.create(
                search=row,
                at=now,
                appeared=_named(members, set(members) - set(row.members)),
                vanished=_named(row.members, set(row.members) - set(members)),
                total=len(members),
            )


def _named(members: dict[str, str], keys: set[str]) -> list[dict[str, str]]:
    return [{"id": key, "name": members[key]} for key in sorted(keys)]


def _failed(row: WorkflowSearch, problem: Problem, again: Any) -> None:
    now = timezone.now()
    lease.release(row, failures=row.failures + 1, problem=problem.sentence, next_search_at=again, updated_at=now)


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text).strip()[:300]
