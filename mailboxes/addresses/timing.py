"""When a question is asked again: every night, spread over some minutes; each has its own minute, so that a day lies between."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta

from django.conf import settings

# 35,000 questions at 25 a second take 23 minutes: a wider window would not be kinder, a narrower one only makes a queue.
_WINDOW_SECONDS = 20 * 60
_HOUR = timedelta(hours=1)
_LONGEST_RETRY = timedelta(hours=1)


def tonight(key: str, now: datetime) -> datetime:
    """The next time that is the turn of ``key``, within a day of ``now``."""
    start = now.astimezone(UTC).replace(hour=settings.LOOKUP_HOUR, minute=0, second=0, microsecond=0)
    turn = start + timedelta(seconds=zlib.crc32(key.encode()) % _WINDOW_SECONDS)
    while turn <= now:
        turn += timedelta(days=1)
    while turn > now + timedelta(days=1):
        turn -= timedelta(days=1)
    return turn


def after_answer(key: str, now: datetime, hourly_until: datetime | None) -> datetime:
    """When to ask again once MESH has answered."""
    turn = tonight(key, now)
    return min(turn, now + _HOUR) if hourly_until is not None and hourly_until > now else turn


def after_failure(failures: int, now: datetime) -> datetime:
    """When to ask again after ``failures`` in a row: soon, then with doubling waits, an hour at most."""
    return now + min(timedelta(seconds=settings.RETRY_BASE_SECONDS) * 2.0 ** min(max(failures - 1, 0), 12), _LONGEST_RETRY)
