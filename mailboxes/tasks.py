"""Celery tasks: they ring the doorbell; the work is in the database."""

from __future__ import annotations

from celery import shared_task

from mailboxes import handshakes


@shared_task
def test_due() -> None:
    """Tests every mailbox that waits for a handshake with a new certificate."""
    handshakes.run_due()
