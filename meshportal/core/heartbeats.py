"""Whether work is taken from each queue: silence is an alarm (promise P7)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from meshportal.core.models import WorkerHeartbeat


@dataclass(frozen=True)
class QueueHealth:
    """When a canary last came out of ``queue`` (None: never), and whether that is recent enough."""

    queue: str
    seen_at: datetime | None
    ok: bool


def beat(queue: str) -> None:
    """Writes that work was taken from ``queue`` just now."""
    WorkerHeartbeat.objects.update_or_create(
        queue=queue, defaults={"seen_at": timezone.now(), "host": socket.gethostname()[:200]}
    )


def queue_health(queues: Sequence[str], now: datetime | None = None) -> list[QueueHealth]:
    """The health of each of ``queues``, in their order."""
    moment = now or timezone.now()
    beats = {beat.queue: beat for beat in WorkerHeartbeat.objects.filter(queue__in=queues)}
    found = []
    for queue in queues:
        beat = beats.get(queue)
        found.append(QueueHealth(queue, beat.seen_at if beat else None, beat is not None and not beat.late_at(moment)))
    return found
