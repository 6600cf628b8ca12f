"""Acting on several messages with the keyboard, with a small window, and without scripts; and a search in both directions."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import EMPTY, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def queued(site: Site, number: int, *, seed: int, workflow_id: str = "TEST_WORKFLOW") -> str:
    """The outbox of a mailbox with messages that wait to be sent; no worker runs here."""
    given = {"mailbox_id": EMPTY, "recipient": "YGM24HC001", "seed": seed, "workflow_id": workflow_id}
    site.portal.ask("put_outgoing", sizes=[20] * number, **given)
    return f"{site.url}{site.addresses['mailboxes'][4]}outbox/?state=queued&q=letter-{seed}-"


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def test_cancel_several_with_the_keyboard_alone(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", expected=(422,))
    page.goto(queued(site, 3, seed=901))
    settle(page)
    acts = page.get_by_role("group", name="Acts on the selected messages")
    place = acts.bounding_box()
    tab_to(page, "[data-select-all]")
    page.keyboard.press("Space")
    expect(acts.get_by_text("3 messages selected")).to_be_visible()
    expect(page.locator("#announce")).to_have_text("3 messages selected")
    tab_to(page, "tbody input[name=message]")
    page.keyboard.press("Space")
    expect(page.locator("#announce")).to_have_text("2 messages selected")
    assert page.evaluate("document.querySelector('[data-select-all]').indeterminate")
    left = focused(page)
    # What is ticked stays ticked: nothing is refreshed under the person's hands, and the bar of acts stands still.
    assert acts.bounding_box() == place
    at_both_widths(page, "selected", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, ".portal-selection__acts button")
    assert page.evaluate("document.activeElement.textContent") == "Cancel selected"
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 2 messages")
    settle(page)
    at_both_widths(page, "cancel-many", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "main form button[type=submit]")
    page.keyboard.press("Enter")
    summary = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(summary).to_be_visible()
    tab_to(page, "main textarea[name=reason]")
    page.keyboard.type("they hold the wrong document")
    tab_to(page, "main form button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 messages cancelled. Nothing of them was sent.")).to_be_visible()
    expect(page.locator("tbody input[name=message]")).to_have_count(1)
    expect(page.locator(f"#{left}")).to_be_visible()


def test_the_act_is_right_behind_the_table(site: Site, new_page: NewPage) -> None:
    page = new_page("operator")
    page.goto(queued(site, 2, seed=902))
    settle(page)
    page.locator("tbody tr").last.get_by_role("link").first.focus()
    tab_to(page, ".portal-selection__acts button", most=2)


def test_a_small_window_has_every_row_and_all_of_them(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", width=375)
    page.goto(queued(site, 2, seed=903))
    settle(page)
    page.get_by_label("Select all on this page").check()
    boxes = page.locator("tbody input[name=message]")
    assert all(boxes.nth(number).is_checked() for number in range(boxes.count()))
    page.get_by_label("Select all on this page").uncheck()
    expect(page.locator("#announce")).to_have_text("No message selected")
    # The card begins with what it is, and then with where it stands.
    card = page.locator("tbody tr").first
    labels = card.locator("td[data-label]").evaluate_all("cells => cells.map(cell => cell.dataset.label)")
    assert labels[:2] == ["State", "To"]
    tops = card.locator("td[data-label]").evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().top)")
    assert tops == sorted(tops)


def test_without_scripts_messages_are_selected_one_by_one(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", java_script_enabled=False)
    page.goto(queued(site, 1, seed=904))
    expect(page.get_by_label("Select all on this page")).to_be_hidden()
    page.locator("tbody input[name=message]").first.check()
    page.get_by_role("button", name="Cancel selected").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 1 message")
    page.get_by_role("link", name="Back to the list, cancel nothing").click()
    assert page.url.endswith("outbox/?state=queued&q=letter-904-")


def test_a_search_that_finds_nothing_here_leads_there(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.get_by_role("searchbox", name="Search messages").fill("letter-5.txt")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No received message fits this")).to_be_visible()
    page.get_by_role("button", name="Show the sent message").click()
    expect(page.get_by_role("row").filter(has_text="letter-5.txt")).to_have_count(1)
    # A filter changes the way to the other direction too, although it replaces the rows alone.
    page.get_by_label("ID, file name, local ID").fill("letter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Received (1)", exact=True)).to_be_visible()
    assert page.get_by_role("link", name="Received (1)", exact=True).get_attribute("href") == "/t/fleet/messages/?q=letter"
