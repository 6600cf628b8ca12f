"""By keyboard alone: an address is added, MESH answers another one, a person finds that first and confirms it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

OLD, NEW, THIRD, WORKFLOW = "YGM24HC105", "X26HC199", "X26HC198", "TOC_FHIR_OP_ATTEN"


def press(page: Page, selector: str, key: str = "Enter") -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, selector, most=150)
    page.keyboard.press(key)
    settle(page)


def test_add_notice_confirm_remove_by_keyboard(site: Site, new_page: NewPage) -> None:
    site.double.add_mailbox(OLD, ods_code="G81099", name="Seaside Surgery", workflows=[WORKFLOW])
    page = new_page("operator", expected=(422,))
    page.goto(f"{site.url}/t/fleet/addresses/add/")
    settle(page)
    press(page, "main form button[type=submit]")
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("Enter the ODS code")
    at_both_widths(page, "address-add-wrong", dark=True)
    tab_to(page, "input[name=ods_code]")
    page.keyboard.type("g81099")
    tab_to(page, "input[name=workflow_id]")
    page.keyboard.type(WORKFLOW)
    press(page, "main form button[type=submit]")
    expect(page.get_by_text("It is in the address book.")).to_be_visible()
    at_both_widths(page, "address-new")
    site.portal.ask("look_up")
    # It comes by itself.
    expect(page.locator("#standing").get_by_text(f"Lookup answers {OLD}.")).to_be_visible(timeout=15_000)
    settle(page)
    at_both_widths(page, "address-agrees", dark=True)

    site.double.update_mailbox(OLD, active=False)
    site.double.add_mailbox(NEW, ods_code="G81099", name="Seaside Surgery at its new system", workflows=[WORKFLOW])
    site.double.add_mailbox(THIRD, ods_code="G81099", name="Another one", workflows=[WORKFLOW])
    site.portal.ask("look_up")
    page.goto(f"{site.url}/t/fleet/addresses/")
    settle(page)
    expect(page.get_by_text(f"Was {OLD}, lookup now names 2 mailboxes").first).to_be_visible()
    at_both_widths(page, "address-book-several")
    site.double.update_mailbox(THIRD, active=False)
    site.portal.ask("look_up")
    page.reload()
    settle(page)
    expect(page.get_by_text(f"Was {OLD}, lookup now answers {NEW}").first).to_be_visible()
    at_both_widths(page, "address-book", dark=True)
    press(page, "main section a[href*='/addresses/']")
    expect(page.get_by_text("Needs a person")).to_be_visible()
    press(page, "#confirm-confirm-the-address summary")
    at_both_widths(page, "address-changed", dark=True)
    press(page, "input[name=mailbox_id]", "Space")
    tab_to(page, "#confirm-confirm-the-address textarea")
    page.keyboard.type("The practice told us on Monday.")
    press(page, "#confirm-confirm-the-address button")
    expect(page.get_by_text(f"at {NEW} from now on, says your address book.")).to_be_visible()
    at_both_widths(page, "address-confirmed")
    press(page, "#confirm-remove-from-the-address-book summary")
    tab_to(page, "#confirm-remove-from-the-address-book textarea")
    page.keyboard.type("Only a test.")
    at_both_widths(page, "address-remove")
    press(page, "#confirm-remove-from-the-address-book button")
    expect(page.get_by_text("was removed from the address book.")).to_be_visible()
    at_both_widths(page, "address-removed")
