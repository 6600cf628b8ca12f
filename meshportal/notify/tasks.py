"""Celery tasks: they ring the doorbell; what is due stands in the database."""

from __future__ import annotations

from celery import shared_task

from meshportal.notify import deadman, deliver, planning, sweep

# A little longer than the scheduler's: while it rings, this one finds that nothing is due.
_SELF_RING_SECONDS = 80


@shared_task
def sweep_due() -> None:
    """Sees what holds now, makes the messages that follow from it, and sends them.

    It rings for the next time itself too: otherwise nobody would notice that the scheduler is silent.
    """
    if sweep.run_due():
        planning.run()
        deliver.run_due()
        sweep_due.apply_async(countdown=_SELF_RING_SECONDS, expires=2 * _SELF_RING_SECONDS)


@shared_task
def deliver_due() -> None:
    """Sends what is due."""
    deliver.run_due()


@shared_task
def deadman_due() -> None:
    """Tells somebody elsewhere that the scheduler rings and this worker hears it."""
    deadman.run_due()
