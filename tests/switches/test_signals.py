"""Signs of a changed address: what each weighs, what adds up, what a false alarm teaches, and which practice it is about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone

from mailboxes.models import Evidence, SwitchCase
from mailboxes.switches import alerts, cases, moves, scores
from mailboxes.switches.signals import note_signal
from mailboxes.switches.states import CaseState
from meshportal.audit.actors import Actor
from tests.conftest import Make
from tests.switches.conftest import FLOW, NEW, OLD, PRACTICE, MakeCase

pytestmark = pytest.mark.django_db

STRONG = sorted(kind for kind, sign in scores.SIGNS.items() if sign.score >= scores.STRONG)
MEDIUM = sorted(kind for kind, sign in scores.SIGNS.items() if sign.score == scores.MEDIUM)
WEAK = sorted(kind for kind, sign in scores.SIGNS.items() if sign.score == scores.WEAK)


def note(team: Any, kind: str, **given: Any) -> Evidence:
    fields = {"ods_code": PRACTICE, "workflow_id": FLOW, "detail": {"mailbox": OLD}, **given}
    [kept] = note_signal(environment="sandbox", kind=kind, team=team, **fields)
    return kept


@pytest.mark.parametrize("kind", STRONG)
def test_a_strong_sign_opens_a_case_at_once(kind: str, team: Any) -> None:
    sign = note(team, kind)
    assert sign.case is not None
    assert (sign.case.state, sign.case.ods_code) == (CaseState.SUSPECTED, PRACTICE)
    [address] = sign.case.addresses.all()
    assert (address.workflow_id, address.old_mailbox, address.new_mailbox) == (FLOW, OLD, "")
    assert [condition.team for condition in alerts.suspected(timezone.now())] == [team]


@pytest.mark.parametrize("kind", [*MEDIUM, *WEAK])
def test_one_kind_of_lesser_sign_never_opens_one_however_often(kind: str, team: Any) -> None:
    begun = timezone.now()
    for day in range(30):
        with time_machine.travel(begun + timedelta(days=day), tick=False):
            for number in range(4):
                note(team, kind, workflow_id=f"FLOW_{number}", detail={"mailbox": OLD, "answer": str(day)})
    assert not SwitchCase.objects.exists()
    assert Evidence.objects.count() == 120


def test_medium_ones_of_different_kinds_add_up_within_two_weeks(team: Any) -> None:
    begun = timezone.now()
    with time_machine.travel(begun - timedelta(days=15), tick=False):
        note(team, MEDIUM[0])
    note(team, MEDIUM[1])
    assert note(team, MEDIUM[2]).case is None
    case = note(team, MEDIUM[3]).case
    assert case is not None
    # Those that added up are its evidence; the old one is not.
    assert case.evidence.count() == 3


def test_weak_ones_tip_the_balance_only_beside_medium_ones(team: Any) -> None:
    for kind in WEAK:
        assert note(team, kind).case is None
    assert not scores.enough({*WEAK})
    assert not scores.enough({MEDIUM[0], *WEAK})
    assert not scores.enough({MEDIUM[0], MEDIUM[1], *WEAK})
    assert scores.enough({MEDIUM[0], MEDIUM[1], MEDIUM[2]})


def test_further_signs_go_to_the_open_case(team: Any) -> None:
    first = note(team, "lookup_changed", detail={"mailbox": OLD, "answer": NEW})
    other = note(team, MEDIUM[0], workflow_id="ANOTHER")
    by_mailbox = note(team, "report_12", ods_code="", workflow_id="THIRD")
    assert {first.case, other.case, by_mailbox.case} == {first.case}
    assert first.case is not None
    assert set(first.case.addresses.values_list("workflow_id", flat=True)) == {FLOW, "ANOTHER", "THIRD"}


def test_a_false_alarm_silences_that_very_sign_and_no_other(team: Any, manager: Actor) -> None:
    changed = {"mailbox": OLD, "answer": NEW}
    case = note(team, "lookup_changed", detail=changed).case
    assert case is not None
    moves.move(actor=manager, case=case, to="false_alarm", reason="the practice added a document tool")
    again = note(team, "lookup_changed", detail=changed)
    assert (again.case, again.suppressed) == (None, True)
    other = note(team, "lookup_changed", detail={"mailbox": OLD, "answer": "ELSEWHERE1"}).case
    assert other is not None
    moves.move(actor=manager, case=other, to="false_alarm", reason="a test of the practice")
    with time_machine.travel(timezone.now() + moves.SUPPRESSED_FOR + timedelta(hours=1), tick=False):
        assert note(team, "lookup_changed", detail=changed).case is not None


def test_a_mailbox_that_nobody_is_known_to_have(team: Any, manager: Actor, make_case: MakeCase) -> None:
    case = note(team, "report_14_deactivated", ods_code="").case
    assert case is not None
    assert (case.organisation, case.about_mailbox) == (None, OLD)
    assert note(team, "report_12", ods_code="").case == case
    from meshportal.core.acts import Refused

    with pytest.raises(Refused, match="which practice"):
        moves.move(actor=manager, case=case, to="confirmed", reason="rang them")
    with pytest.raises(Refused, match="ODS code is"):
        moves.move(actor=manager, case=case, to="confirmed", reason="rang them", ods_code="!")
    confirmed = moves.move(actor=manager, case=case, to="confirmed", reason="rang them", ods_code="g81086")
    assert confirmed.ods_code == PRACTICE
    make_case(ods_code="A81001", old="OTHER1")
    second = note(team, "report_12", ods_code="", detail={"mailbox": "UNKNOWN1"}).case
    assert second is not None
    with pytest.raises(Refused, match="another open case"):
        moves.move(actor=manager, case=second, to="confirmed", reason="rang them", ods_code="A81001")


def test_the_typed_code_says_whose_mailbox_it_is_when_there_is_one(team: Any, mailbox: Make, message: Make) -> None:
    box = mailbox()
    message(mailbox=box, state="accepted", recipient_mailbox=OLD, outgoing={"recipient_ods": PRACTICE})
    message(mailbox=box, state="accepted", recipient_mailbox=OLD, workflow_id="PATH_MEDRPT_V3")
    case = note(team, "report_12", ods_code="").case
    assert case is not None
    assert case.ods_code == PRACTICE
    # Whatever else is sent to the same mailbox moves with it.
    assert set(case.addresses.values_list("workflow_id", flat=True)) == {FLOW, "PATH_MEDRPT_V3"}
    # Of several codes none is chosen, and what others get there is not the practice's.
    for code in ("A81001", "A81002"):
        message(mailbox=box, state="accepted", recipient_mailbox="TPP1", workflow_id="W2", outgoing={"recipient_ods": code})
    shared = note(team, "report_12", ods_code="", detail={"mailbox": "TPP1"}).case
    assert shared is not None
    assert (shared.organisation, shared.about_mailbox) == (None, "TPP1")
    assert [(one.workflow_id, one.old_shared) for one in shared.addresses.all()] == [(FLOW, True)]


def test_a_sign_without_a_team_reaches_the_teams_that_send_there(
    team: Any, other_team: Any, mailbox: Make, message: Make
) -> None:
    mine, theirs = mailbox(), mailbox(team=other_team, mailbox_id="RH8HC001")
    message(mailbox=theirs, state="accepted", recipient_mailbox=OLD)
    kept = note_signal(environment="sandbox", ods_code=PRACTICE, workflow_id=FLOW, kind="lookup_empty", detail={"mailbox": OLD})
    assert [sign.team for sign in kept] == [other_team]
    # Nobody is known to: everybody who could.
    kept = note_signal(environment="sandbox", ods_code="B1", workflow_id=FLOW, kind="lookup_empty", detail={"mailbox": "OTHER2"})
    assert {sign.team for sign in kept} == {mine.team, other_team}


def test_what_makes_no_sense_is_an_error_of_the_caller(team: Any) -> None:
    for given in (
        {"kind": "nonsense"},
        {"kind": "report_12", "environment": "moon"},
        {"kind": "report_12", "ods_code": "", "detail": {}},
    ):
        fields = {"environment": "sandbox", "ods_code": PRACTICE, "workflow_id": FLOW, "detail": {}, **given}
        with pytest.raises(ValueError):
            note_signal(team=team, **fields)  # type: ignore[arg-type]
    assert not Evidence.objects.exists()


def test_a_notice_opens_a_case_and_each_is_its_own(team: Any, manager: Actor, mailbox: Make) -> None:
    mailbox()
    told = {"actor": manager, "team": team, "environment": "sandbox", "ods_code": "g81086 "}
    case = cases.tell(**told, words="The ICB wrote", workflow_id=FLOW, mailbox_id=OLD)
    assert case.ods_code == PRACTICE
    assert cases.tell(**told, words="and again") == case
    moves.move(actor=manager, case=case, to="false_alarm", reason="another practice was meant")
    assert cases.tell(**told, words="now it is true") != case
    for wrong, field in (({"ods_code": "x"}, "ods_code"), ({"words": " "}, "words"), ({"mailbox_id": "a b"}, "mailbox_id")):
        with pytest.raises(ValidationError) as caught:
            cases.tell(**{**told, "words": "told", **wrong})
        assert field in caught.value.message_dict
    with pytest.raises(ValidationError):
        cases.tell(**{**told, "environment": "live", "words": "told"})
