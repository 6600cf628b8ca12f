"""Everything that fits a filter, with the keyboard alone: sent again with progress to the end, stopped, asked to be restored."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import EMPTY, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def staged(site: Site, number: int, workflow_id: str) -> str:
    """A list of messages that came back; no worker runs here but when a test does its work."""
    site.portal.ask("stage_returned", mailbox_id=EMPTY, recipient="YGM24HC001", number=number, workflow_id=workflow_id)
    return f"{site.url}/t/fleet/messages/sent/?state=returned&workflow={workflow_id}"


def test_a_filter_is_sent_again_with_the_keyboard_alone(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", expected=(422,))
    page.goto(staged(site, 60, "KEYBOARD"))
    settle(page)
    tab_to(page, ".portal-all a")
    assert page.evaluate("document.activeElement.textContent") == "Send all of these again…"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Send 60 messages again")
    settle(page)
    at_both_widths(page, "resend-all", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "main form button[type=submit]:not([name])")
    page.keyboard.press("Enter")
    problems = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(problems).to_contain_text("Say why they are sent again")
    expect(problems).to_contain_text("Tick the box to confirm how many messages are sent again")
    at_both_widths(page, "resend-all-wrong")
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "main textarea[name=reason]")
    page.keyboard.type("the practice was closed over the weekend")
    tab_to(page, "main input[name=confirm]")
    page.keyboard.press("Space")
    expect(page.get_by_label("Send 60 messages again")).to_be_checked()
    tab_to(page, "main form button[type=submit]:not([name])")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Bulk resend")
    expect(page.get_by_role("progressbar", name="Messages dealt with")).to_have_attribute("value", "0")
    settle(page)
    at_both_widths(page, "bulk-resend-under-way", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    site.portal.ask("run_resends")
    # The page finds out by itself, and says the end once.
    expect(page.get_by_text("60 messages sent again, 0 messages left as they are.").first).to_be_visible(timeout=20_000)
    expect(page.locator("#announce")).to_have_text("Done: 60 messages sent again, 0 messages left as they are.")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    settle(page)
    at_both_widths(page, "bulk-resend-done", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.locator("tbody tr")).to_have_count(50)
    tab_to(page, "a[rel=next]", most=160)
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(10)
    tab_to(page, "tbody td a")
    page.keyboard.press("Enter")
    expect(page.get_by_text("this is the new message")).to_be_visible()
    page.goto(f"{site.url}/t/fleet/messages/resends/")
    settle(page)
    at_both_widths(page, "bulk-resends", dark=True)


def test_it_can_be_stopped_and_followed_without_scripts(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", java_script_enabled=False)
    page.goto(staged(site, 3, "STOPPED"))
    page.get_by_role("link", name="Send all of these again…").click()
    page.get_by_label("Why are they sent again?").fill("the practice was closed")
    page.get_by_label("Send 3 messages again").check()
    page.get_by_role("button", name="Begin to send them again").click()
    expect(page.get_by_text("0 of 3 dealt with")).to_be_visible()
    page.get_by_text("Stop it").click()
    page.get_by_role("button", name="Stop sending them again").click()
    expect(page.get_by_text("Stopped. 3 messages left as they are")).to_be_visible()
    page.get_by_role("link", name=re.compile("Left as it is")).click()
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.get_by_text("It was stopped before this message had its turn.").first).to_be_visible()


def test_what_can_be_restored_is_asked_for(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer", accept_downloads=True)
    staged(site, 3, "RESTORED")
    page.goto(f"{site.url}/t/fleet/messages/sent/?state=recoverable&workflow=RESTORED")
    settle(page)
    tab_to(page, ".portal-all a")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Request to restore 3 messages")
    settle(page)
    at_both_widths(page, "restore", dark=True)
    with page.expect_download() as started:
        page.get_by_role("link", name="Download the list as CSV").click()
    text = started.value.path().read_text(encoding="utf-8-sig")
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [f"20261101{one:012d}_RESTOR" for one in range(3)]
