"""Celery tasks: they ring the doorbell; what is due stands in the database."""

from __future__ import annotations

from celery import shared_task

from meshportal.notify import sweep

# A little longer than the scheduler's: while it rings, this one finds that nothing is due.
_SELF_RING_SECONDS = 80


@shared_task
def sweep_due() -> None:
    """Sees what holds now. Rings for the next time itself too: otherwise nobody would notice that the scheduler is silent."""
    if sweep.run_due():
        sweep_due.apply_async(countdown=_SELF_RING_SECONDS, expires=2 * _SELF_RING_SECONDS)
