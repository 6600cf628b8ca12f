"""Changing a message's state: one guarded statement and one event, together or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from messages.models import Message, MessageEvent
from messages.states import TRANSITIONS, State

POLLER = "meshportal poller"


class Moved(Exception):
    """The message is no longer in the state that the change starts from: somebody else changed it first."""


def lock(message: Message) -> str:
    """The state of ``message`` as it is now, kept so until the transaction ends. Whoever also locks its sending does that
    after this, so that no two wait for each other."""
    states = Message.objects.select_for_update(of=("self",)).values_list("state", flat=True)
    return states.get(pk=message.pk)


def note(message: Message, kind: str, *, actor: str = POLLER, **detail: Any) -> None:
    """Adds a step to the timeline that changes no state."""
    MessageEvent.objects.create(message=message, at=timezone.now(), kind=kind, actor_label=actor, detail=detail)


def move(
    message: Message,
    to: State,
    *,
    kind: str,
    actor: str = POLLER,
    detail: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Moves ``message`` to state ``to`` and writes ``changes`` and one event with it.

    Raises Moved when the row is not in ``message.state`` any more, ValueError for a way that
    :data:`messages.states.TRANSITIONS` does not hold.
    """
    before = message.state
    if to not in TRANSITIONS[before]:
        raise ValueError(f"A message cannot go from {before} to {to}.")
    with transaction.atomic():
        changed = Message.objects.filter(pk=message.pk, state=before).update(state=to, updated_at=timezone.now(), **changes)
        if not changed:
            raise Moved(f"{message} is no longer {before}.")
        MessageEvent.objects.create(
            message=message,
            at=timezone.now(),
            kind=kind,
            from_state=before,
            to_state=to,
            actor_label=actor,
            detail=detail or {},
        )
    message.state = to
    for name, value in changes.items():
        setattr(message, name, value)


def add_all(messages: Iterable[Message], *, kind: str, actor: str = POLLER) -> list[Message]:
    """Inserts new rows with their first event; rows that are there already are left as they are.

    Returns the rows that this call inserted, so that a message listed by two turns has one first event.
    """
    wanted = list(messages)
    if not wanted:
        return []
    with transaction.atomic():
        Message.objects.bulk_create(wanted, ignore_conflicts=True, batch_size=200)
        inserted = Message.objects.in_bulk([message.pk for message in wanted])
        new = [message for message in wanted if message.pk in inserted]
        now = timezone.now()
        MessageEvent.objects.bulk_create(
            [
                MessageEvent(message=message, at=now, kind=kind, to_state=message.state, actor_label=actor[:300])
                for message in new
            ],
            batch_size=500,
        )
    return new
