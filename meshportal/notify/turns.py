"""Work of the portal as a whole, done by one worker at a time and no oftener than it is due, however often it is rung for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from meshportal.core import lease
from meshportal.notify.models import Turn

# A worker that dies in the middle is followed by the next one after this.
_LONGEST = timedelta(minutes=5)


@contextmanager
def taken(name: str, *, every: timedelta) -> Iterator[bool]:
    """True for the one that may do it now. Done or failed, it is due again ``every`` after it began."""
    now = timezone.now()
    if not Turn.objects.filter(name=name).exists():
        try:
            with transaction.atomic():
                Turn.objects.create(name=name, due_at=now)
        except IntegrityError:
            pass  # Another worker made it at the same moment.
    # The scheduler's ring may come a moment before the time.
    found = lease.claim(
        Turn.objects.filter(name=name, due_at__lte=now + every / 10), limit=1, duration=_LONGEST, due_at=now + every
    )
    try:
        yield bool(found)
    finally:
        for turn in found:
            lease.release(turn)
