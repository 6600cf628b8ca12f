"""Celery tasks: they ring the doorbell; the work is in the database."""

from __future__ import annotations

from celery import shared_task

from mailboxes import examining
from messages import acks, bulk_work, compose, dispatch, selectors, shard
from messages.handing import turn as handing


@shared_task
def poll_due() -> None:
    """Works every mailbox that is due."""
    shard.run_due()


@shared_task
def send_due() -> None:
    """Takes what stands in watched folders, sends every message that is due, and asks what became of those whose look is."""
    dispatch.run_due()


@shared_task
def sweep_composed() -> None:
    """Takes away what was composed and never sent."""
    compose.sweep()


@shared_task
def pair_acks() -> None:
    """Pairs acknowledgements by recipients' systems with the messages that they answer."""
    acks.work_due()


@shared_task
def resend_due() -> None:
    """Goes on with every bulk resend that is due."""
    bulk_work.run_due()


@shared_task
def hand_over_due() -> None:
    """Hands on every message that is due."""
    handing.run_due()


@shared_task
def examine_due() -> None:
    """Examines the connection of every mailbox that waits for it."""
    examining.run_due(selectors.workflows_received)
