"""One round on one outlet, and which outlet is due.

A round hands on what is due, in the order in which it came, until nothing is, the time is up or the consumer as a whole
fails. What fails by one message's own fault waits by itself with growing gaps, and the next one goes (promise P4). What
fails with the consumer lets the outlet wait, with growing gaps too; where it may have been the message, the others of the
outlet come first the next time. An outlet that took long has a small lane of its own, and every outlet has one worker at
most, so that one broken consumer never delays another's.
"""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import F
from django.utils import timezone

from mailboxes.folders import FolderTrouble
from mailboxes.models import Channel, Outlet
from mailboxes.problems import INTERNAL, UNREADABLE_SECRET, Problem
from meshportal.audit import context
from meshportal.core import lease
from meshportal.core.crypto import CannotUnseal
from meshportal.core.payloads import PayloadMissing, PayloadUnreadable
from meshportal.core.pool import Pool
from messages import receive
from messages.handing import folder, rows, webhook
from messages.models import HandOver

log = structlog.get_logger("messages.handing")

QUEUE = "hand_over"
# A folder that was mended is soon looked at again: a look costs nothing.
_FOLDER_AGAIN = timedelta(minutes=5)
# Storage or a key that is away comes back within these tries, which take about five days.
_UNREADABLE_TRIES = 120
_SEALED = ("message__headers", "message__subject", "message__recipient_sealed", "message__mailbox__password")
_NO_PROBLEM = {"problem_code": "", "problem": "", "problem_advice": "", "problem_since": None, "failures": 0, "slow": False}
_UNREADABLE = Problem(
    "body_unreadable",
    "The portal cannot read its own copy of this message.",
    "Ask whoever runs the portal to look at the storage of bodies, and at MESHPORTAL_PAYLOAD_KEYS.",
)
OFF = Problem(
    "handing_on_off",
    "Handing on was switched off for this mailbox before this message was handed on.",
    "Switch it on and hand the message on again, if its consumer needs it.",
)


class _Stop(Exception):
    """The outlet waits."""

    def __init__(self, problem: Problem, *, wait: timedelta | None = None, slow: bool = False) -> None:
        super().__init__(problem.sentence)
        self.problem, self.wait, self.slow = problem, wait, slow


def run_due() -> int:
    """Works every outlet that is due; gives how many."""
    return Pool[Outlet](
        queue=QUEUE,
        lanes=[
            *[partial(claim_due, slow=False)] * settings.HAND_OVER_THREADS,
            *[partial(claim_due, slow=True)] * settings.HAND_OVER_SLOW_THREADS,
        ],
        work=_work,
        seconds=settings.SHARD_SECONDS,
        long_seconds=settings.TURN_SECONDS,
    ).run()


def _work(outlet: Outlet) -> None:
    with context.request():
        work(outlet)


def _duration() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def claim_due(*, slow: bool) -> Outlet | None:
    """Claims the outlet that has been due for longest in one lane; None when none is."""
    due = rows.outlets_due().filter(slow=slow)
    if not due.exists():
        return None
    claimed = lease.claim(due, limit=1, duration=_duration(), defer=("secret",))
    return claimed[0] if claimed else None


def work(outlet: Outlet) -> None:
    """Works an outlet whose lease the caller claimed, and gives it back. Never raises what a consumer did wrong."""
    changes: dict[str, Any] = {"resume_at": timezone.now()}
    try:
        with lease.kept_alive(outlet, _duration()):
            if _run(outlet):
                changes |= {**_NO_PROBLEM, "handed_at": timezone.now()}
    except _Stop as stop:
        log.warning("hand_over_waits", outlet=str(outlet.pk), channel=outlet.channel, problem=stop.problem.code)
        changes = _waiting(outlet, stop)
    except lease.LeaseLost:
        log.warning("lease_lost", outlet=str(outlet.pk))
        return
    except Exception:
        log.exception("hand_over_broke", outlet=str(outlet.pk))
        changes = _waiting(outlet, _Stop(INTERNAL))
    lease.release(outlet, **changes)


