"""A case that can be driven through its states, and the people who do it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import CaseAddress, Organisation, SwitchCase
from mailboxes.switches import moves
from mailboxes.switches.states import CaseState
from meshportal.audit.actors import Actor
from tests.send.conftest import box, double, pki, poll, put, real_identity, rounds

__all__ = ["box", "double", "pki", "poll", "put", "real_identity", "rounds"]

OLD, NEW, PRACTICE, FLOW = "YGM24HC001", "TPPHC001", "G81086", "TOC_FHIR_IP_DISCH"
# The way to each state, for whoever begins at a suspicion.
WAYS: dict[str, tuple[str, ...]] = {
    CaseState.SUSPECTED: (),
    CaseState.CONFIRMED: ("confirmed",),
    CaseState.SCHEDULED: ("confirmed", "scheduled"),
    CaseState.FROZEN: ("confirmed", "scheduled", "frozen"),
    CaseState.SWITCHED: ("confirmed", "scheduled", "frozen", "switched"),
    CaseState.PROVING: ("confirmed", "scheduled", "frozen", "switched", "proving"),
    CaseState.FALSE_ALARM: ("false_alarm",),
}

MakeCase = Callable[..., SwitchCase]


@pytest.fixture
def manager(member: Any) -> Actor:
    return Actor.user(member("manager"))


@pytest.fixture
def operator(member: Any) -> Actor:
    return Actor.user(member("operator"))


@pytest.fixture
def make_case(team: Any, manager: Actor) -> MakeCase:
    """A case in a state, reached by the rules; fields of the case may be given. Lookup is said to have answered."""

    def make(state: str = "suspected", *, ods_code: str = PRACTICE, old: str = OLD, new: str = NEW, **fields: Any) -> SwitchCase:
        practice, _ = Organisation.objects.get_or_create(ods_code=ods_code)
        values = {"team": team, "environment": "sandbox", "organisation": practice, "state": "suspected", **fields}
        values.setdefault("go_live", date(2026, 12, 1))
        case = SwitchCase.objects.create(**values)
        CaseAddress.objects.create(
            case=case, workflow_id=FLOW, old_mailbox=old, new_mailbox=new, answer=new, answers=1, asked_at=timezone.now()
        )
        for step in WAYS[state]:
            case = moves.move(actor=manager, case=case, to=step, reason="a test")
        return case

    return make
