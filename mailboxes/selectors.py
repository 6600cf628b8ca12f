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
    return Mailbox.objects.exclude(mode=Mode.PAUSED).filter(next_poll_at__lt=timezone.now() - PICK_UP_WITHIN).count()


def named(mailbox_id: str, *, environment: str | None = None) -> Mailbox | None:
    """The mailbox with this id, for the command line; None when there is none, or one in each of two environments."""
    rows = Mailbox.objects.select_related("team", "organisation", "identity").filter(mailbox_id=mailbox_id.upper())
    if environment:
        rows = rows.filter(environment=environment)
    found = list(rows[:2])
    return found[0] if len(found) == 1 else None


def not_named(mailbox_id: str) -> str:
    """Why :func:`named` found nothing."""
    environments = list(Mailbox.objects.filter(mailbox_id=mailbox_id.upper()).values_list("environment", flat=True))
    if len(environments) > 1:
        return f"{mailbox_id} is in {' and '.join(sorted(environments))}: say which with --environment."
    return f"There is no mailbox {mailbox_id}. Add it with: manage.py add_mailbox"
