"""The address book and the cases: what MESH answers becomes a sign, and a switch moves the book along."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.addresses import answers, services
from mailboxes.models import AddressEntry, AddressPair, Evidence, SwitchCase
from mailboxes.models.address import Drift
from mailboxes.switches import cases, moves
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from tests.switches.conftest import FLOW, NEW, OLD, PRACTICE, MakeCase

pytestmark = pytest.mark.django_db
BOOK = Actor.command("test")


def enter(team: Any, code: str = PRACTICE, mailbox_id: str = OLD, workflow_id: str = FLOW) -> AddressEntry:
    """An entry that MESH agreed with yesterday."""
    entry = services.add(
        actor=BOOK, team=team, environment="sandbox", ods_code=code, workflow_id=workflow_id, mailbox_id=mailbox_id
    )
    answer(entry, mailbox_id)
    return AddressEntry.objects.get(pk=entry.pk)


def answer(entry: AddressEntry, *ids: str) -> None:
    """MESH answers ``ids`` for the pair of ``entry``."""
    now, results = timezone.now(), [{"id": one, "name": f"Box {one}"} for one in ids]
    AddressPair.objects.filter(pk=entry.pair_id).update(asked_at=now, answered_at=now, results=results)
    answers.keep(AddressPair.objects.get(pk=entry.pair_id), results, now)


@pytest.mark.parametrize(("ids", "kind"), [((NEW,), "lookup_changed"), ((), "lookup_empty")])
def test_another_answer_opens_a_case_with_its_evidence(ids: tuple[str, ...], kind: str, team: Any) -> None:
    answer(enter(team), *ids)
    case = SwitchCase.objects.get()
    assert (case.team_id, case.ods_code, case.state) == (team.pk, PRACTICE, "suspected")
    sign = Evidence.objects.get()
    assert (sign.kind, sign.mailbox_id, sign.detail["answer"]) == (kind, OLD, ", ".join(ids))
    assert case.addresses.get().old_mailbox == OLD


def test_several_workflows_that_move_are_one_case(team: Any) -> None:
    for workflow_id in ("ONE", "TWO", "THREE"):
        answer(enter(team, workflow_id=workflow_id), NEW)
    assert SwitchCase.objects.get().addresses.count() == 3


def test_several_answers_alone_open_none(team: Any) -> None:
    answer(enter(team), OLD, NEW)
    assert not SwitchCase.objects.exists()
    assert Evidence.objects.get().kind == "lookup_several"


def test_practices_that_share_a_mailbox_open_none_and_the_one_that_leaves_opens_one(team: Any) -> None:
    entries = [enter(team, f"Y{number:05}", "TPPSHARED001") for number in range(30)]
    assert not SwitchCase.objects.exists()
    answer(entries[7], NEW)
    assert SwitchCase.objects.get().ods_code == "Y00007"


def test_the_book_takes_the_new_mailboxes_and_one_undo_gives_the_old_ones_back(
    team: Any, other_team: Any, make_case: MakeCase, manager: Actor
) -> None:
    entry, theirs = enter(team), enter(other_team)
    case = make_case("switched")
    entry.refresh_from_db()
    assert (entry.mailbox_id, entry.drift) == (NEW, Drift.NEW)
    theirs.refresh_from_db()
    assert theirs.mailbox_id == OLD
    event = AuditEvent.objects.get(action="address.followed")
    assert (event.before["mailbox"], event.after["mailbox"]) == (OLD, NEW)
    moves.undo(actor=manager, case=case, reason="they put it off")
    entry.refresh_from_db()
    assert (entry.mailbox_id, entry.drift) == (OLD, Drift.AGREES)


def test_what_is_not_in_the_book_is_entered(team: Any, make_case: MakeCase) -> None:
    make_case("switched")
    assert AddressEntry.objects.get(team=team).mailbox_id == NEW
    assert AddressPair.objects.get().urgent


def test_a_drift_that_the_switch_explains_is_over(team: Any, make_case: MakeCase, manager: Actor) -> None:
    entry = enter(team)
    answer(entry, NEW)
    case = SwitchCase.objects.get()
    case.addresses.update(new_mailbox=NEW, answer=NEW, answers=1, asked_at=timezone.now())
    for step in ("confirmed", "frozen", "switched"):
        moves.move(actor=manager, case=case, to=step, reason="they told us")
    entry.refresh_from_db()
    assert (entry.mailbox_id, entry.drift, entry.drift_since) == (NEW, Drift.AGREES, None)


def test_mesh_is_asked_every_hour_while_a_switch_is_on(team: Any, make_case: MakeCase) -> None:
    entry = enter(team)
    go_live = timezone.localdate() + timedelta(days=20)
    make_case("confirmed", go_live=go_live)
    assert AddressPair.objects.get(pk=entry.pair_id).hourly_until is None
    case = SwitchCase.objects.get(organisation__ods_code=PRACTICE)
    moves.move(actor=BOOK, case=case, to="scheduled", reason="the date is known")
    until = AddressPair.objects.get(pk=entry.pair_id).hourly_until
    assert until is not None and until.date() >= go_live + timedelta(days=6)
    # Put off, it is watched for longer; another team's earlier day does not end that.
    later = go_live + timedelta(days=30)
    cases.change(actor=BOOK, case=case, go_live=later)
    services.watch_hourly(environment="sandbox", ods_code=PRACTICE, until=timezone.now())
    until = AddressPair.objects.get(pk=entry.pair_id).hourly_until
    assert until is not None and until.date() >= later + timedelta(days=6)
