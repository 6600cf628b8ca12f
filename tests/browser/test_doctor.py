"""Checking a connection by keyboard alone; the steps come while the page is still under way, with scripts or without."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import GOOD, REFUSED, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle
from tests.double import faults

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_a_connection_is_checked_by_keyboard(site: Site, new_page: NewPage) -> None:
    page = new_page("operator")
    page.goto(f"{site.url}/t/fleet/mailboxes/?text={REFUSED}")
    page.locator("main tbody a").first.click()
    settle(page)
    # What the live region says while the page comes in.
    page.add_init_script(
        "window.said = []; addEventListener('DOMContentLoaded', () => { const r = document.getElementById('announce');"
        " if (r) new MutationObserver(() => r.textContent && window.said.push(r.textContent)).observe(r, {childList: true}) })"
    )
    tab_to(page, "form[action$='/doctor/'] button")
    page.keyboard.press("Enter")
    expect(page.locator(".portal-verdict")).to_contain_text("The connection fails at “Sign-in”")
    expect(page.locator(".portal-doctor__step")).to_have_count(11)
    expect(page.locator(".portal-doctor__step--bad")).to_contain_text("Sign-in")
    expect(page.locator(".portal-verdict")).to_contain_text("What to do:")
    # Spoken of once, at the end.
    expect(page.locator("#announce")).to_contain_text("The connection fails at “Sign-in”")
    said = page.evaluate("window.said")
    assert len(said) <= 1 and all(one.startswith("The connection fails at") for one in said)
    at_both_widths(page, "doctor-failed", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, ".portal-doctor summary")
    page.keyboard.press("Enter")
    expect(page.locator(".portal-doctor details[open]")).to_have_count(1)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab_to(page, "[data-copy^='MESH connection check']")
    page.keyboard.press("Enter")
    expect(page.locator("#announce")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert f"mailbox {REFUSED}" in copied and "What to do:" in copied
    tab_to(page, "main form button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.locator(".portal-doctor__step")).to_have_count(11)


def test_a_good_connection_and_what_is_checked(site: Site, new_page: NewPage) -> None:
    page = new_page("operator")
    page.goto(f"{site.url}/t/fleet/mailboxes/?text={GOOD}")
    page.goto(f"{page.locator('main tbody a').first.evaluate('a => a.href')}doctor/")
    settle(page)
    at_both_widths(page, "doctor")
    page.get_by_role("button", name="Check the connection").click()
    expect(page.locator(".portal-verdict")).to_contain_text("The mailbox connects")
    for details in page.locator(".portal-doctor summary").all():
        details.click()
    settle(page)
    at_both_widths(page, "doctor-good", dark=True)


def test_steps_are_there_before_the_last_one_without_scripts(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", java_script_enabled=False)
    page.goto(f"{site.url}/t/fleet/mailboxes/?text={GOOD}")
    page.locator("main tbody a").first.click()
    number = site.double.add_fault(match={"mailbox": GOOD, "route": "handshake"}, action=faults.delay(3), times=1)
    page.get_by_role("button", name="Check the connection").click(no_wait_after=True)
    expect(page.locator(".portal-doctor__step").filter(has_text="(TLS)")).to_be_visible(timeout=2500)
    assert page.locator(".portal-verdict").count() == 0
    expect(page.locator(".portal-verdict")).to_contain_text("Somebody should look at “Answer of MESH”")
    assert site.double.fault_fired(number) == 1
