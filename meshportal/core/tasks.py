"""The canary task."""

from __future__ import annotations

from celery import shared_task

from meshportal.core import heartbeats


@shared_task
def canary(queue: str) -> None:
    """Comes out of ``queue`` and writes when: proof that a worker takes work from it."""
    heartbeats.beat(queue)
