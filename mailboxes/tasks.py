"""Celery tasks: they ring the doorbell; the work is in the database."""

from __future__ import annotations

from celery import shared_task

from mailboxes import handshakes, keeping, lifecycle
from mailboxes.addresses import lookups
from mailboxes.models import ClientImport, MailboxImport


@shared_task
def test_due() -> None:
    """Tests every mailbox that waits for a handshake with a new certificate."""
    handshakes.run_due()


@shared_task
def resume_due() -> None:
    """Takes up every mailbox again whose pause has an end that has come."""
    lifecycle.resume_due()


@shared_task
def sweep_imports() -> None:
    """Takes away files of mailboxes and of clients that nobody imported in time: they may hold passwords."""
    keeping.sweep(MailboxImport, ClientImport)


@shared_task
def look_up_due() -> None:
    """Asks MESH where organisations are whose turn it is."""
    lookups.run_due()
