"""Celery tasks: they ring the doorbell; the work is in the database."""

from __future__ import annotations

from celery import shared_task

from messages import shard


@shared_task
def poll_due() -> None:
    """Works every mailbox that is due."""
    shard.run_due()
