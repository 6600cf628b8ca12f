"""The polling schedule: which mailbox is due, who works it, and when it is due again.

Crash table (what stands in the database if the process dies there):

- before the claim: nothing; the mailbox is due and somebody else claims it.
- after the claim: a lease that runs out by itself. ``next_poll_at`` was already pushed by one interval, so a mailbox
  whose worker keeps dying is still not listed more often than its rule allows.
- before ``finish``: the same; what the turn stored is committed message by message.

MESH API specification, Check an inbox: at least daily, at most every five minutes unless more messages wait.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Value, When
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from mailboxes.problems import Problem
from meshportal.core import lease

MAX_BACKOFF = timedelta(hours=1)


class SettingsChanged(Exception):
    """A person changed the mailbox's settings during a turn: it ends, and the next one works by the new ones."""


def lease_duration() -> timedelta:
    """How long a claim holds without a sign of life."""
    return timedelta(seconds=settings.LEASE_SECONDS)


def claim_due(*, slow: bool) -> Mailbox | None:
    """Claims the mailbox that has been due for longest in one lane; None when none is.

    The next turn is scheduled with the claim itself, one interval from now.
    """
    due = Mailbox.objects.exclude(mode=Mode.PAUSED).filter(next_poll_at__lte=timezone.now(), slow=slow).order_by("next_poll_at")
    # Looking costs no write lock, and most looks find nothing.
    return _claim(due) if due.exists() else None


def claim_now(mailbox: Mailbox) -> Mailbox | None:
    """Claims this one although it may not be due (the command line); None when a worker has it."""
    return _claim(Mailbox.objects.filter(pk=mailbox.pk))


def _claim(candidates: Any) -> Mailbox | None:
    claimed = lease.claim(candidates, limit=1, duration=lease_duration(), defer=("password",), last_attempt_at=timezone.now())
    if not claimed:
        return None
    mailbox: Mailbox = claimed[0]
    # A second statement is safe: nobody else claims the row while the lease holds, and dying in between only means
    # that the next claim waits for the lease instead.
    mailbox.next_poll_at = timezone.now() + mailbox.poll_interval
    Mailbox.objects.filter(pk=mailbox.pk).update(next_poll_at=mailbox.next_poll_at)
    return mailbox


def extend(mailbox: Mailbox) -> None:
    """Shows a sign of life when half the lease is used. Raises LeaseLost when somebody else may have the mailbox."""
    if mailbox.lease_until is None or mailbox.lease_until - timezone.now() < lease_duration() / 2:
        lease.extend(mailbox, lease_duration())


def kept_alive(mailbox: Mailbox) -> AbstractContextManager[None]:
    """Keeps the lease on ``mailbox`` while the body runs; see :func:`meshportal.core.lease.kept_alive`."""
    return lease.kept_alive(mailbox, lease_duration())


def check(mailbox: Mailbox) -> None:
    """Before an act that cannot be undone. Raises LeaseLost when somebody else may have the mailbox, SettingsChanged
    when a person changed its settings since the claim."""
    found = Mailbox.objects.filter(pk=mailbox.pk, lease_token=mailbox.lease_token).values_list("revision", flat=True).first()
    if found is None:
        raise lease.LeaseLost(f"The lease on {mailbox} was lost.")
    if found != mailbox.revision:
        raise SettingsChanged
    extend(mailbox)


def note_listing(mailbox: Mailbox) -> None:
    """A listing is about to be asked for. Raises LeaseLost."""
    note(mailbox, last_listed_at=timezone.now())
    plan_next(mailbox)


def plan_next(mailbox: Mailbox) -> None:
    """The next listing is due one interval from now, unless somebody asked for another time since it was planned.

    Called when a listing is asked for, in case the process dies, and again when it has come: on a busy machine the
    request may have left late, and the interval is MESH's to see.
    """
    planned, mailbox.next_poll_at = mailbox.next_poll_at, timezone.now() + mailbox.poll_interval
    Mailbox.objects.filter(pk=mailbox.pk, next_poll_at=planned).update(next_poll_at=mailbox.next_poll_at)


def note(mailbox: Mailbox, **facts: Any) -> None:
    """Writes facts about the mailbox in the middle of a turn, if it is still ours. Raises LeaseLost."""
    if not Mailbox.objects.filter(pk=mailbox.pk, lease_token=mailbox.lease_token).update(**facts):
        raise lease.LeaseLost(f"The lease on {mailbox} was lost.")
    for name, value in facts.items():
        setattr(mailbox, name, value)


def finish(
    mailbox: Mailbox,
    *,
    problem: Problem | None,
    more_waiting: bool,
    slow: bool,
    clock_skew: timedelta | None,
) -> bool:
    """Ends a turn: gives the mailbox back, with its problem or without, and says when it is due again.

    What a person asked for meanwhile stands: a poll that was brought forward stays so, and a problem of settings that
    were changed since is not kept. False, with nothing written, when the lease had run out.
    """
    now = timezone.now()
    changes: dict[str, Any] = {"slow": slow}
    if Mailbox.objects.filter(pk=mailbox.pk).exclude(revision=mailbox.revision).exists():
        return lease.release(mailbox, **changes)
    if clock_skew is not None:
        changes["clock_skew_seconds"] = round(clock_skew.total_seconds())
    if problem is None:
        changes |= {
            "consecutive_failures": 0,
            "problem_code": "",
            "problem": "",
            "problem_advice": "",
            "problem_since": None,
            "next_poll_at": _unless_asked(mailbox, now if more_waiting else mailbox.next_poll_at),
        }
    else:
        wait = min(mailbox.poll_interval * 2 ** min(mailbox.consecutive_failures, 10), max(MAX_BACKOFF, mailbox.poll_interval))
        changes |= {
            "consecutive_failures": F("consecutive_failures") + 1,
            "problem_code": problem.code,
            "problem": problem.sentence,
            "problem_advice": problem.advice,
            "problem_since": mailbox.problem_since or now,
            "next_poll_at": _unless_asked(mailbox, now + wait),
        }
    return lease.release(mailbox, **changes)


def _unless_asked(mailbox: Mailbox, wanted: datetime) -> Case:
    """``wanted``, or the time that somebody chose since this turn planned its own."""
    return Case(When(next_poll_at=mailbox.next_poll_at, then=Value(wanted)), default=F("next_poll_at"))
