"""How fast an environment is asked: slots at equal distances, taken from one row that all workers share.

| what goes wrong | what happens |
|---|---|
| a worker dies with slots that it took | a gap of less than a second; nobody waits for it |
| two workers take slots at once | the row is locked: no slot is given twice |
| MESH fails for one organisation | that one waits longer and longer; the others go on |
| MESH fails for several in a row, or asks for patience | the environment is left alone for a while, with growing waits |
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from mailboxes.models import LookupPace

# How far ahead slots are given. A worker that takes them waits for them, and cannot do anything else meanwhile.
_AHEAD = timedelta(seconds=2)
# Each is a write to the one row.
_RESERVATIONS_PER_SECOND = 50
_FAILURES = 3
_LONGEST = timedelta(minutes=10)
_MOST_AT_ONCE = 20


def at_once(environment: str) -> int:
    """How many questions one worker takes together: a fifth of a second's worth."""
    return int(min(max(settings.MESH_LOOKUPS_PER_SECOND[environment] // 5, 1), _MOST_AT_ONCE))


def may_ask(environment: str, now: datetime) -> bool:
    """Whether there are slots soon."""
    pace = LookupPace.objects.filter(environment=environment).first()
    if pace is None:
        return True
    return pace.next_at <= now + _AHEAD and (pace.held_until is None or pace.held_until <= now)


def reserve(environment: str, number: int) -> tuple[float, float]:
    """Takes ``number`` slots; gives the seconds until the first and those between two."""
    gap = 1 / settings.MESH_LOOKUPS_PER_SECOND[environment]
    with transaction.atomic():
        LookupPace.objects.get_or_create(environment=environment, defaults={"next_at": timezone.now()})
        rows = LookupPace.objects.select_for_update().filter(environment=environment)
        if connection.vendor == "postgresql":
            # The database's clock, where several hosts share one.
            next_at, now = rows.values_list("next_at", Now()).get()
        else:
            next_at, now = rows.values_list("next_at", flat=True).get(), timezone.now()
        start = max(next_at, now)
        LookupPace.objects.filter(environment=environment).update(next_at=start + timedelta(seconds=gap * number))
    return (start - now).total_seconds(), gap


def turns(environment: str, number: int) -> Iterator[None]:
    """Gives ``number`` times, each at its slot. Slots are taken just before they are used: whoever stood still for a while
    has none left over that would all be used at once."""
    few = max(settings.MESH_LOOKUPS_PER_SECOND[environment] // _RESERVATIONS_PER_SECOND, 1)
    while number > 0:
        taken = min(few, number)
        wait, gap = reserve(environment, taken)
        start = time.monotonic() + wait
        for one in range(taken):
            time.sleep(max(0.0, start + gap * one - time.monotonic()))
            yield
        number -= taken


def failed(environment: str, retry_after: float | None) -> None:
    """A pair failed for the first time; after several the environment is left alone for a while."""
    LookupPace.objects.filter(environment=environment).update(failures=F("failures") + 1)
    failures = LookupPace.objects.values_list("failures", flat=True).get(environment=environment)
    if retry_after is None and failures < _FAILURES:
        return
    wait = timedelta(seconds=settings.RETRY_BASE_SECONDS) * 2.0 ** min(max(failures - _FAILURES, 0), 10)
    # No secret depends on it.
    wait = min(wait, _LONGEST) * random.uniform(0.8, 1.2)  # noqa: S311
    wait = max(wait, timedelta(seconds=min(retry_after or 0, 3600)))
    LookupPace.objects.filter(environment=environment).update(held_until=timezone.now() + wait)


def succeeded(environment: str) -> None:
    """MESH answers: whatever was wrong is over."""
    LookupPace.objects.filter(environment=environment, failures__gt=0).update(failures=0, held_until=None)
