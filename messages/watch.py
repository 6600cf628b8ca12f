"""The watch flow: for mailboxes whose real consumer is another client (DESIGN 6, Watch).

Lists and HEADs only. Nothing here gets a body or acknowledges; :class:`Watcher` is all the client that it is given.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Protocol

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from mailboxes import polling
from mailboxes.models import Mailbox
from mailboxes.problems import explain
from meshportal.mesh import MessageHeaders, errors
from messages import inbox, receive, records, registry
from messages.models import Message, MessageType
from messages.states import Direction, State
from messages.tally import Turn

_MOST_ASKED = 100


class Watcher(Protocol):
    """The part of a MESH client that a watched mailbox may be touched with."""

    def head(self, message_id: str) -> MessageHeaders: ...


def unread(mailbox: Mailbox) -> list[Message]:
    """Watched messages whose headers are not known yet and are due, oldest first."""
    due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=timezone.now())
    rows = Message.objects.filter(due, mailbox=mailbox, direction=Direction.IN, state=State.WATCHED, headers__isnull=True)
    return list(rows.order_by("seen_at", "mesh_id")[:1000])


def look(client: Watcher, message: Message, *, host: str) -> None:
    """Fills in what a message's headers say. A failure about this one message is kept and tried again later.

    Raises errors of :mod:`meshportal.mesh.errors` that concern the whole mailbox.
    """
    try:
        headers = client.head(message.mesh_id)
    except (errors.NotFound, errors.Gone):
        records.move(message, State.LEFT, kind="left")
        return
    except errors.MeshError as error:
        if error.misconfigured or receive.from_outside(error):
            raise
        problem = explain(error, host=host, signed_in=True)
        Message.objects.filter(pk=message.pk).update(
            attempts=message.attempts + 1,
            next_attempt_at=timezone.now() + receive.backoff(message.attempts + 1),
            problem_code=problem.code,
            problem=problem.sentence,
            problem_advice=problem.advice,
        )
        return
    facts = inbox.metadata(headers)
    with transaction.atomic():
        rows = Message.objects.filter(pk=message.pk, state=State.WATCHED)
        rows.update(sent_at=inbox.sent_at(message, headers), problem_code="", problem="", problem_advice="", **facts)
        registry.see(message.team_id, [facts["workflow_id"]])
        if facts["message_type"] == MessageType.REPORT:
            # Its own client acknowledges it, and the message that failed may well be one that the portal sent.
            receive.link_report(Message.objects.defer("headers", "subject", "recipient_sealed").get(pk=message.pk))


def watch(turn: Turn, client: Watcher, mesh_ids: Collection[str], *, whole: bool) -> None:
    """The watch flow after a listing; ``whole`` when it is all that the inbox holds."""
    mailbox = turn.mailbox
    if whole:
        missing = _missing(mailbox, mesh_ids)
        if mailbox.workflow_filter:
            turn.whole(lambda: _ask(turn, client, missing))
        else:
            _mark_left(turn, missing)
    for message in unread(mailbox):
        if turn.time_is_up:
            break
        polling.extend(mailbox)
        turn.whole(partial(look, client, message, host=turn.host))
    turn.report(f"Watch only: nothing was downloaded or acknowledged. {turn.tally.left} left the inbox.")


def _missing(mailbox: Mailbox, listed: Collection[str]) -> list[Message]:
    """What was in the inbox and is not in this listing. Read to the end before anything is written: SQLite refuses a
    write inside an open read when somebody else wrote in between."""
    present = set(listed)
    rows = Message.objects.filter(mailbox=mailbox, direction=Direction.IN, state=State.WATCHED)
    return [message for message in rows.defer("headers", "subject") if message.mesh_id not in present]


def _mark_left(turn: Turn, missing: list[Message]) -> None:
    for message in missing:
        polling.extend(turn.mailbox)
        records.move(message, State.LEFT, kind="left")
        turn.tally.left += 1


def _ask(turn: Turn, client: Watcher, missing: list[Message]) -> None:
    """A filter hides messages from the listing too, so each missing one is asked for by its id, some at each turn."""
    for message in missing[:_MOST_ASKED]:
        if turn.time_is_up:
            return
        polling.extend(turn.mailbox)
        try:
            client.head(message.mesh_id)
        except (errors.NotFound, errors.Gone):
            records.move(message, State.LEFT, kind="left")
            turn.tally.left += 1
