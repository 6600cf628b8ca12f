"""The forms of a mailbox at both widths, and what a secret's field shows of what is kept."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import GOOD, NewPage, Site
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_the_forms_are_accessible_and_hold_no_secret(site: Site, new_page: NewPage) -> None:
    page = new_page("manager")
    box = next(address for address in site.addresses["mailboxes"])
    for tail in ("settings", "password", "notes", "pause", "close", "workflows"):
        page.goto(f"{site.url}{box}{tail}/")
        settle(page)
        for field in page.locator("input[type=password]").all():
            expect(field).to_have_value("")
        at_both_widths(page, f"mailbox-{tail}", dark=True)
    for tail in ("add", "onboarding", "onboarding/start"):
        page.goto(f"{site.url}/t/fleet/mailboxes/{tail}/")
        settle(page)
        at_both_widths(page, f"mailboxes-{tail.replace('/', '-')}", dark=True)


def test_what_was_seen_is_put_into_the_form_of_workflows(site: Site, new_page: NewPage) -> None:
    page = new_page("manager")
    page.goto(f"{site.url}/t/fleet/mailboxes/?text={GOOD}")
    page.locator("main tbody a").first.click()
    page.get_by_role("navigation", name="Mailbox").get_by_role("link", name="Workflows").click()
    page.get_by_role("link", name="Put what was seen into the form").click()
    expect(page.get_by_label("Workflow IDs that it may receive")).to_contain_text("PATH_MEDRPT_V3")
    # Left unsaved: other tests look at this mailbox.
