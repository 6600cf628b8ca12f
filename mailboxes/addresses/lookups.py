"""Asking MESH where organisations are: by pairs that are due, a few at once in each thread, at the pace of the environment.

| the process dies | what stands | next |
|---|---|---|
| before the claim | pairs that are due | claimed |
| after it, asked or not | leases that run out within a minute | asked again: a question changes nothing in MESH |
| in the middle of writing | one transaction: the answers of a few pairs, or none | the same |
| after it | the answers, each with its next time | nothing |

| MESH | what becomes of the pair |
|---|---|
| answers, with none, one or several | the answer is kept; the next night |
| refuses, fails, hangs, or says what is no answer | the failure is kept with its reason; asked again with growing waits |
| fails for several in a row | the same, and the environment waits (:mod:`mailboxes.addresses.pace`) |
| cannot be asked by any mailbox of the teams | that is said once; asked again in a quarter of an hour |

A pair that was asked for meanwhile stays due. No book is changed by a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from certificates.models import Environment
from mailboxes.addresses import answers, changes, locking, pace, searches, timing
from mailboxes.addresses.askers import Askers, CannotAsk, told
from mailboxes.models import AddressChange, AddressEntry, AddressPair
from mailboxes.problems import Problem
from meshportal.core import lease
from meshportal.core.pool import Pool
from meshportal.mesh import errors

log = structlog.get_logger("mailboxes.addresses")

QUEUE = "default"
# Other work of the queue waits behind one run.
_SECONDS = 20.0
_HOLD = timedelta(seconds=60)
_ASK_LATER = timedelta(minutes=15)

Job = Callable[[], object]


@dataclass
class Said:
    """What came of one question: ``results``, or ``problem`` where it failed. ``counts``: it says something about MESH."""

    pair: AddressPair
    at: datetime
    results: list[dict[str, str]] | None = None
    problem: Problem | None = None
    counts: bool = True
    retry_after: float | None = None


def run_due() -> int:
    """Asks everything whose turn it is, for some seconds; gives how many handfuls that were."""
    lanes: list[Callable[[], Job | None]] = [claim_due] * settings.LOOKUP_THREADS
    seconds = min(_SECONDS, settings.SHARD_SECONDS)
    return Pool[Job](queue=QUEUE, lanes=lanes, work=lambda job: job(), seconds=seconds, long_seconds=settings.TURN_SECONDS).run()


def hold() -> timedelta:
    """How long a claim holds."""
    return min(_HOLD, timedelta(seconds=settings.LEASE_SECONDS))


def claim_due() -> Job | None:
    """Claims what is due in some environment that may be asked; None when nothing is."""
    for environment in Environment.values:
        now = timezone.now()
        due = AddressPair.objects.filter(environment=environment, next_lookup_at__lte=now)
        search = searches.due(environment, now)
        if not (search.exists() or due.exists()) or not pace.may_ask(environment, now):
            continue
        job = searches.claim(search, hold()) or _claim(environment, due)
        if job is not None:
            return job
    return None


def _claim(environment: str, due: Any) -> Job | None:
    limit = pace.at_once(environment)
    for rows in (due.filter(urgent=True), due.filter(urgent=False)):
        if not rows.exists():
            continue
        # By the columns of the index, so that no night's worth is sorted for a handful.
        claimed = lease.claim(rows.order_by("next_lookup_at"), limit=limit, duration=hold())
        if claimed:
            return partial(work, environment, claimed)
    return None


def work(environment: str, pairs: list[AddressPair]) -> None:
    """Asks for each of ``pairs``, whose leases the caller claimed, and gives them back with what came of it."""
    until = time.monotonic() + hold().total_seconds() / 2
    teams: dict[Any, set[Any]] = {pair.pk: set() for pair in pairs}
    entries = AddressEntry.objects.filter(pair__in=pairs, removed_at__isnull=True)
    for pair_id, team_id in entries.values_list("pair_id", "team_id"):
        teams[pair_id].add(team_id)
    askers = Askers(environment, {team for found in teams.values() for team in found})
    said: list[Said] = []
    left: list[AddressPair] = []
    for number, _turn in enumerate(pace.turns(environment, len(pairs))):
        pair = pairs[number]
        if time.monotonic() > until:
            left = pairs[number:]
            break
        said.append(_ask(askers, pair, teams[pair.pk]))
    _keep(environment, said)
    for pair in left:
        lease.release(pair)


def _ask(askers: Askers, pair: AddressPair, teams: set[Any]) -> Said:
    try:
        found = askers.ask(teams, lambda client: client.lookup(pair.ods_code, pair.workflow_id))
    except CannotAsk as error:
        return Said(pair, timezone.now(), problem=error.problem, counts=False)
    except errors.MeshError as error:
        problem = told(error, pair.environment)
        return Said(pair, timezone.now(), problem=problem, retry_after=error.retry_after)
    return Said(pair, timezone.now(), results=answers.plain(found))


def _keep(environment: str, said: list[Said]) -> None:
    with transaction.atomic():
        locking.locked(AddressPair.objects.filter(pk__in=[one.pair.pk for one in said]))
        opened: list[AddressChange] = []
        for one in said:
            if one.problem is None:
                opened += _keep_answer(one)
            else:
                _keep_failure(one, one.problem)
        for change in opened:
            changes.pass_on(change)
    if any(one.problem is None for one in said):
        pace.succeeded(environment)
    for one in said:
        if one.problem is not None and one.counts and (one.pair.failures == 0 or one.retry_after is not None):
            pace.failed(environment, one.retry_after)


def _keep_answer(one: Said) -> list[AddressChange]:
    pair, results = one.pair, one.results or []
    planned = timing.after_answer(str(pair.pk), one.at, pair.hourly_until)
    kept = lease.release(
        pair,
        asked_at=one.at,
        answered_at=one.at,
        results=results,
        failures=0,
        problem_code="",
        problem="",
        updated_at=one.at,
        **_next(pair, planned, urgent=False),
    )
    if not kept:
        log.warning("lease_lost", pair=str(pair.pk))
        return []
    return answers.written(pair, results, one.at)


def _keep_failure(one: Said, problem: Problem) -> None:
    pair = one.pair
    planned = timing.after_failure(pair.failures + 1, one.at) if one.counts else one.at + _ASK_LATER
    kept = lease.release(
        pair,
        asked_at=one.at,
        failures=pair.failures + 1,
        problem_code=problem.code[:40],
        problem=problem.sentence,
        updated_at=one.at,
        **_next(pair, planned, urgent=pair.urgent),
    )
    if not kept:
        log.warning("lease_lost", pair=str(pair.pk))
    elif one.counts or pair.problem_code != problem.code:
        answers.keep_failure(pair, problem.code, problem.sentence, one.at)


def _next(pair: AddressPair, planned: datetime, *, urgent: bool) -> dict[str, Any]:
    """When it is asked again, unless somebody asked for another time since it was claimed."""
    as_claimed = When(next_lookup_at=pair.next_lookup_at, then=Value(planned))
    return {
        "next_lookup_at": Case(as_claimed, default=F("next_lookup_at")),
        "urgent": Case(When(next_lookup_at=pair.next_lookup_at, then=Value(urgent)), default=F("urgent")),
    }
