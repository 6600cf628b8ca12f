"""A switch from the first notice to its report: entered, confirmed, frozen, switched, released by two people, proven."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import GOOD, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PRACTICE, OLD, NEW, FLOW = "G81086", "G81086GP1", "TPPHC001", "TOC_FHIR_IP_DISCH"


def step(page: Page, to: str, then: str, words: str = "") -> None:
    """Opens the act, writes its reason where it asks for one, and does it, by keyboard alone."""
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, f"#act-{to} summary")
    page.keyboard.press("Enter")
    if words:
        tab_to(page, f"#act-{to} textarea")
        page.keyboard.type(words)
    tab_to(page, f"#act-{to} button")
    page.keyboard.press("Enter")
    expect(page.get_by_text(then).first).to_be_visible()
    settle(page)


def test_a_switch_from_notice_to_report(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", expected=(422,))
    page.goto(f"{site.url}/t/fleet/switches/")
    settle(page)
    at_both_widths(page, "switches-none", dark=True)
    page.get_by_role("button", name="Enter a switch").first.click()
    page.get_by_role("button", name="Open the case").click()
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("Enter the ODS code")
    at_both_widths(page, "switch-new", dark=True)
    page.get_by_label("ODS code of the practice").fill(PRACTICE)
    page.get_by_label("Who told you, and what?").fill("The ICB by e-mail: to TPP on 14 December")
    page.get_by_label("Mailbox that the practice has now").fill(OLD)
    page.get_by_label("Workflow ID").fill(FLOW)
    page.get_by_role("button", name="Open the case").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Switch of {PRACTICE}")
    settle(page)
    at_both_widths(page, "switch-suspected", dark=True)
    address = page.url

    step(page, "confirmed", "Say how you know of the switch")
    step(page, "confirmed", "The case is confirmed now.", "The practice manager, by telephone")
    page.get_by_role("link", name="Change these facts").click()
    at_both_widths(page, "switch-edit", dark=True)
    page.get_by_label("What kind of change is it?").select_option("to_tpp")
    page.get_by_label("Go-live").fill("2026-12-14")
    page.get_by_label("Owner").select_option(label="Omar Ops")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    settle(page)
    step(page, "scheduled", "The case is scheduled now.")
    step(page, "frozen", "The case is frozen now.")

    site.portal.ask("put_outgoing", mailbox_id=GOOD, recipient=OLD, sizes=[100, 200], seed=77, workflow_id=FLOW)
    page.goto(address)
    settle(page)
    expect(page.get_by_text("2 messages held").first).to_be_visible()
    at_both_widths(page, "switch-frozen", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_text("Enter the mailboxes of a workflow").click()
    form = page.locator("#address")
    form.get_by_label("Workflow ID").fill(FLOW)
    form.get_by_label("Old mailbox", exact=True).fill(OLD)
    form.get_by_label("New mailbox", exact=True).fill(NEW)
    form.get_by_role("button").click()
    expect(page.get_by_text(f"Saved: {FLOW}")).to_be_visible()
    settle(page)
    step(page, "switched", "Only a manager can say why", "It will be so")
    site.double.add_mailbox(NEW, ods_code=PRACTICE, workflows=[FLOW])
    page.get_by_role("button", name="Ask MESH now").click()
    expect(page.get_by_text(f"MESH answers: {FLOW}: {NEW}.")).to_be_visible()
    settle(page)
    step(page, "switched", "The case is switched now.")

    page.get_by_text("Ask for their release").click()
    page.get_by_label("Why may they go?").fill("TPP is live")
    page.get_by_role("button", name="Ask for the release").click()
    expect(page.get_by_text("Somebody else must agree to it; nothing has gone yet.")).to_be_visible()
    page.get_by_role("button", name="Agree, and send them").click()
    expect(page.get_by_text("You asked for this release yourself.")).to_be_visible()
    settle(page)
    at_both_widths(page, "switch-release")
    second = new_page("manager")
    second.goto(address)
    second.get_by_role("button", name="Agree, and send them").click()
    expect(second.get_by_text("2 messages released.")).to_be_visible()

    page.goto(address)
    page.get_by_label("Clinical safety officer who was told").fill("Dr Clare Safe")
    page.get_by_role("button", name="Record that").click()
    expect(page.get_by_text("It is recorded that")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Tick off ?: The dates are confirmed")).click()
    expect(page.get_by_text("Ticked off.")).to_be_visible()
    page.get_by_label("Comment (no patient details)").fill("Rang TPP as well")
    page.get_by_role("button", name="Add the comment").click()
    expect(page.get_by_text("Comment added.")).to_be_visible()
    settle(page)
    step(page, "proving", "The case is proving now.")
    step(page, "closed", "Not proven yet.")
    settle(page)
    at_both_widths(page, "switch-proving", dark=True)
    page.get_by_role("button", name="Safety report").click()
    expect(page.get_by_text("Dr Clare Safe").first).to_be_visible()
    expect(page.get_by_text("agreed by", exact=False).first).to_be_visible()
    at_both_widths(page, "switch-report", dark=True)
    page.goto(f"{address}messages/")
    settle(page)
    at_both_widths(page, "switch-messages", dark=True)
    page.goto(f"{site.url}/t/fleet/switches/")
    settle(page)
    at_both_widths(page, "switches-board", dark=True)
    page.goto(f"{site.url}/t/fleet/switches/ended/")
    at_both_widths(page, "switches-ended")
