"""A night's answers, a switch, a report and a person at one practice's addresses in the same moment: nobody waits in a circle."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from mailboxes.addresses import following, lookups, services
from mailboxes.models import AddressEntry, AddressPair, Evidence, SwitchCase
from meshportal.audit.actors import Actor
from meshportal.core import lease
from tests.switches.conftest import NEW, OLD, MakeCase
from tests.together import together

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor.command("test")
FLOWS = [f"FLOW{number}" for number in range(6)]
ROUNDS = 12


def in_the_book(team: Any, code: str) -> list[AddressPair]:
    """Six workflows of a practice, checked yesterday, and claimed by a worker now, in no order of their own."""
    for name in FLOWS:
        services.add(actor=ACTOR, team=team, environment="sandbox", ods_code=code, workflow_id=name, mailbox_id=OLD)
    rows = AddressPair.objects.filter(ods_code=code)
    AddressEntry.objects.filter(pair__in=rows).update(verified_at=timezone.now(), drift="agrees", accepted=[OLD])
    return lease.claim(rows.order_by("workflow_id"), limit=len(FLOWS), duration=lookups.hold())


def switched(case: SwitchCase | None) -> None:
    if case is not None:
        with transaction.atomic():
            following.take(actor=ACTOR, case=case, mailboxes=dict.fromkeys(reversed(FLOWS), NEW), reason="switched")


@pytest.mark.parametrize("by_hand", [True, False], ids=["with a switch", "without one"])
def test_nobody_waits_for_somebody_who_waits_for_them(by_hand: bool, team: Any, make_case: MakeCase) -> None:
    for number in range(ROUNDS):
        code = f"Y{number:05}"
        pairs = in_the_book(team, code)
        now = timezone.now()
        said = [lookups.Said(pair, now, results=[{"id": NEW, "name": ""}]) for pair in pairs]
        entry = AddressEntry.objects.filter(pair__ods_code=code).order_by("-pair_id").select_related("team").first()
        assert entry is not None
        found = together(
            partial(lookups._keep, "sandbox", said),
            partial(switched, make_case("frozen", ods_code=code) if by_hand else None),
            partial(services.check_soon, environment="sandbox", mailbox_id=OLD),
            partial(services.watch_hourly, environment="sandbox", ods_code=code, until=now),
            partial(services.remove, actor=ACTOR, entry=entry, reason="a test"),
        )
        assert [one for one in found if isinstance(one, Exception)] == []
        assert len(found) == 5
    cases = SwitchCase.objects.filter(team=team)
    assert sorted(case.ods_code for case in cases) == [f"Y{number:05}" for number in range(ROUNDS)]
    assert Evidence.objects.filter(case__isnull=True).count() == 0
