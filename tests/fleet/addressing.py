"""What a harness does with the address book: as tests.fleet.operations, which it goes with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone

from mailboxes.models import AddressAnswer, AddressChange, AddressEntry, AddressPair, WorkflowSearch
from meshportal.accounts.models import Team
from meshportal.notify.models import Alert
from tests.fleet.practices import code_of


def stage_book(*, practices: int, workflows: list[str], mailbox_id: str) -> int:
    """A book in which every practice takes every workflow at one mailbox, as MESH answered a day ago; all are due."""
    team = Team.objects.get(slug="fleet")
    before, now = timezone.now() - timedelta(days=1), timezone.now()
    answer = [{"id": mailbox_id, "name": "Shared"}]
    pairs = [
        AddressPair(
            environment="sandbox", ods_code=code_of(number), workflow_id=workflow, next_lookup_at=now, asked_at=before,
            answered_at=before, results=answer,
        )
        for number in range(practices)
        for workflow in workflows
    ]  # fmt: skip
    AddressPair.objects.bulk_create(pairs, batch_size=500)
    entries = [
        AddressEntry(
            team=team, pair=pair, mailbox_id=mailbox_id, source="lookup", drift="agrees", verified_at=before,
            accepted=[mailbox_id],
        )
        for pair in pairs
    ]  # fmt: skip
    AddressEntry.objects.bulk_create(entries, batch_size=500)
    WorkflowSearch.objects.bulk_create(
        [WorkflowSearch(environment="sandbox", workflow_id=workflow, next_search_at=now) for workflow in workflows]
    )
    return len(pairs)


def book_counts() -> dict[str, Any]:
    """How far the night came, and what it found."""
    now = timezone.now()
    alerts = Alert.objects.filter(kind="address.changed", closed_at__isnull=True)
    return {
        "answered": AddressPair.objects.filter(answered_at__gt=now - timedelta(hours=12)).count(),
        "answers": AddressAnswer.objects.count(),
        "failed": list(AddressAnswer.objects.filter(results__isnull=True).values_list("problem_code", "problem")),
        "due": AddressPair.objects.filter(next_lookup_at__lte=now).count(),
        "leased": AddressPair.objects.filter(lease_until__gt=now).count(),
        "searched": WorkflowSearch.objects.filter(searched_at__isnull=False).count(),
        "changes": sorted(AddressChange.objects.values_list("entry__pair__ods_code", "entry__pair__workflow_id")),
        "alerts": [str(alert) for alert in alerts],
        "drift": dict(AddressEntry.objects.values_list("drift").annotate(Count("pk"))),
    }


def book_answered() -> int:
    """How many answers are kept: cheap enough to be asked for often."""
    return AddressAnswer.objects.count()


def look_up() -> int:
    """Asks for every address, as a worker does, whenever it is due."""
    from mailboxes.addresses import lookups

    AddressPair.objects.filter(next_lookup_at__isnull=False).update(next_lookup_at=timezone.now())
    return lookups.run_due()
