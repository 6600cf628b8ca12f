"""One turn on one mailbox that this worker holds the lease of: handshake, list, store and acknowledge, or watch.

The caller claims the mailbox; :func:`work` gives it back. Nothing raised by MESH or by one message leaves this module:
what went wrong ends as a sentence on the mailbox's or the message's page.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from mailboxes import connections, polling
from mailboxes.models import Mailbox, Mode
from mailboxes.problems import INTERNAL, UNREADABLE_SECRET, NotConfigured, Problem, explain
from meshportal.core import payloads
from meshportal.core.crypto import CannotUnseal
from meshportal.core.lease import LeaseLost
from meshportal.mesh import MeshClient, errors
from messages import inbox, receive, records, watch
from messages.models import Message
from messages.states import Direction, State

log = structlog.get_logger("messages.turn")

# So many network failures in a row mean that the service is unwell, not the messages.
_NETWORK_FAILURES_IN_A_ROW = 3
_SLOW_AFTER_SECONDS = 20.0
_MAX_LISTED = 20_000

Report = Callable[[str], None]
Result = TypeVar("Result")


@dataclass
class Tally:
    """What a turn did."""

    listed: int = 0
    stored: int = 0
    acknowledged: int = 0
    discarded: int = 0
    failed: int = 0
    left: int = 0
    handshake: bool = False
    more_waiting: bool = False
    problem: Problem | None = None
    lease_lost: bool = False


class _Stop(Exception):
    """Ends the turn early with a problem of the whole mailbox."""

    def __init__(self, problem: Problem, *, slow: bool = False) -> None:
        super().__init__(problem.sentence)
        self.problem = problem
        self.slow = slow


@dataclass
class Turn:
    """The state of one turn. ``report`` gets a line for every step (the command line prints them)."""

    mailbox: Mailbox
    report: Report
    tally: Tally = field(default_factory=Tally)
    client: MeshClient | None = None
    began: float = field(default_factory=time.monotonic)
    network_failures: int = 0
    signed_in: bool = False
    slow: bool = False

    @property
    def host(self) -> str:
        return urlsplit(settings.MESH_URLS[self.mailbox.environment]).netloc

    def explain(self, error: errors.MeshError) -> Problem:
        """What ``error`` means for the mailbox at this point of the turn."""
        skew = self.client.clock_skew if self.client is not None else None
        return explain(error, host=self.host, clock_skew=skew, signed_in=self.signed_in)

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() - self.began > settings.TURN_SECONDS


def work(mailbox: Mailbox, *, report: Report = lambda _line: None) -> Tally:
    """Works ``mailbox``, whose lease the caller claimed, and gives it back. Never raises what MESH did wrong."""
    turn = Turn(mailbox=mailbox, report=report)
    with structlog.contextvars.bound_contextvars(mailbox=mailbox.mailbox_id, environment=mailbox.environment):
        try:
            _run(turn)
        except _Stop as stop:
            turn.tally.problem, turn.slow = stop.problem, stop.slow
        except LeaseLost:
            turn.tally.lease_lost = True
            log.warning("lease_lost")
            report("Another worker took this mailbox over; stopped.")
            return turn.tally
        except Exception:
            log.exception("turn_failed")
            turn.tally.problem = INTERNAL
        _finish(turn)
    return turn.tally


def _finish(turn: Turn) -> None:
    tally, mailbox = turn.tally, turn.mailbox
    skew = turn.client.clock_skew if turn.client is not None else None
    given_back = polling.finish(
        mailbox,
        problem=tally.problem,
        more_waiting=tally.more_waiting,
        slow=turn.slow,
        clock_skew=skew,
    )
    tally.lease_lost = not given_back
    if tally.problem is not None:
        log.warning("mailbox_problem", problem=tally.problem.code)
        turn.report(f"Problem: {tally.problem.sentence} {tally.problem.advice}")
    if tally.listed or tally.stored or tally.acknowledged or tally.failed:
        log.info(
            "polled",
            listed=tally.listed,
            stored=tally.stored,
            acknowledged=tally.acknowledged,
            failed=tally.failed,
            seconds=round(time.monotonic() - turn.began, 3),
        )
    if skew is not None and abs(skew) > Mailbox.SKEW_WARNING:
        log.warning("clock_skew", seconds=round(skew.total_seconds()))
        turn.report(f"This server's clock differs from MESH's by {round(skew.total_seconds())} seconds.")


def _run(turn: Turn) -> None:
    mailbox = turn.mailbox
    try:
        turn.client = client = connections.client_for(mailbox)
    except NotConfigured as error:
        raise _Stop(error.problem) from error
    except CannotUnseal as error:
        raise _Stop(UNREADABLE_SECRET) from error
    except errors.MeshError as error:
        raise _Stop(turn.explain(error)) from error
    _whole(turn, lambda: _handshake(turn, client))
    if mailbox.mode == Mode.COLLECT:
        _settle(turn, client)
    mesh_ids, whole = _whole(turn, lambda: _list(turn, client))
    rows = inbox.register(mailbox, mesh_ids)
    if mailbox.mode == Mode.WATCH:
        _watch(turn, client, mesh_ids, whole=whole)
    else:
        _collect(turn, client, rows)


def _whole(turn: Turn, call: Callable[[], Result]) -> Result:
    """A call that concerns the whole mailbox: its failure ends the turn."""
    began = time.monotonic()
    try:
        return call()
    except errors.MeshError as error:
        raise _Stop(turn.explain(error), slow=time.monotonic() - began > _SLOW_AFTER_SECONDS or _timed_out(error)) from error


def _timed_out(error: errors.MeshError) -> bool:
    return isinstance(error, errors.ResponseTimeout | errors.ConnectTimeout | errors.BodyTooSlow)


def _handshake(turn: Turn, client: MeshClient) -> None:
    # MESH API specification, Validate a mailbox: once every 24 hours tells MESH that the mailbox is alive. A changed
    # setting makes it due at once, so that the simplest call is the one that shows a mistake.
    mailbox = turn.mailbox
    now = timezone.now()
    due = mailbox.last_handshake_at is None or now - mailbox.last_handshake_at >= Mailbox.HANDSHAKE_EVERY
    if not due:
        return
    client.handshake()
    polling.note(mailbox, last_handshake_at=timezone.now())
    turn.tally.handshake = True
    turn.report("Handshake: MESH knows this mailbox and accepts its password and certificate.")


def _list(turn: Turn, client: MeshClient) -> tuple[list[str], bool]:
    """The ids in the inbox, in the order of the listing, and whether that is all of them."""
    mailbox = turn.mailbox
    polling.note(mailbox, last_listed_at=timezone.now())
    mesh_ids: dict[str, None] = {}
    about: int | None = None
    whole = True
    for page in client.iter_inbox_pages(max_results=settings.LIST_PAGE_SIZE, workflow_filter=mailbox.workflow_filter or None):
        mesh_ids |= dict.fromkeys(page.message_ids)
        about = page.approx_count if about is None else about
        polling.extend(mailbox)
        if len(mesh_ids) >= _MAX_LISTED:
            whole = False
            break
    turn.signed_in = True
    turn.tally.listed = len(mesh_ids)
    polling.note(
        mailbox,
        last_polled_at=timezone.now(),
        waiting_count=max(about or 0, len(mesh_ids)) if not mailbox.workflow_filter else len(mesh_ids),
    )
    turn.report(f"Inbox: {len(mesh_ids)} waiting.")
    return list(mesh_ids), whole


def _settle(turn: Turn, client: MeshClient) -> None:
    """Acknowledges what an earlier turn stored, or a person discarded, without looking at the inbox first."""
    rows = Message.objects.filter(mailbox=turn.mailbox, direction=Direction.IN, state__in=[State.STORED, State.DISCARDING]).defer(
        "headers", "subject"
    )
    for message in rows.order_by("seen_at")[:1000]:
        polling.extend(turn.mailbox)
        _acknowledge(turn, client, message)


def _collect(turn: Turn, client: MeshClient, rows: list[Message]) -> None:
    now = timezone.now()
    removed = 0
    for message in rows:
        if turn.time_is_up:
            turn.tally.more_waiting = True
            turn.report("The turn's time is up; the rest follows in the next.")
            break
        polling.extend(turn.mailbox)
        if message.state in (State.STORED, State.ACKNOWLEDGED, State.DISCARDING, State.DISCARDED):
            if message.state != State.DISCARDED and _acknowledge(turn, client, message):
                removed += 1
            continue
        if message.state != State.LISTED or (message.next_attempt_at and message.next_attempt_at > now):
            continue
        if _store(turn, client, message) and _acknowledge(turn, client, message):
            removed += 1
    # MESH API specification, Check an inbox: a full page means that more may wait, so list again at once; but only
    # when this turn made room, or messages that cannot be stored would be listed for ever.
    if len(rows) >= settings.LIST_PAGE_SIZE and removed:
        turn.tally.more_waiting = True
    polling.note(turn.mailbox, waiting_count=max((turn.mailbox.waiting_count or 0) - removed, 0))


def _store(turn: Turn, client: MeshClient, message: Message) -> bool:
    try:
        receive.store(turn.mailbox, client, message)
    except records.Moved:
        # A person decided otherwise while the message was coming in; their decision stands.
        return False
    except payloads.StorageFailed as error:
        raise _Stop(receive.storage_failed(message, error)) from error
    except errors.MeshError as error:
        if error.misconfigured:
            # The mailbox's fault, not the message's.
            Message.objects.filter(pk=message.pk).update(attempts=max(message.attempts - 1, 0))
            raise _Stop(turn.explain(error)) from error
        _failed(turn, message, error)
        return False
    except (LeaseLost, DatabaseError):
        # Neither says anything about the message: it must not count against it.
        raise
    except Exception as error:
        log.exception("store_failed", message_id=message.mesh_id)
        _failed(turn, message, error)
        return False
    turn.network_failures = 0
    turn.tally.stored += 1
    turn.report(f"Stored {message.mesh_id}: {message.size} bytes, workflow {message.workflow_id or 'not given'}.")
    return True


def _failed(turn: Turn, message: Message, error: Exception) -> None:
    problem = receive.failed(turn.mailbox, message, error, host=turn.host)
    turn.tally.failed += 1
    turn.report(f"Not stored {message.mesh_id}: {problem.sentence}")
    _count_network_failure(turn, error, problem)


def _count_network_failure(turn: Turn, error: Exception, problem: Problem) -> None:
    if not isinstance(error, receive.NETWORK):
        turn.network_failures = 0
        return
    turn.network_failures += 1
    turn.slow = turn.slow or _timed_out(error) if isinstance(error, errors.MeshError) else turn.slow
    if turn.network_failures >= _NETWORK_FAILURES_IN_A_ROW:
        raise _Stop(problem, slow=turn.slow)


def _acknowledge(turn: Turn, client: MeshClient, message: Message) -> bool:
    again, discarding = message.state == State.ACKNOWLEDGED, message.state == State.DISCARDING
    try:
        receive.acknowledge(client, message)
    except records.Moved:
        return False
    except errors.MeshError as error:
        problem = turn.explain(error)
        if error.misconfigured:
            raise _Stop(problem) from error
        # Held and safe: the next turn acknowledges it. It does not count as a failed message.
        records.note(message, "acknowledge_failed", problem=problem.sentence)
        turn.report(f"Not yet acknowledged {message.mesh_id}: {problem.sentence}")
        _count_network_failure(turn, error, problem)
        return False
    turn.network_failures = 0
    if discarding:
        turn.tally.discarded += 1
    elif not again:
        turn.tally.acknowledged += 1
    turn.report(f"Acknowledged {message.mesh_id}.")
    return True


def _watch(turn: Turn, client: MeshClient, mesh_ids: list[str], *, whole: bool) -> None:
    if whole:
        turn.tally.left = watch.mark_left(turn.mailbox, mesh_ids)
    for message in watch.unread(turn.mailbox):
        if turn.time_is_up:
            break
        polling.extend(turn.mailbox)
        _whole(turn, partial(watch.look, client, message, host=turn.host))
    turn.report(f"Watch only: nothing was downloaded or acknowledged. {turn.tally.left} left the inbox.")
