"""Reads about mailboxes."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team

# A due mailbox that nobody picked up for this long means that no worker is taking work.
PICK_UP_WITHIN = timedelta(minutes=5)


def mailboxes_of(team: Team) -> QuerySet[Mailbox]:
    """The team's mailboxes with what a list shows, by name."""
    return in_team(Mailbox, team).select_related("organisation", "identity").order_by("name", "mailbox_id")


def overdue_count() -> int:
    """How many mailboxes of all teams are due and were not picked up in time. For machines: no names."""
    return (
        Mailbox.objects.exclude(mode=Mode.PAUSED).filter(next_poll_at__lt=timezone.now() - PICK_UP_WITHIN).count()
    )
