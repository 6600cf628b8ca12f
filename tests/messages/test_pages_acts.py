"""Retry and acknowledge without keeping: who may, when, and what is recorded."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from meshportal.audit.models import AuditEvent
from messages.models import MessageEvent
from messages.states import State

pytestmark = pytest.mark.django_db

GIVEN = {"reason": "The sender sent it again as TIE-0009", "confirm": "on"}


def url_of(message: Any, route: str = "detail") -> str:
    return reverse(f"messages:{route}", kwargs={"team": message.team.slug, "pk": message.pk})


def acts() -> list[str]:
    return list(AuditEvent.objects.filter(action__startswith="message.").order_by("id").values_list("action", flat=True))


@pytest.mark.parametrize(
    ("role", "route", "allowed"),
    [
        ("viewer", "retry", False),
        ("auditor", "retry", False),
        ("operator", "retry", True),
        ("manager", "retry", True),
        ("viewer", "discard", False),
        ("auditor", "discard", False),
        ("operator", "discard", False),
        ("manager", "discard", True),
    ],
)
def test_who_may(signed_in: Any, message: Any, role: str, route: str, allowed: bool) -> None:
    row = message(state="quarantined", attempts=5)
    answer = signed_in(role).post(url_of(row, route), GIVEN)
    row.refresh_from_db()
    if not allowed:
        assert answer.status_code == 404
        assert row.state == State.QUARANTINED
        assert acts() == []
        return
    assert answer.status_code == 302
    assert answer["Location"] == url_of(row)
    assert row.state == (State.LISTED if route == "retry" else State.DISCARDING)
    assert acts() == ["message.retried" if route == "retry" else "message.discarded"]


def test_a_retry_starts_afresh_and_says_what_follows(signed_in: Any, message: Any) -> None:
    row = message(state="quarantined", attempts=5)
    browser = signed_in("operator")
    page = browser.post(url_of(row, "retry"), follow=True).content.decode()
    assert "The portal tries this message again at the mailbox’s next turn" in page
    assert "Waiting in the MESH inbox" in page
    row.refresh_from_db()
    assert row.attempts == 0
    row.mailbox.refresh_from_db()
    assert row.mailbox.next_poll_at <= timezone.now() + timedelta(minutes=1)


@pytest.mark.parametrize("state", sorted(set(State.values) - {State.QUARANTINED}))
@pytest.mark.parametrize("route", ["retry", "discard"])
def test_what_is_not_possible_now_is_refused(signed_in: Any, message: Any, state: str, route: str) -> None:
    row = message(state=state)
    page = signed_in("manager").post(url_of(row, route), GIVEN, follow=True).content.decode()
    assert "Not done" in page
    row.refresh_from_db()
    assert row.state == state
    assert acts() == []


def test_a_discard_is_recorded_with_its_reason(signed_in: Any, message: Any) -> None:
    row = message(state="quarantined", problem="Cut short.")
    browser = signed_in("manager")
    page = browser.post(url_of(row, "discard"), GIVEN, follow=True).content.decode()
    assert "MESH is told at the mailbox’s next turn" in page
    assert "Manager Person" in page
    assert "decided on" in page
    assert AuditEvent.objects.get(action="message.discarded").reason == GIVEN["reason"]
    assert MessageEvent.objects.get(kind="discard_asked").detail == {"reason": GIVEN["reason"]}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Say why this message may go without being kept"),
        ({"confirm": "on", "reason": "  "}, "Say why this message may go without being kept"),
        ({"confirm": "on", "reason": "…"}, "Write it in words"),
        ({"confirm": "on", "reason": "x" * 501}, "Keep it within 500 characters"),
        ({"reason": "Sent again"}, "Tick the box to confirm"),
    ],
)
def test_a_discard_needs_a_reason_and_the_tick(signed_in: Any, message: Any, given: dict[str, str], sentence: str) -> None:
    row = message(state="quarantined")
    answer = signed_in("manager").post(url_of(row, "discard"), given)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert "There is a problem" in page
    # The folded form stands open with what was typed.
    assert re.search(r'<details class="nhsuk-details portal-confirm"[^>]* open>', page)
    assert given.get("reason", "").strip()[:400] in page
    row.refresh_from_db()
    assert row.state == State.QUARANTINED
    assert acts() == []


def test_wrong_input_about_a_message_that_moved_on_is_refused(signed_in: Any, message: Any) -> None:
    row = message(state="acknowledged")
    page = signed_in("manager").post(url_of(row, "discard"), {}, follow=True).content.decode()
    assert "Only a message that needs a person" in page


@pytest.mark.parametrize("route", ["retry", "discard"])
def test_the_address_of_a_button_explains_itself(signed_in: Any, message: Any, route: str) -> None:
    row = message(state="quarantined")
    browser = signed_in("manager")
    answer = browser.get(url_of(row, route))
    assert answer.status_code == 405
    assert "This address is a button" in answer.content.decode()
    assert f'href="{url_of(row)}"' in answer.content.decode()
    assert browser.head(url_of(row, route)).status_code == 405
    assert acts() == []


def test_it_goes_back_only_to_an_address_of_this_site(signed_in: Any, message: Any) -> None:
    row = message(state="quarantined")
    answer = signed_in("operator").post(url_of(row, "retry"), {"next": "https://elsewhere.example/"})
    assert answer["Location"] == url_of(row)


def test_a_reason_with_an_nhs_number_is_refused_since_it_could_not_be_taken_out() -> None:
    from messages.forms import DiscardForm, ReasonForm

    reason = ReasonForm(data={"why": "other", "detail": "about 999 000 0018"})
    discard = DiscardForm(data={"reason": "9990000018 was sent again", "confirm": "on"})
    assert "Take the NHS number out" in str(reason.errors["detail"])
    assert "Take the NHS number out" in str(discard.errors["reason"])
