"""A mailbox that can ask the strict double, practices to ask for, and a worker's turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.addresses import askers, lookups, services
from mailboxes.models import AddressEntry, AddressPair, LookupPace, WorkflowSearch
from tests.double import Double
from tests.receive.conftest import ACTOR, BOX, box, double, pki, poll, real_identity

__all__ = ["ACTOR", "BOX", "box", "double", "pki", "poll", "real_identity"]
WORKFLOW, OTHER = "TOC_FHIR_IP_DISCH", "PATH_MEDRPT_V3"
OLD, NEW = "YGM24HC005", "X26HC099"


@pytest.fixture(autouse=True)
def _fast(settings: Any) -> Iterator[None]:
    settings.MESH_LOOKUPS_PER_SECOND = dict.fromkeys(("live", "int", "sandbox"), 10_000)
    askers.forget()
    yield
    askers.forget()


@pytest.fixture
def practice(double: Double) -> Double:
    """G81086 takes two workflows at OLD."""
    double.add_mailbox(OLD, ods_code="G81086", name="Seaside Surgery", workflows=(WORKFLOW, OTHER))
    return double


Asked = Callable[[], int]


@pytest.fixture
def asked() -> Asked:
    """Makes everything due and works it as a worker does; gives how many handfuls that were."""

    def ask() -> int:
        now = timezone.now()
        AddressPair.objects.filter(next_lookup_at__isnull=False).update(next_lookup_at=now, asked_at=None)
        WorkflowSearch.objects.filter(next_search_at__isnull=False).update(next_search_at=now)
        LookupPace.objects.update(held_until=None, next_at=now)
        return work()

    return ask


def work() -> int:
    """Works what is due, and nothing else."""
    number = 0
    while job := lookups.claim_due():
        job()
        number += 1
    return number


def added(team: Any, code: str = "G81086", workflow: str = WORKFLOW, mailbox: str = "", **fields: Any) -> AddressEntry:
    """An entry of the book of ``team``."""
    return services.add(
        actor=ACTOR, team=team, environment="sandbox", ods_code=code, workflow_id=workflow, mailbox_id=mailbox, **fields
    )


def seen(entry: AddressEntry) -> AddressEntry:
    """``entry`` as it is now."""
    return AddressEntry.objects.select_related("pair", "team").get(pk=entry.pk)


def yesterday(pair: AddressPair) -> None:
    """The last question is a day old."""
    AddressPair.objects.filter(pk=pair.pk).update(asked_at=timezone.now() - timedelta(days=1))
