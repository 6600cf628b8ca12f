"""The pages of the address book."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import AddressEntry, AddressPair, Mailbox, Organisation
from mailboxes.models.address import Drift
from tests.addresses.conftest import NEW, OLD, OTHER, WORKFLOW, Asked, added, seen
from tests.double import Double

pytestmark = pytest.mark.django_db
BOOK = "/t/midshire/addresses/"


def said(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def moved(team: Any, practice: Double, asked: Asked) -> AddressEntry:
    """An entry whose mailbox is another one now."""
    entry = added(team)
    asked()
    practice.update_mailbox(OLD, active=False)
    practice.add_mailbox(NEW, ods_code="G81086", name="Seaside, TPP", workflows=(WORKFLOW,))
    asked()
    return seen(entry)


def test_an_empty_book_says_how_it_fills(signed_in: Any, team: Any) -> None:
    assert "fills by itself" in said(signed_in("viewer").get(BOOK))
    page = signed_in("operator").get(BOOK)
    assert f"{BOOK}add/" in page.content.decode()


def test_the_list_has_what_changed_first(signed_in: Any, team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    Organisation.objects.create(ods_code="G81086", name="Seaside Surgery")
    entry = moved(team, practice, asked)
    added(team, code="P00001", mailbox=OLD, workflow=OTHER)
    page = signed_in("viewer").get(BOOK)
    text = said(page)
    assert "1 needs a person" in text
    assert f"Was {OLD}, lookup now answers {NEW} (since" in text
    assert "Seaside Surgery" in text
    assert "2 addresses" in text
    assert f"{BOOK}{entry.pk}/" in page.content.decode()
    browser = signed_in("auditor")
    for query, number in (
        ("text=g81086", 1),
        ("text=seaside", 1),
        (f"text={OLD}", 2),
        ("text=nothing-like-this", 0),
        (f"workflow={OTHER}", 1),
        ("state=drifted", 1),
        ("state=new", 1),
        ("source=typed", 1),
        ("environment=live", 0),
        ("environment=sandbox&text=P00001", 1),
    ):
        rows = said(browser.get(f"{BOOK}?{query}", headers={"HX-Request": "true", "HX-Target": "rows"}))
        assert f"{number} address{'' if number == 1 else 'es'}" in rows, query
    assert "has no such choice" in said(signed_in("manager").get(f"{BOOK}?state=odd"))


def test_an_entry_is_added_checked_confirmed_and_removed(
    signed_in: Any, team: Any, box: Mailbox, practice: Double, asked: Asked
) -> None:
    browser = signed_in("operator")
    wrong = browser.post(f"{BOOK}add/", {"environment": "sandbox", "ods_code": "?", "workflow_id": "", "mailbox_id": "a b"})
    assert wrong.status_code == 422
    assert "There is a problem" in said(wrong)
    given = {"environment": "sandbox", "ods_code": "g81086", "workflow_id": WORKFLOW, "mailbox_id": ""}
    made = browser.post(f"{BOOK}add/", given)
    assert made.status_code == 302
    page = made["Location"]
    again = browser.post(f"{BOOK}add/", given)
    assert again.status_code == 422 and "in your address book for this workflow already" in said(again)
    assert "MESH was not asked yet" in said(browser.get(page))
    assert "data-refresh" in browser.get(page).content.decode().partition("<main")[2]
    asked()
    assert f"Lookup answers {OLD}" in said(browser.get(page))
    assert "less than a minute ago" in said(browser.post(f"{page}check/", follow=True))
    AddressPair.objects.update(asked_at=timezone.now() - timedelta(minutes=2))
    assert "within seconds" in said(browser.post(f"{page}check/", follow=True))
    assert AddressPair.objects.get().urgent
    nothing = said(browser.post(f"{page}confirm/", {"mailbox_id": OLD, "reason": "x"}, follow=True))
    assert "There is nothing to confirm" in nothing

    practice.update_mailbox(OLD, active=False)
    practice.add_mailbox(NEW, ods_code="G81086", name="Seaside, TPP", workflows=(WORKFLOW,))
    asked()
    text = said(browser.get(page))
    assert f"Was {OLD}, lookup now answers {NEW}" in text
    assert "Needs a person" in text and "Seaside, TPP" in text
    assert "How do you know?" in text
    assert "Say how you know" in said(browser.post(f"{page}confirm/", {"mailbox_id": NEW}, follow=True))
    assert "does not answer this mailbox" in said(
        browser.post(f"{page}confirm/", {"mailbox_id": OLD, "reason": "x"}, follow=True)
    )
    done = said(browser.post(f"{page}confirm/", {"mailbox_id": NEW, "reason": "their notice"}, follow=True))
    assert f"takes {WORKFLOW} at {NEW} from now on" in done
    assert "A person confirmed the address" in done and "their notice" in done
    assert AddressEntry.objects.get().drift == Drift.AGREES

    assert "Say why the entry is removed" in said(browser.post(f"{page}remove/", {}, follow=True))
    gone = browser.post(f"{page}remove/", {"reason": "closed"}, follow=True)
    assert gone.redirect_chain[-1][0] == BOOK
    assert browser.get(page).status_code == 404
    events = said(signed_in("manager").get("/t/midshire/audit/"))
    for words in (
        "added to the address book",
        "had MESH asked for the address of",
        f"{NEW} instead of {OLD}",
        "removed from the address book",
    ):
        assert words in events


def test_a_viewer_reads_and_acts_on_nothing(signed_in: Any, team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = moved(team, practice, asked)
    browser = signed_in("viewer")
    page = browser.get(f"{BOOK}{entry.pk}/")
    assert page.status_code == 200
    assert "How do you know?" not in said(page)
    for act in ("check", "confirm", "remove"):
        assert browser.post(f"{BOOK}{entry.pk}/{act}/", {"reason": "x", "mailbox_id": NEW}).status_code == 404
    assert browser.get(f"{BOOK}add/").status_code == 404


def test_what_mesh_answered_to_another_team_before_is_not_shown(
    signed_in: Any, team: Any, other_team: Any, box: Mailbox, practice: Double, asked: Asked
) -> None:
    added(team)
    asked()
    practice.update_mailbox(OLD, name="Another name")
    theirs = added(other_team)
    text = said(signed_in("manager", team=other_team).get(f"/t/otherton/addresses/{theirs.pk}/"))
    assert "Nothing yet. MESH is asked within minutes." in text
    assert "Seaside Surgery" not in text


def test_a_failed_check_is_said_where_the_address_stands(
    signed_in: Any, team: Any, box: Mailbox, practice: Double, asked: Asked
) -> None:
    entry = added(team)
    asked()
    practice.down()
    asked()
    text = said(signed_in("viewer").get(f"{BOOK}{entry.pk}/"))
    assert "The last check failed" in text and "What stands here is as it was" in text
    assert "Not checked:" in said(signed_in("auditor").get(BOOK))


def test_names_that_mesh_answers_are_text(signed_in: Any, team: Any, box: Mailbox, double: Double, asked: Asked) -> None:
    double.add_mailbox(OLD, ods_code="G81086", name="<script>alert(1)</script>", workflows=(WORKFLOW,))
    entry = added(team)
    asked()
    page = signed_in("viewer").get(f"{BOOK}{entry.pk}/").content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;" in page
