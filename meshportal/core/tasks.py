"""The canary task."""

from __future__ import annotations

import socket

from celery import shared_task
from django.utils import timezone

from meshportal.core.models import WorkerHeartbeat


@shared_task
def canary(queue: str) -> None:
    """Comes out of ``queue`` and writes when: proof that a worker takes work from it."""
    WorkerHeartbeat.objects.update_or_create(
        queue=queue, defaults={"seen_at": timezone.now(), "host": socket.gethostname()[:200]}
    )
