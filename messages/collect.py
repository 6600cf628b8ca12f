"""Collecting: each listed message is stored and acknowledged, and no single one holds up the others (promise P4).

What a failure means for the rest of the turn:

- of one message's own making (corrupt, too large, refused): it waits longer each time and is put aside in the end.
- of the network or the service: the message waits; three in a row end the turn, since then it is not the messages.
- of our storage: the message waits; a second one in the same turn ends it, since then it is not the message's size.
- of a setting (certificate, sign-in before the listing worked): ends the turn, and counts against no message.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from mailboxes import polling
from mailboxes.problems import Problem
from meshportal.core import payloads
from meshportal.core.lease import LeaseLost
from meshportal.mesh import MeshClient, errors
from messages import receive, records
from messages.models import Message
from messages.states import Direction, State
from messages.tally import Stop, Turn, timed_out

log = structlog.get_logger("messages.collect")

_FAILURES_IN_A_ROW = 3
_MOST_MISSING = 100
_LOOK_AGAIN = timedelta(hours=1)
_DONE = (State.ACKNOWLEDGED, State.DISCARDED)


def collect(turn: Turn, client: MeshClient, rows: list[Message], *, whole: bool) -> None:
    """Works the listed ``rows``; ``whole`` when they are all that the inbox holds."""
    now = timezone.now()
    listed = {message.pk for message in rows}
    removed = _settle(turn, client, listed)
    for message in rows:
        if turn.time_is_up:
            # At once again only while this gets on: a service that takes nothing must not be listed without a pause.
            turn.tally.more_waiting = turn.tally.stored + turn.tally.acknowledged > 0
            turn.report("The turn's time is up; the rest follows in the next.")
            break
        if message.state in (State.STORED, State.DISCARDING, *_DONE):
            again = message.state in _DONE
            if _acknowledge(turn, client, message) and not again:
                removed += 1
        elif _is_due(message, now) and _store(turn, client, message) and _acknowledge(turn, client, message):
            removed += 1
    else:
        if whole:
            _look_for_missing(turn, client, listed)
    # MESH API specification, Check an inbox: a full page means that more may wait, so list again at once; but only
    # when this turn made room, or messages that cannot be stored would be listed for ever.
    if len(rows) >= settings.LIST_PAGE_SIZE and removed:
        turn.tally.more_waiting = True
    polling.note(turn.mailbox, waiting_count=max((turn.mailbox.waiting_count or 0) - removed, 0))


def _is_due(message: Message, now: datetime) -> bool:
    return message.state == State.LISTED and (message.next_attempt_at is None or message.next_attempt_at <= now)


def _settle(turn: Turn, client: MeshClient, listed: Collection[object]) -> int:
    """Acknowledges what an earlier turn stored, or a person discarded, and this listing does not show."""
    rows = Message.objects.filter(mailbox=turn.mailbox, direction=Direction.IN, state__in=[State.STORED, State.DISCARDING]).defer(
        "headers", "subject"
    )
    removed = 0
    for message in rows.order_by("seen_at")[:1000]:
        if turn.time_is_up:
            break
        if message.pk not in listed and _acknowledge(turn, client, message):
            removed += 1
    return removed


def _store(turn: Turn, client: MeshClient, message: Message) -> bool:
    polling.check(turn.mailbox)
    try:
        receive.store(turn.mailbox, client, message)
    except records.Moved:
        # A person decided otherwise while the message was coming in; their decision stands.
        return False
    except payloads.StorageFailed as error:
        turn.tally.problem = receive.storage_failed(message, error)
        turn.tally.failed += 1
        turn.report(f"Not stored {message.mesh_id}: {turn.tally.problem.sentence}")
        turn.storage_failures += 1
        if turn.storage_failures > 1:
            raise Stop(turn.tally.problem) from error
        return False
    except errors.MeshError as error:
        if turn.concerns_mailbox(error):
            receive.uncount(message)
            raise Stop(turn.explain(error)) from error
        _failed(turn, message, error)
        return False
    except (LeaseLost, DatabaseError):
        # Neither says anything about the message: it must not count against it.
        receive.uncount(message)
        raise
    except Exception as error:
        log.exception("store_failed", message_id=message.mesh_id)
        _failed(turn, message, error)
        return False
    turn.failures_in_a_row = 0
    turn.tally.stored += 1
    turn.report(f"Stored {message.mesh_id}: {message.size} bytes, workflow {message.workflow_id or 'not given'}.")
    return True


def _failed(turn: Turn, message: Message, error: Exception) -> None:
    problem = receive.failed(turn.mailbox, message, error, host=turn.host)
    turn.tally.failed += 1
    turn.report(f"Not stored {message.mesh_id}: {problem.sentence}")
    _count(turn, error, problem)


def _count(turn: Turn, error: Exception, problem: Problem) -> None:
    """Ends the turn when failures that come from outside the messages follow one another."""
    if not (receive.from_outside(error) or isinstance(error, errors.AuthenticationFailed)):
        turn.failures_in_a_row = 0
        return
    turn.failures_in_a_row += 1
    turn.slow = turn.slow or timed_out(error)
    if turn.failures_in_a_row >= _FAILURES_IN_A_ROW:
        raise Stop(problem, slow=turn.slow)


def _acknowledge(turn: Turn, client: MeshClient, message: Message) -> bool:
    # It cannot be undone: neither for a worker that was overtaken, nor after somebody chose watch mode.
    polling.check(turn.mailbox)
    again, discarding = message.state in _DONE, message.state == State.DISCARDING
    try:
        receive.acknowledge(client, message)
    except records.Moved:
        return False
    except errors.MeshError as error:
        problem = turn.explain(error)
        if turn.concerns_mailbox(error):
            raise Stop(problem) from error
        # Held and safe: the next turn acknowledges it. It does not count as a failed message.
        records.note(message, "acknowledge_failed", problem=problem.sentence)
        turn.report(f"Not yet acknowledged {message.mesh_id}: {problem.sentence}")
        _count(turn, error, problem)
        return False
    turn.failures_in_a_row = 0
    if discarding:
        turn.tally.discarded += 1
    elif not again:
        turn.tally.acknowledged += 1
    turn.report(f"Acknowledged {message.mesh_id}.")
    return True


def _look_for_missing(turn: Turn, client: MeshClient, listed: Collection[object]) -> None:
    """Asks after what waits here and MESH no longer lists: somebody else collected it, or its five days are over.

    A filter hides messages from the listing too, so each is asked for by its id. Without this such a message would
    wait here for ever and nobody would learn that it was lost.
    """
    due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=timezone.now())
    waiting = Message.objects.filter(
        due, mailbox=turn.mailbox, direction=Direction.IN, state__in=[State.LISTED, State.QUARANTINED]
    ).defer("headers", "subject")
    missing = [message for message in waiting.order_by("seen_at")[:1000] if message.pk not in listed][:_MOST_MISSING]
    for message in missing:
        if turn.time_is_up:
            return
        polling.extend(turn.mailbox)
        try:
            client.head(message.mesh_id)
        except (errors.NotFound, errors.Gone) as error:
            try:
                receive.gone(message, error)
            except records.Moved:
                continue
            turn.report(f"Gone {message.mesh_id}: {message.problem}")
        except errors.MeshError:
            return
        else:
            Message.objects.filter(pk=message.pk, state=message.state).update(next_attempt_at=timezone.now() + _LOOK_AGAIN)
