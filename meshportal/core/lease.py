"""The one claim / extend / release mechanism (DESIGN: the database is the queue).

A claim sets a random token and an expiry on a row that is due and free. Whoever holds the token may write to the row;
every later write carries ``WHERE lease_token = mine``, so a worker that was paused past its expiry finds out before it
changes anything. A worker that dies leaves a lease that runs out by itself: nothing needs cleaning.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from meshportal.core.models import Leased

log = structlog.get_logger("core.lease")

Row = TypeVar("Row", bound=Leased)
# The largest message at a slow line takes hours; what lasts longer hangs, and somebody else shall try.
_LONGEST = timedelta(hours=12)


class LeaseLost(Exception):
    """The lease ran out and somebody else may hold the row now: stop, write nothing."""


def _now() -> Any:
    """The database's clock where several hosts share one (PostgreSQL): a host whose own is ahead must not take over a
    lease that was given a moment ago."""
    return Now() if connection.vendor == "postgresql" else timezone.now()


def free() -> Q:
    """Rows that nobody holds."""
    return Q(lease_token__isnull=True) | Q(lease_until__lt=_now())


def claim(due: models.QuerySet[Row], *, limit: int, duration: timedelta, defer: Sequence[str] = (), **changes: Any) -> list[Row]:
    """Claims up to ``limit`` rows of ``due`` that are free, in the order of the query set; applies ``changes`` with it.

    On PostgreSQL rows that another worker is claiming are skipped; on SQLite the transaction takes the write lock
    when it begins, so two claims never see the same free row. ``defer`` names columns that the claim must not read: one
    that cannot be read would leave a claimed row with nobody to give it back.
    """
    token = uuid.uuid4()
    with transaction.atomic():
        keys = list(due.filter(free()).select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)[:limit])
        if not keys:
            return []
        due.model._base_manager.filter(pk__in=keys).update(lease_token=token, lease_until=_now() + duration, **changes)
    until = timezone.now() + duration
    rows = {row.pk: row for row in due.model._base_manager.filter(pk__in=keys, lease_token=token).defer(*defer)}
    for row in rows.values():
        # By our clock from here on: it only tells when to extend.
        row.lease_until = until
    return [rows[key] for key in keys if key in rows]


def extend(row: Leased, duration: timedelta) -> None:
    """Pushes the expiry. Raises :class:`LeaseLost` when the row is no longer ours."""
    if not _mine(row).update(lease_until=_now() + duration):
        raise LeaseLost(f"The lease on {row} was lost.")
    row.lease_until = timezone.now() + duration


@contextmanager
def kept_alive(row: Leased, duration: timedelta) -> Iterator[None]:
    """Extends the lease from a thread of its own, for as long as the body runs.

    Writing a large file, or one sync of it, can outlast a lease without a moment in which the worker itself could say
    that it lives. Whether the lease was lost, the worker finds out at its next write.
    """
    done = threading.Event()

    def beat() -> None:
        last = time.monotonic() + _LONGEST.total_seconds()
        try:
            while not done.wait(duration.total_seconds() / 3) and time.monotonic() < last:
                try:
                    extend(row, duration)
                except LeaseLost:
                    return
                except DatabaseError:
                    log.warning("lease_not_extended", row=str(row))
                    connections.close_all()
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def hold(row: Leased) -> None:
    """Inside a transaction: locks the row and makes sure that it is still ours. Raises :class:`LeaseLost`."""
    if not _mine(row).select_for_update().values_list("pk").first():
        raise LeaseLost(f"The lease on {row} was lost.")


def release(row: Leased, **changes: Any) -> bool:
    """Gives the row back and writes ``changes`` in one statement; False (nothing written) when it was no longer ours."""
    done = bool(_mine(row).update(lease_token=None, lease_until=None, **changes))
    row.lease_token = row.lease_until = None
    return done


def _mine(row: Leased) -> models.QuerySet[Any]:
    return type(row)._base_manager.filter(pk=row.pk, lease_token=row.lease_token, lease_until__gte=_now())
