"""The pages of switches: what they show, who may act, and what is said when an act is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone

from mailboxes.models import CaseTick, SwitchCase
from mailboxes.switches import cases, checklists, moves
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.console import attention, sentences
from meshportal.console.actions import ACTIONS
from meshportal.core.acts import Refused
from messages.models import Message
from tests.conftest import Make
from tests.switches.conftest import FLOW, NEW, OLD, PRACTICE, MakeCase

pytestmark = pytest.mark.django_db


def url(case: SwitchCase, name: str = "case") -> str:
    return reverse(f"switches:{name}", kwargs={"team": case.team.slug, "pk": case.pk})


def test_the_board_says_how_many_and_how_far(make_case: MakeCase, signed_in: Any, manager: Actor) -> None:
    browser = signed_in("viewer")
    board = reverse("switches:board", kwargs={"team": "midshire"})
    assert "No practice is changing its address" in browser.get(board).content.decode()
    make_case("suspected")
    make_case("frozen", ods_code="A81001", old="OTHER1")
    ended = make_case("suspected", ods_code="A81002", old="OTHER2")
    moves.move(actor=manager, case=ended, to="false_alarm", reason="none")
    page = browser.get(board).content.decode()
    assert "2 open switches, 1 to look into" in page
    assert PRACTICE in page
    assert "A81002" not in page
    assert "Enter a switch" not in page
    assert "A81002" in browser.get(reverse("switches:ended", kwargs={"team": "midshire"})).content.decode()


@pytest.mark.parametrize("state", ["suspected", "confirmed", "scheduled", "frozen", "switched", "proving", "false_alarm"])
def test_every_state_has_its_page_and_report(state: str, make_case: MakeCase, signed_in: Any) -> None:
    case = make_case(state)
    for role in ("viewer", "auditor"):
        page = signed_in(role).get(url(case)).content.decode()
        assert "portal-confirm" not in page
        assert "Tick off" not in page
    browser = signed_in("operator")
    page = browser.get(url(case)).content.decode()
    assert ("portal-confirm" in page) is case.open
    assert f"Switch of {PRACTICE}" in page
    assert "Sign-off" in browser.get(url(case, "report")).content.decode()


def test_the_messages_of_a_case_lead_to_the_usual_pages(
    make_case: MakeCase, message: Make, mailbox: Make, signed_in: Any
) -> None:
    box = mailbox()
    case = make_case("frozen")
    for state in ("accepted", "expired", "returned"):
        message(mailbox=box, state=state, recipient_mailbox=OLD, workflow_id=FLOW)
    old = timezone.now() - timedelta(days=6)
    message(mailbox=box, state="expired", recipient_mailbox=OLD, workflow_id=FLOW, seen_at=old, sent_at=old)
    ancient = timezone.now() - timedelta(days=31)
    message(mailbox=box, state="expired", recipient_mailbox=OLD, workflow_id=FLOW, seen_at=ancient, sent_at=ancient)
    message(mailbox=box, state="collected", recipient_mailbox=OLD, workflow_id=FLOW)
    message(mailbox=box, state="accepted", recipient_mailbox=NEW, workflow_id=FLOW)
    again = message(mailbox=box, state="returned", recipient_mailbox=OLD, workflow_id=FLOW)
    message(mailbox=box, state="accepted", recipient_mailbox=NEW, workflow_id=FLOW, outgoing={"resend_of": again})
    browser = signed_in("operator")
    page = browser.get(reverse("messages:switch", kwargs={"team": "midshire", "pk": case.pk})).content.decode()
    assert "<strong>3</strong>, still in the old inbox" in page
    assert "<strong>4</strong>" in page
    listed = browser.get(reverse("messages:outbox", kwargs={"team": "midshire"}), {"risk": str(case.pk)})
    assert len(listed.context["rows"]) == 4
    assert "went to the old address" in listed.content.decode()
    # A case that there is not filters nothing, so nothing is begun with it.
    for name in ("resend-filtered", "restore"):
        where = reverse(f"messages:{name}", kwargs={"team": "midshire"})
        assert browser.get(where, {"risk": str(case.pk)}).status_code == 200
        assert browser.get(where, {"risk": "00000000-0000-4000-8000-000000000000"}).status_code == 302


def test_a_shared_mailbox_without_codes_is_told_of(make_case: MakeCase, message: Make, signed_in: Any) -> None:
    case = make_case("frozen", direction="from_tpp")
    message(state="accepted", recipient_mailbox=OLD, workflow_id=FLOW)
    page = signed_in("viewer").get(reverse("messages:switch", kwargs={"team": "midshire", "pk": case.pk})).content.decode()
    assert "1 more went to a mailbox that several practices share" in page


def test_ticks_carry_who_and_when_and_can_be_taken_back(make_case: MakeCase, signed_in: Any) -> None:
    case = make_case("confirmed")
    browser = signed_in("operator")
    point = checklists.SENDER[0][0]
    for _ in range(2):
        browser.post(url(case, "tick"), {"point": point, "done": "on"})
    tick = CaseTick.objects.get()
    assert tick.by.startswith("Operator Person")
    assert "Done" in browser.get(url(case)).content.decode()
    browser.post(url(case, "tick"), {"point": point})
    assert not CaseTick.objects.exists()
    assert "no such point" in browser.post(url(case, "tick"), {"point": "x", "done": "on"}, follow=True).content.decode()
    assert [event.action for event in AuditEvent.objects.filter(action__contains="tick")] == ["switch.ticked", "switch.unticked"]


def test_wrong_input_gets_a_sentence(make_case: MakeCase, mailbox: Make, signed_in: Any, manager: Actor) -> None:
    mailbox()
    case = make_case("confirmed")
    browser = signed_in("operator")
    for name, given, sentence in (
        ("comment", {"words": " "}, "Enter the comment"),
        ("safety", {"name": ""}, "Enter the clinical safety officer"),
        ("address", {"workflow_id": "", "old_mailbox": OLD}, "Enter the workflow ID"),
        ("address", {"workflow_id": FLOW, "old_mailbox": "not an id"}, "capital letters and digits"),
        ("move", {"to": "nowhere"}, "nowhere"),
        ("release-ask", {"to": "new", "reason": "because"}, "Nothing is held"),
        ("release-agree", {}, "No release is asked for"),
        ("release-withdraw", {}, "No release is asked for"),
        ("look-up", {}, "MESH"),
    ):
        assert sentence in browser.post(url(case, name), given, follow=True).content.decode(), name
    edited = browser.post(url(case, "edit"), {"direction": "to_tpp", "proof_messages": "3", "links_off": "soon"})
    assert edited.status_code == 422
    wrong = {"direction": "to_tpp", "proof_messages": "3", "links_off": "2026-12-02", "links_on": "2026-12-01"}
    assert "Links cannot go on before they go off" in browser.post(url(case, "edit"), wrong).content.decode()
    ended = moves.move(actor=manager, case=case, to="false_alarm", reason="none")
    answer = browser.post(url(ended, "edit"), {"direction": "to_tpp", "proof_messages": "3"}, follow=True)
    assert cases.OVER in answer.content.decode()
    with pytest.raises(Refused, match="has ended"):
        cases.set_address(actor=manager, case=ended, workflow_id=FLOW)


def test_the_overview_tells_of_a_suspicion_and_of_what_is_held_for_long(
    make_case: MakeCase, message: Make, mailbox: Make, team: Any, signed_in: Any
) -> None:
    from messages import outbox

    box = mailbox()
    make_case("suspected", ods_code="A81001", old="OTHER1")
    make_case("frozen")
    draft = outbox.Draft(recipient=OLD, workflow_id=FLOW)
    outbox.put(actor=Actor.command("tests"), mailbox=box, draft=draft, body=[b"held"])
    now = timezone.now()
    assert [line.act for line in attention.lines(team, (), now)].count("See the held messages") == 0
    with time_machine.travel(now + timedelta(hours=25), tick=False):
        acts = [line.act for line in attention.lines(team, (), timezone.now())]
    assert "Open the case" in acts
    assert "See the held messages" in acts
    assert Message.objects.filter(state="on_hold").count() == 1


def test_every_act_is_told_in_the_audit(make_case: MakeCase, manager: Actor) -> None:
    case = make_case("switched")
    with pytest.raises(Refused):
        moves.move(actor=manager, case=case, to="closed")
    cases.comment(actor=manager, case=case, words="rang them")
    cases.safety_officer_told(actor=manager, case=case, name="Dr Safe")
    cases.change(actor=manager, case=case, new_supplier="TPP")
    for event in AuditEvent.objects.filter(action__startswith="switch."):
        assert event.action in ACTIONS
        assert "did “" not in sentences.sentence(event)
        assert sentences.address(event, "midshire") == url(case)
