"""The watch flow: for mailboxes whose real consumer is another client (DESIGN 6, Watch).

Lists and HEADs only. Nothing here gets a body or acknowledges; :class:`Watcher` is all the client that it is given.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from django.db.models import Q
from django.utils import timezone

from mailboxes.models import Mailbox
from mailboxes.problems import explain
from meshportal.mesh import MessageHeaders, errors
from messages import inbox, receive, records
from messages.models import Message
from messages.states import Direction, State


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
        if error.misconfigured or isinstance(error, receive.NETWORK):
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
    Message.objects.filter(pk=message.pk, state=State.WATCHED).update(
        sent_at=inbox.sent_at(message, headers), problem_code="", problem="", problem_advice="", **facts
    )


def mark_left(mailbox: Mailbox, listed: Collection[str]) -> int:
    """After a whole listing: what was in the inbox and is no longer has left it. Returns how many."""
    present = set(listed)
    left = 0
    rows = Message.objects.filter(mailbox=mailbox, direction=Direction.IN, state=State.WATCHED)
    for message in rows.defer("headers", "subject").iterator(chunk_size=500):
        if message.mesh_id not in present:
            records.move(message, State.LEFT, kind="left")
            left += 1
    return left