def _waiting(outlet: Outlet, stop: _Stop) -> dict[str, Any]:
    wait = stop.wait or receive.backoff(outlet.failures + 1)
    return {
        "resume_at": timezone.now() + wait,
        "failures": F("failures") + 1,
        "slow": stop.slow,
        "problem_code": stop.problem.code,
        "problem": stop.problem.sentence,
        "problem_advice": stop.problem.advice,
        "problem_since": outlet.problem_since or timezone.now(),
    }


def _run(outlet: Outlet) -> bool:
    """True when at least one message was handed on."""
    until = time.monotonic() + settings.TURN_SECONDS
    any_done = False
    while time.monotonic() < until:
        row = rows.due(outlet).select_related("message__payload", "message__mailbox").defer(*_SEALED).first()
        if row is None:
            break
        # Settings as they are now: a person may have changed them since the last message.
        fresh = Outlet.objects.select_related("mailbox").defer("secret", "mailbox__password").get(pk=outlet.pk)
        fresh.lease_token = outlet.lease_token
        if not fresh.enabled:
            rows.give_up(outlet, row, OFF)
            continue
        try:
            any_done = _one(fresh, row) or any_done
        except _Stop:
            if any_done:
                # The consumer worked a moment ago: its failures begin anew.
                outlet.failures, outlet.problem_since = 0, None
                Outlet.objects.filter(pk=outlet.pk).update(failures=0)
            raise
    return any_done


def _one(outlet: Outlet, row: HandOver) -> bool:
    """Tries one message; True when it was handed on. Raises _Stop, LeaseLost."""
    # Counted before it is tried, and with it a wait, so that a message which kills its worker does not do so at every turn.
    rows.write(outlet, row, tries=row.tries + 1, due_at=timezone.now() + receive.backoff(row.tries + 1))
    try:
        if outlet.channel == Channel.FOLDER:
            problem = folder.hand_on(outlet, row)
            if problem is not None:
                rows.give_up(outlet, row, problem)
                return False
        else:
            webhook.hand_on(outlet, row)
            rows.done(outlet, row)
        return True
    except FolderTrouble as error:
        # A folder comes back: it is tried for as long as it takes.
        rows.later(outlet, row, error.problem, due_at=timezone.now())
        raise _Stop(error.problem, wait=min(receive.backoff(outlet.failures + 1), _FOLDER_AGAIN)) from None
    except (PayloadMissing, PayloadUnreadable):
        _own_fault(outlet, row, _UNREADABLE, most=_UNREADABLE_TRIES)
    except CannotUnseal:
        rows.later(outlet, row, UNREADABLE_SECRET, due_at=timezone.now())
        raise _Stop(UNREADABLE_SECRET) from None
    except webhook.Unanswered as error:
        _unanswered(outlet, row, error)
    except (lease.LeaseLost, DatabaseError):
        raise
    except Exception:
        # Whatever it is, it is this message's: the others are not kept from leaving by it.
        log.exception("hand_over_broke", outlet=str(outlet.pk))
        _own_fault(outlet, row, INTERNAL, most=_UNREADABLE_TRIES)
    return False


def _unanswered(outlet: Outlet, row: HandOver, error: webhook.Unanswered) -> None:
    if error.refused:
        # It answers, whatever was wrong with it before.
        Outlet.objects.filter(pk=outlet.pk).update(**_NO_PROBLEM)
        _own_fault(outlet, row, error.problem, most=settings.WEBHOOK_REFUSALS)
        return
    if timezone.now() - row.began_at > timedelta(days=settings.WEBHOOK_DAYS):
        rows.give_up(outlet, row, error.problem)
    elif error.whole:
        rows.later(outlet, row, error.problem, due_at=timezone.now())
    else:
        # It may have been this message: the others go first.
        gap = receive.backoff(outlet.failures + 1) + receive.backoff(row.tries)
        rows.later(outlet, row, error.problem, due_at=timezone.now() + gap)
    raise _Stop(error.problem, wait=error.wait, slow=error.slow)


def _own_fault(outlet: Outlet, row: HandOver, problem: Problem, *, most: int) -> None:
    if row.refusals + 1 >= most:
        rows.give_up(outlet, row, problem)
        return
    wait = receive.backoff(row.refusals + 1)
    rows.later(outlet, row, problem, refusals=row.refusals + 1, due_at=timezone.now() + wait)
