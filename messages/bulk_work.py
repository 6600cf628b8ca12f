"""Working a bulk resend, row by row, under the lease of its gesture (promises P2, P4).

Crash table (what stands when the process dies, and what happens then):

======================================  ===================  ========================================================
the process dies                        what stands          next
======================================  ===================  ========================================================
before the try is counted               a row that waits     the lease runs out: tried
after that, before the new message      the same, one try    tried again, until it was tried as often as any message
is committed                            more                 is; a copy of the body that nothing names may be left
after that commit                       sent, new message    the next row: both stand in one transaction
after the last row, before the end      no row waits         the next worker writes the end
======================================  ===================  ========================================================

Locks are taken in the order message, gesture, row, audit. A row that breaks is left with its reason; a storage that fails
makes its row wait, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.utils import timezone

from meshportal.audit import context
from meshportal.core import lease
from meshportal.core.acts import Refused
from meshportal.core.crypto import CannotUnseal
from meshportal.core.payloads import StorageFailed
from meshportal.core.pool import Pool
from messages import registry, resend, selectors
from messages.models import BulkResend, BulkResendRow, BulkRowState, Message

log = structlog.get_logger("messages.bulk")

QUEUE = "default"
# Two, so that one with a thousand messages does not keep another from beginning.
_LANES = 2
_BROKE = "Something unforeseen went wrong with this message. Tell whoever runs the portal, with the message ID."
_DIED = "The portal stopped each time that it tried this message. Tell whoever runs the portal, with the message ID."
_NOT_KEPT = "The portal’s storage failed each time that it tried to keep a copy to send. Tell whoever runs the portal."
_UNREADABLE = (
    "What the portal knows of this message cannot be opened with its keys. Ask whoever runs the portal to put the missing key "
    "back into MESHPORTAL_KEYS."
)


class _Taken(Exception):
    """The row waits no more: a person stopped the gesture in this moment."""


def run_due() -> int:
    """Goes on with the bulk resends that are due; gives how many turns it took."""
    lanes: list[Callable[[], BulkResend | None]] = [claim_due] * _LANES
    return Pool(queue=QUEUE, lanes=lanes, work=work, seconds=settings.SHARD_SECONDS, long_seconds=settings.TURN_SECONDS).run()


def claim_due() -> BulkResend | None:
    """Claims the bulk resend that has been due for longest; None when none is."""
    due = BulkResend.objects.filter(due_at__lte=timezone.now(), finished_at__isnull=True).order_by("due_at", "pk")
    if not due.exists():
        return None
    claimed = lease.claim(due, limit=1, duration=_lease_duration())
    return claimed[0] if claimed else None


def _lease_duration() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def work(gesture: BulkResend) -> None:
    """Takes rows of a gesture whose lease the caller claimed until they are done or the turn is over, and gives it back."""
    until = time.monotonic() + settings.SHARD_SECONDS
    try:
        with context.request(gesture.request_id), lease.kept_alive(gesture, _lease_duration()):
            while time.monotonic() < until:
                row = _next(gesture)
                if row is None:
                    break
                _try(gesture, row)
    except lease.LeaseLost:
        log.warning("lease_lost", gesture=str(gesture.pk))
        return
    _give_back(gesture)


def _next(gesture: BulkResend) -> BulkResendRow | None:
    """The next row to try now, with its try counted. Rows that were tried too often are left on the way."""
    while True:
        waiting = gesture.rows.filter(state=BulkRowState.WAITING, try_at__lte=timezone.now())
        row = waiting.order_by("try_at", "created_at", "pk").first()
        if row is None:
            return None
        with transaction.atomic():
            lease.hold(gesture)
            if row.tries >= settings.MAX_ATTEMPTS:
                _change(row, state=BulkRowState.LEFT, why_not=_DIED)
                continue
            row.tries += 1
            _change(row, tries=row.tries)
        return row


def _try(gesture: BulkResend, row: BulkResendRow) -> None:
    """Sends the message of ``row`` again, or says why it is left, or when it is tried next."""
    try:
        message = selectors.to_resend(gesture.team, [row.message_id]).get()
        rule = registry.rules(gesture.team_id, [message.workflow_id]).get(message.workflow_id, "")
        if why := resend.not_with_others(message, rule, gesture.asked_by):
            raise Refused(why)

        def mark(new: Message) -> None:
            lease.hold(gesture)
            if not _change(row, state=BulkRowState.SENT, new=new):
                raise _Taken

        resend.resend(
            actor=gesture.actor, message=message, reason=gesture.reason, asked_by=gesture.asked_by, once=True, alongside=mark
        )
    except (lease.LeaseLost, DatabaseError):
        raise
    except _Taken:
        return
    except Refused as refusal:
        _leave(gesture, row, str(refusal))
    except ValidationError as error:
        _leave(gesture, row, f"It cannot be sent again as it was composed. {' '.join(error.messages)}")
    except CannotUnseal:
        _leave(gesture, row, _UNREADABLE)
    except StorageFailed:
        log.warning("copy_not_kept", gesture=str(gesture.pk), message=str(row.message_id), tries=row.tries)
        if row.tries >= settings.MAX_ATTEMPTS:
            _leave(gesture, row, _NOT_KEPT)
        else:
            _later(gesture, row, timezone.now() + timedelta(seconds=settings.RETRY_BASE_SECONDS * 2 ** (row.tries - 1)))
    except Exception:
        log.exception("row_broke", gesture=str(gesture.pk), message=str(row.message_id))
        _leave(gesture, row, _BROKE)


def _leave(gesture: BulkResend, row: BulkResendRow, why: str) -> None:
    with transaction.atomic():
        lease.hold(gesture)
        _change(row, state=BulkRowState.LEFT, why_not=why)


def _later(gesture: BulkResend, row: BulkResendRow, at: datetime) -> None:
    with transaction.atomic():
        lease.hold(gesture)
        _change(row, try_at=at)


def _change(row: BulkResendRow, **changes: Any) -> bool:
    """Writes to a row that still waits; False when it waits no more."""
    waiting = BulkResendRow.objects.filter(pk=row.pk, state=BulkRowState.WAITING)
    return bool(waiting.update(updated_at=timezone.now(), **changes))


def _give_back(gesture: BulkResend) -> None:
    """The end where no row waits any more; otherwise due again when the first of them is."""
    with transaction.atomic():
        held = BulkResend.objects.select_for_update(of=("self",)).get(pk=gesture.pk)
        changes: dict[str, Any] = {}
        if held.finished_at is None:
            first = gesture.rows.filter(state=BulkRowState.WAITING).order_by("try_at").values_list("try_at", flat=True).first()
            now = timezone.now()
            changes = {"finished_at": now, "due_at": None} if first is None else {"due_at": max(first, now)}
        lease.release(gesture, **changes)
