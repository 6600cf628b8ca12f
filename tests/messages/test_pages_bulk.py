"""Acts on several messages at once: who may, what is left out, what is said of what was not done."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.urls import reverse

from meshportal.audit.models import AuditEvent
from messages.models import Message, MessageEvent
from messages.states import State
from messages.views import bulk

pytestmark = pytest.mark.django_db

REASON = "they hold the wrong document"


@pytest.fixture
def address(team: Any) -> Any:
    def make(route: str, row: Any = None) -> str:
        return reverse(f"messages:{route}", kwargs={"team": team.slug, **({"pk": row.pk} if row else {})})

    return make


def html(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


def ticked(*rows: Any, **more: Any) -> dict[str, Any]:
    return {"message": [str(getattr(row, "pk", row)) for row in rows], **more}


def state_of(row: Any) -> str:
    row.refresh_from_db()
    return str(row.state)


def boxes(page: str) -> set[str]:
    return set(re.findall(r'type="checkbox" name="message" value="([0-9a-f-]+)"', page))


# --- The lists ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("auditor", False), ("operator", True), ("manager", True)])
def test_rows_can_be_ticked_by_those_who_may_act(signed_in: Any, message: Any, address: Any, role: str, may: bool) -> None:
    sent = [message(state=state) for state in ("queued", "collected")]
    stuck, other = message(state="quarantined"), message()
    browser = signed_in(role)
    for route, row in (("outbox", None), ("mailbox-outbox", sent[0].mailbox)):
        page = html(browser.get(address(route, row)))
        assert boxes(page) == ({str(row.pk) for row in sent} if may else set())
        assert ("Cancel selected" in page) == may
        assert ("data-selection" in page) == may
    for route, row in (("list", None), ("inbox", stuck.mailbox)):
        page = html(browser.get(address(route, row)))
        # Only what can be tried again: ticking another row would lead to nothing.
        assert boxes(page) == ({str(stuck.pk)} if may else set())
        assert ("Try selected again" in page) == may
    stuck.delete()
    assert "data-selection" not in html(browser.get(address("list")))
    assert str(other.pk) in html(browser.get(address("list")))


# --- Sending again ------------------------------------------------------------------------------------------------------
def test_sending_again_asks_why_first_and_leaves_what_may_not_go(signed_in: Any, message: Any, address: Any) -> None:
    """One gesture: every row of the audit carries the same request. What a rule, a state or a lost body forbids is said."""
    rows = [message(state="returned", body=b"a letter", file_name=f"letter-{number}.pdf") for number in range(2)]
    left = [
        message(state="returned", body=b"on request", workflow_id="UNHEARD_OF"),
        message(state="returned", body=b"never", workflow_id="UNHEARD_OF_ACK"),
        message(state="collected", body=b"there"),
        message(state="accepted", body=b"waiting"),
        message(state="expired"),
    ]
    browser = signed_in("operator")
    before = Message.objects.count()
    page = html(browser.post(address("resend-many"), ticked(*rows, *left)))
    assert "Send 2 messages again" in page
    assert set(re.findall(r'name="message" value="([^"]+)"', page)) == {str(row.pk) for row in rows}
    for words in ("say who asked", "never sent again", "collected it", "not come to an end", "hold its body"):
        assert words in page, words
    assert "Say why they are sent again" in html(browser.post(address("resend-many"), ticked(*rows, confirmed="1")), 422)
    assert Message.objects.count() == before
    reason = "the mailbox was off"
    page = html(browser.post(address("resend-many"), ticked(*rows, *left, confirmed="1", reason=reason), follow=True))
    assert "2 messages sent again, as new ones" in page
    assert "never sent again" in page
    new = Message.objects.filter(outgoing__resend_of__in=rows)
    assert (new.count(), Message.objects.count()) == (2, before + 2)
    events = AuditEvent.objects.filter(action="message.resent")
    assert {event.reason for event in events} == {reason}
    assert (events.count(), len({event.request_id for event in events})) == (2, 1)
    page = html(browser.post(address("resend-many"), ticked(*rows, confirmed="1", reason=reason), follow=True))
    assert "being sent again already" in page
    assert Message.objects.count() == before + 2


# --- Cancelling ---------------------------------------------------------------------------------------------------------
def test_cancelling_asks_why_first_and_changes_nothing_before(signed_in: Any, message: Any, address: Any) -> None:
    rows = [message(state="queued", file_name=f"letter-{number}.pdf") for number in range(2)]
    late = message(state="collected")
    browser = signed_in("operator")
    page = html(browser.post(address("cancel-many"), ticked(*rows, late, next=address("outbox") + "?state=waiting")))
    assert "Cancel 2 messages" in page
    assert "letter-0.pdf" in page
    assert "letter-1.pdf" in page
    assert late.mesh_id in page.partition("Too late to be cancelled")[2]
    assert f'name="next" value="{address("outbox")}?state=waiting"' in page
    assert set(re.findall(r'name="message" value="([^"]+)"', page)) == {str(row.pk) for row in rows}
    assert [state_of(row) for row in rows] == ["queued", "queued"]
    for reason, words in (("", "Say why these messages are cancelled"), ("…", "Write it in words"), ("9434765919", "NHS number")):
        page = html(browser.post(address("cancel-many"), ticked(*rows, confirmed="1", reason=reason)), 422)
        assert words in page
    assert [state_of(row) for row in rows] == ["queued", "queued"]
    assert not AuditEvent.objects.filter(action="message.cancelled").exists()


def test_cancelled_is_what_still_waited_and_the_rest_is_said(signed_in: Any, message: Any, address: Any) -> None:
    """One gesture: every row of the audit carries the same request, and the reason."""
    rows = [message(state="queued") for _ in range(3)]
    late = message(state="accepted")
    back = address("outbox") + "?state=waiting"
    answer = signed_in("operator").post(
        address("cancel-many"), ticked(*rows, late, confirmed="1", reason=REASON, next=back), follow=True
    )
    assert answer.redirect_chain == [(back, 302)]
    page = html(answer)
    assert "3 messages cancelled. Nothing of them was sent." in page
    assert "1 message was left as it is: This message is on its way already" in page
    assert [state_of(row) for row in (*rows, late)] == [*["cancelled"] * 3, "accepted"]
    events = AuditEvent.objects.filter(action="message.cancelled")
    assert {event.target_id for event in events} == {str(row.pk) for row in rows}
    assert len({event.request_id for event in events}) == 1
    assert {event.reason for event in events} == {REASON}
    assert MessageEvent.objects.filter(kind="cancelled").count() == 3


def test_nothing_left_to_cancel_offers_no_form(signed_in: Any, message: Any, address: Any) -> None:
    late = message(state="collected")
    page = html(signed_in("operator").post(address("cancel-many"), ticked(late)))
    assert "None of the selected messages waits to be sent any more" in page
    assert 'name="reason"' not in page


# --- Trying again -----------------------------------------------------------------------------------------------------------
def test_quarantined_messages_are_tried_again_together(signed_in: Any, message: Any, mailbox: Any, address: Any) -> None:
    rows = [message(state="quarantined") for _ in range(2)]
    watched = message(state="quarantined", mailbox=mailbox(mode="watch"))
    done = message(body=b"x")
    answer = signed_in("operator").post(address("retry-many"), ticked(*rows, watched, done), follow=True)
    page = html(answer)
    assert "The portal tries 2 messages again" in page
    assert "1 message was left as it is: This mailbox is in watch" in page
    assert "1 message was left as it is: This message is not waiting for a retry any more" in page
    assert [state_of(row) for row in (*rows, watched)] == ["listed", "listed", "quarantined"]
    assert AuditEvent.objects.filter(action="message.retried").values("request_id").distinct().count() == 1


# --- What is left out -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("route", "state"), [("cancel-many", "queued"), ("retry-many", "quarantined")])
def test_what_is_not_the_teams_is_left_out_in_silence(
    signed_in: Any, message: Any, mailbox: Any, other_team: Any, address: Any, route: str, state: str
) -> None:
    ours = message(state=state)
    theirs = message(mailbox=mailbox(team=other_team, mailbox_id="RH8HC001"), state=state)
    browser = signed_in("manager")
    bad = (theirs, uuid.uuid4(), "nonsense", "\x00", "1' OR 1=1", "")
    for one in bad[:-1]:
        assert browser.post(address(route), ticked(one, confirmed="1", reason=REASON)).status_code == 404, one
    # A received message is none that was sent, nor the other way round.
    other = message(state="quarantined" if state == "queued" else "queued")
    assert browser.post(address(route), ticked(other, confirmed="1", reason=REASON)).status_code == 404
    page = html(browser.post(address(route), ticked(ours, *bad, confirmed="1", reason=REASON), follow=True))
    assert "RH8HC001" not in page
    assert theirs.local_id == "" or theirs.local_id not in page
    assert "left as it is" not in page
    assert state_of(ours) != state
    assert state_of(theirs) == state
    assert state_of(other) == ("quarantined" if state == "queued" else "queued")


@pytest.mark.parametrize("route", ["cancel-many", "retry-many"])
def test_nothing_and_too_much_are_sentences(signed_in: Any, message: Any, address: Any, route: str) -> None:
    row = message(state="queued" if route == "cancel-many" else "quarantined")
    browser = signed_in("manager")
    assert "No message is selected" in html(browser.post(address(route), {"confirmed": "1", "reason": REASON}, follow=True))
    many = ticked(row, *(uuid.uuid4() for _ in range(bulk.MOST)), confirmed="1", reason=REASON)
    assert f"More than {bulk.MOST} messages are selected" in html(browser.post(address(route), many, follow=True))
    assert state_of(row) in (State.QUEUED, State.QUARANTINED)
    assert browser.get(address(route)).status_code == 405


@pytest.mark.parametrize("role", ["viewer", "auditor"])
@pytest.mark.parametrize("route", ["cancel-many", "retry-many"])
def test_who_may_not_act_on_one_may_not_act_on_many(signed_in: Any, message: Any, address: Any, role: str, route: str) -> None:
    row = message(state="queued" if route == "cancel-many" else "quarantined")
    before = row.state
    assert signed_in(role).post(address(route), ticked(row, confirmed="1", reason=REASON)).status_code == 404
    assert state_of(row) == before


def test_the_way_back_leads_to_no_other_site(signed_in: Any, message: Any, address: Any) -> None:
    row = message(state="queued")
    browser = signed_in("operator")
    given = ticked(row, next="https://evil.example/")
    assert "evil.example" not in html(browser.post(address("cancel-many"), given))
    answer = browser.post(address("cancel-many"), {**given, "confirmed": "1", "reason": REASON})
    assert answer["Location"] == address("outbox")
