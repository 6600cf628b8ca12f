"""Writing and verifying the audit chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import connection, models, transaction
from django.utils import timezone

from meshportal.audit import context
from meshportal.audit.actors import Actor
from meshportal.audit.models import FIRST_HASH, AuditEvent

# Any constant will do, as long as nothing else locks on it.
_CHAIN_LOCK = 0x6D657368
_rehearsing: ContextVar[bool] = ContextVar("rehearsing", default=False)


class TeamLike(Protocol):
    """What an event needs to know of a team."""

    pk: Any
    name: str


def record(
    *,
    actor: Actor,
    action: str,
    target: models.Model | tuple[str, str, str],
    team: TeamLike | None = None,
    reason: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEvent:
    """Appends one event; call it inside the transaction of the act it describes.

    ``target`` is a model instance, or (kind, id, label) for things that are no rows. ``before`` and ``after`` hold
    the fields that changed, never a secret. Actions are dotted, such as ``message.body_read``.
    """
    kind, target_id, label = target if isinstance(target, tuple) else (target._meta.model_name or "", str(target.pk), str(target))
    for facts in (before, after):
        _refuse_floats(facts)
    if _rehearsing.get():
        return AuditEvent(action=action)
    with transaction.atomic():
        _lock_chain()
        last = AuditEvent.objects.order_by("-id").values_list("hash", flat=True).first()
        event = AuditEvent(
            at=timezone.now(),
            actor_kind=actor.kind,
            actor_id=actor.id[:200],
            actor_label=actor.label[:300],
            team_id="" if team is None else str(team.pk),
            team_label="" if team is None else team.name[:200],
            action=action,
            target_kind=kind,
            target_id=target_id[:100],
            target_label=label[:300],
            reason=reason,
            before=before or {},
            after=after or {},
            request_id=context.current_request_id(),
            previous_hash=last or FIRST_HASH,
        )
        event.hash = event.computed_hash()
        event.save(force_insert=True)
    return event


@contextmanager
def rehearsal() -> Iterator[None]:
    """What is done inside is undone at its end, whatever comes of it.

    Hence it leaves no event, and keeps nobody else from writing one.
    """
    token = _rehearsing.set(True)
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    finally:
        _rehearsing.reset(token)


def _refuse_floats(value: Any) -> None:
    """A database may give a fraction back in another form than it got, and the hash would no longer fit."""
    if isinstance(value, float):
        raise TypeError("An audit event holds whole numbers and text only.")
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, str) and isinstance(value, Iterable):
        for inner in value:
            _refuse_floats(inner)


def _lock_chain() -> None:
    """One appender at a time; SQLite already serialises writers."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CHAIN_LOCK])


@dataclass(frozen=True)
class ChainState:
    """The outcome of a verification: how many events were read, and the first that does not fit (None when all do)."""

    checked: int
    broken: AuditEvent | None


def verify(events: Iterable[AuditEvent] | None = None) -> ChainState:
    """Reads the chain from its first event and stops at the first that was altered, removed or put in between."""
    previous = FIRST_HASH
    checked = 0
    for event in AuditEvent.objects.order_by("id").iterator(chunk_size=2000) if events is None else events:
        if event.previous_hash != previous or event.computed_hash() != event.hash:
            return ChainState(checked=checked, broken=event)
        previous = event.hash
        checked += 1
    return ChainState(checked=checked, broken=None)
