"""Rules cannot be jumped: by the service, by the page, or behind their backs in the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from mailboxes.models import CaseEvent, Organisation, SwitchCase
from mailboxes.switches import moves
from mailboxes.switches.states import BEGINNINGS, TRANSITIONS, CaseState
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from tests.conftest import Make
from tests.switches.conftest import FLOW, NEW, OLD, WAYS, MakeCase

pytestmark = pytest.mark.django_db

REACHABLE = sorted(WAYS)
ILLEGAL = [(before, after) for before in REACHABLE for after in CaseState.values if after not in TRANSITIONS[before]]


@pytest.mark.parametrize(("before", "after"), ILLEGAL)
def test_every_illegal_way_is_refused_by_the_service_and_the_page_and_recorded(
    before: str, after: str, make_case: MakeCase, manager: Actor, client: Any
) -> None:
    from meshportal.accounts.models import User

    case = make_case(before)
    with pytest.raises(Refused, match="cannot become"):
        moves.move(actor=manager, case=case, to=after, reason="because")
    client.force_login(User.objects.get(pk=manager.id))
    url = reverse("switches:move", kwargs={"team": case.team.slug, "pk": case.pk})
    answer = client.post(url, {"to": after, "reason": "because"}, follow=True)
    assert "cannot become" in answer.content.decode()
    case.refresh_from_db()
    assert case.state == before
    refused = AuditEvent.objects.filter(action="switch.refused", target_id=str(case.pk))
    assert [event.after for event in refused] == [{"asked": f"to {after}"}] * 2


@pytest.mark.parametrize("before", [*REACHABLE, "closed"])
def test_the_database_knows_the_table_too(before: str, team: Any) -> None:
    practice = Organisation.objects.create(ods_code="G81086")
    for after in CaseState.values:
        row = SwitchCase(
            team=team, environment="sandbox", organisation=practice, came_from=before, state=after, switched_at=timezone.now()
        )
        if after in TRANSITIONS[before]:
            row.save()
            SwitchCase.objects.all().delete()
        else:
            with pytest.raises(IntegrityError), transaction.atomic():
                row.save()
    for state in set(CaseState) - set(BEGINNINGS):
        with pytest.raises(IntegrityError), transaction.atomic():
            SwitchCase.objects.create(
                team=team, environment="sandbox", organisation=practice, state=state, switched_at=timezone.now()
            )


def test_one_open_case_for_a_practice_and_another_once_it_has_ended(make_case: MakeCase, manager: Actor) -> None:
    first = make_case()
    with pytest.raises(IntegrityError), transaction.atomic():
        make_case()
    make_case(environment="int")
    moves.move(actor=manager, case=first, to="false_alarm", reason="the practice stays")
    make_case()


def test_each_step_demands_what_it_needs(make_case: MakeCase, manager: Actor) -> None:
    case = make_case(go_live=None)
    for words in ("", "   "):
        with pytest.raises(Refused, match="how you know"):
            moves.move(actor=manager, case=case, to="confirmed", reason=words)
        with pytest.raises(Refused, match="Say why"):
            moves.move(actor=manager, case=case, to="false_alarm", reason=words)
    moves.move(actor=manager, case=case, to="confirmed", reason="the ICB wrote")
    with pytest.raises(Refused, match="links go off"):
        moves.move(actor=manager, case=case, to="scheduled")
    case.addresses.update(old_mailbox="")
    with pytest.raises(Refused, match="old mailbox"):
        moves.move(actor=manager, case=case, to="frozen")
    case.addresses.update(old_mailbox=OLD)
    moves.move(actor=manager, case=case, to="frozen")
    with pytest.raises(Refused, match="Say why"):
        moves.move(actor=manager, case=case, to="scheduled")


def test_switched_needs_the_lookup_or_a_manager_who_says_why(make_case: MakeCase, manager: Actor, operator: Actor) -> None:
    case = make_case("frozen")
    case.addresses.update(new_mailbox="")
    with pytest.raises(Refused, match="new mailbox of every workflow"):
        moves.move(actor=manager, case=case, to="switched", reason="it counts")
    now = timezone.now()
    for answer, answers, asked_at in (
        ("", 0, None),
        (OLD, 1, now),
        (f"{NEW}, {OLD}", 2, now),
        (NEW, 1, now - timedelta(hours=25)),
    ):
        case.addresses.update(new_mailbox=NEW, answer=answer, answers=answers, asked_at=asked_at)
        with pytest.raises(Refused, match="does not answer"):
            moves.move(actor=manager, case=case, to="switched")
        for other in (operator, Actor.command("tests")):
            with pytest.raises(Refused, match="Only a manager"):
                moves.move(actor=other, case=case, to="switched", reason="it counts")
    moved = moves.move(actor=manager, case=case, to="switched", reason="TPP confirmed it by telephone")
    assert moved.switched_reason == "TPP confirmed it by telephone"
    assert moved.switched_at is not None


def test_one_undo_and_no_second(make_case: MakeCase, manager: Actor) -> None:
    case = make_case("switched")
    with pytest.raises(Refused, match="Say why"):
        moves.undo(actor=manager, case=case, reason="")
    assert moves.undo(actor=manager, case=case, reason="put off by a week").state == CaseState.FROZEN
    moves.move(actor=manager, case=case, to="switched")
    with pytest.raises(Refused, match="one undo"):
        moves.undo(actor=manager, case=case, reason="again")


def test_a_case_closes_with_its_proof_and_five_quiet_days(
    make_case: MakeCase, manager: Actor, message: Make, mailbox: Make
) -> None:
    begun = timezone.now()
    case = make_case("proving")
    box = mailbox()

    def close() -> None:
        moves.move(actor=manager, case=case, to="closed")

    with time_machine.travel(begun + timedelta(days=6), tick=True):
        for number in range(3):
            with pytest.raises(Refused, match=f"{number} of 3"):
                close()
            facts = {"mailbox": box, "recipient_mailbox": NEW, "workflow_id": FLOW}
            # Neither of another workflow, nor of before the switch, nor one that nobody collected.
            message(state="collected", **{**facts, "workflow_id": "OTHER"})
            message(state="collected", **facts, sent_at=begun - timedelta(days=1))
            message(state="accepted", **facts)
            message(state="collected", **facts)
        back = message(
            mailbox=box, state="returned", recipient_mailbox=OLD, status_code="14", status_at=begun + timedelta(days=2)
        )
        with pytest.raises(Refused, match="Five days"):
            close()
    with time_machine.travel(begun + timedelta(days=7, hours=1), tick=True):
        close()
    case.refresh_from_db()
    assert case.state == CaseState.CLOSED
    assert case.ended_at is not None
    assert back.pk


def test_the_history_cannot_be_changed(make_case: MakeCase) -> None:
    from django.db import DatabaseError

    case = make_case("frozen")
    assert [event.to_state for event in CaseEvent.objects.filter(case=case)] == ["confirmed", "scheduled", "frozen"]
    with pytest.raises(DatabaseError), transaction.atomic():
        CaseEvent.objects.filter(case=case).update(words="other")
    with pytest.raises(DatabaseError), transaction.atomic():
        CaseEvent.objects.filter(case=case).delete()
