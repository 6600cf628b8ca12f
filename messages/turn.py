"""One turn on one mailbox that this worker holds the lease of: handshake, list, store and acknowledge, or watch.

The caller claims the mailbox; :func:`work` gives it back. Nothing raised by MESH or by one message leaves this module:
what went wrong ends as a sentence on the mailbox's or the message's page.
"""

from __future__ import annotations

import time

import structlog
from django.conf import settings
from django.utils import timezone

from mailboxes import connections, polling
from mailboxes.models import Mailbox, Mode
from mailboxes.problems import INTERNAL, UNREADABLE_SECRET, NotConfigured
from meshportal.core.crypto import CannotUnseal
from meshportal.core.lease import LeaseLost
from meshportal.mesh import MeshClient, errors
from messages import collect, inbox, watch
from messages.tally import Report, Stop, Tally, Turn

log = structlog.get_logger("messages.turn")

_MAX_LISTED = 20_000


def work(mailbox: Mailbox, *, report: Report = lambda _line: None) -> Tally:
    """Works ``mailbox``, whose lease the caller claimed, and gives it back. Never raises what MESH did wrong."""
    turn = Turn(mailbox=mailbox, report=report)
    with structlog.contextvars.bound_contextvars(mailbox=mailbox.mailbox_id, environment=mailbox.environment):
        try:
            with polling.kept_alive(mailbox):
                _run(turn)
        except Stop as stop:
            turn.tally.problem, turn.slow = stop.problem, stop.slow
        except polling.SettingsChanged:
            # Whoever changed them made the mailbox due; the next turn works by the new ones.
            log.info("settings_changed")
            report("The mailbox's settings were changed; stopped. The next poll uses the new ones.")
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
        raise Stop(error.problem) from error
    except CannotUnseal as error:
        raise Stop(UNREADABLE_SECRET) from error
    except errors.MeshError as error:
        raise Stop(turn.explain(error)) from error
    turn.whole(lambda: _handshake(turn, client))
    mesh_ids, whole = turn.whole(lambda: _list(turn, client))
    rows = inbox.register(mailbox, mesh_ids)
    if mailbox.mode == Mode.WATCH:
        watch.watch(turn, client, mesh_ids, whole=whole)
    else:
        collect.collect(turn, client, rows, whole=whole)


def _handshake(turn: Turn, client: MeshClient) -> None:
    # MESH API specification, Validate a mailbox: once every 24 hours tells MESH that the mailbox is alive. A changed
    # setting makes it due at once, so that the simplest call is the one that shows a mistake.
    mailbox = turn.mailbox
    now = timezone.now()
    last = mailbox.last_handshake_at
    if last is not None and now - last < Mailbox.HANDSHAKE_EVERY and mailbox.handshake_revision == mailbox.revision:
        return
    connections.handshake(client, environment=mailbox.environment)
    polling.note(mailbox, last_handshake_at=timezone.now(), handshake_revision=mailbox.revision)
    turn.tally.handshake = True
    turn.report("Handshake: MESH knows this mailbox and accepts its password and certificate.")


def _list(turn: Turn, client: MeshClient) -> tuple[list[str], bool]:
    """The ids in the inbox, in the order of the listing, and whether that is all of them."""
    mailbox = turn.mailbox
    polling.note_listing(mailbox)
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
    polling.plan_next(mailbox)
    turn.signed_in = True
    turn.tally.listed = len(mesh_ids)
    polling.note(
        mailbox,
        last_polled_at=timezone.now(),
        waiting_count=max(about or 0, len(mesh_ids)) if not mailbox.workflow_filter else len(mesh_ids),
    )
    turn.report(f"Inbox: {len(mesh_ids)} waiting.")
    return list(mesh_ids), whole
