"""Sending again with a reason: one from its page with the keyboard, several from the list, and the rule that a manager sets."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle
from tests.browser.test_selection import queued

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def cancelled(site: Site, page: Page, number: int, *, seed: int, workflow_id: str) -> str:
    """A list of messages that were cancelled, so that they have come to an end; no worker runs here."""
    page.goto(queued(site, number, seed=seed, workflow_id=workflow_id))
    settle(page)
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Cancel selected").click()
    page.get_by_label("Why are these messages cancelled?").fill("they wait for the practice to open")
    page.get_by_role("button", name=f"Cancel {number} message").click()
    expect(page.get_by_text("cancelled. Nothing of")).to_be_visible()
    return page.url.replace("state=queued", "state=cancelled")


def test_one_is_sent_again_with_the_keyboard_and_says_who_asked(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", expected=(422,))
    page.goto(cancelled(site, page, 1, seed=905, workflow_id="ASKED_FOR"))
    settle(page)
    page.locator("tbody th a, tbody td a").first.click()
    settle(page)
    tab_to(page, "#confirm-send-again summary")
    page.keyboard.press("Enter")
    at_both_widths(page, "resend", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "#confirm-send-again button[type=submit]")
    page.keyboard.press("Enter")
    problems = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(problems).to_be_visible()
    expect(problems).to_contain_text("Say who asked for it to be sent again")
    expect(problems).to_contain_text("Say why it is sent again")
    tab_to(page, "#confirm-send-again input[name=asked_by]")
    page.keyboard.type("reception of the practice")
    tab_to(page, "#confirm-send-again textarea[name=reason]")
    page.keyboard.type("their system lost it")
    tab_to(page, "#confirm-send-again button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Sent again as a new message with local ID")).to_be_visible()
    sendings = page.get_by_role("region", name="Sendings of this document")
    expect(sendings.get_by_role("listitem")).to_have_count(2)
    expect(sendings).to_contain_text("Asked for by reception of the practice")
    at_both_widths(page, "sendings", dark=True)


def test_a_manager_allows_it_and_several_are_sent_again(site: Site, new_page: NewPage) -> None:
    page = new_page("manager", expected=(422,))
    listed = cancelled(site, page, 2, seed=906, workflow_id="TO_BE_ALLOWED")
    page.goto(f"{site.url}/t/fleet/workflows/")
    page.get_by_role("row").filter(has_text="TO_BE_ALLOWED").get_by_role("link").click()
    settle(page)
    at_both_widths(page, "workflow", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Plain name").fill("Letters of the tests")
    page.get_by_label("Allowed, with a reason").check()
    page.get_by_role("button", name="Save as reviewed").click()
    expect(page.get_by_text("The workflow is reviewed.")).to_be_visible()
    page.goto(listed)
    settle(page)
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Send selected again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Send 2 messages again")
    settle(page)
    at_both_widths(page, "resend-many", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Why are they sent again?").fill("the practice is open")
    page.get_by_role("button", name="Send 2 messages again").click()
    expect(page.get_by_text("2 messages sent again, as new ones.")).to_be_visible()
