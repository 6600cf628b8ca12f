"""By keyboard: from the list to what is trusted, a request withdrawn; what an old certificate says of its replacement."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle
from tests.browser.test_roll_over import press

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_what_is_trusted_is_one_key_from_the_list(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.goto(f"{site.url}/t/fleet/certificates/")
    press(page, "main a[href$='/certificates/trust/']")
    expect(page.get_by_role("heading", level=1)).to_have_text("Trust bundles")
    expect(page.get_by_role("table", name="Authorities in the trust bundle of the sandbox environment")).to_contain_text(
        site.pki.authority.common_name
    )
    # The mailboxes of this site have had their handshakes.
    servers = page.get_by_role("table", name="Certificates of the server of the sandbox environment, seen last first")
    expect(servers.get_by_role("rowheader")).to_have_count(1)
    expect(servers).to_contain_text("Seen last")
    expect(page.get_by_text("No trust bundle:")).to_have_count(2)
    at_both_widths(page, "trust", dark=True)


def test_a_request_is_withdrawn_by_keyboard(site: Site, new_page: NewPage) -> None:
    page = new_page("manager")
    page.goto(f"{site.url}/t/fleet/certificates/request/")
    page.get_by_label("Name of the certificate").fill("Not needed after all")
    page.get_by_label("Integration").check()
    page.get_by_label("Mailbox ID, or name of the server").fill("WITHDRAW1")
    page.get_by_label("ODS code").fill("X26")
    page.get_by_label("New client").check()
    page.get_by_role("button", name="Make the key and the request").click()
    settle(page)
    press(page, "details.portal-confirm summary")
    at_both_widths(page, "request-withdraw", dark=True)
    press(page, "details.portal-confirm button[type=submit]")
    expect(page.get_by_text("Say why the request is withdrawn.")).to_be_visible()
    press(page, "details.portal-confirm summary")
    tab_to(page, "details.portal-confirm textarea")
    page.keyboard.type("Asked for the wrong organisation.")
    press(page, "details.portal-confirm button[type=submit]")
    expect(page.get_by_text("was withdrawn, and its key destroyed.")).to_be_visible()
    expect(page.get_by_text(": Asked for the wrong organisation.")).to_be_visible()
    expect(page.get_by_role("heading", name="The certificate has come")).to_have_count(0)
    at_both_widths(page, "request-withdrawn")
    page.goto(f"{site.url}/t/fleet/certificates/")
    expect(page.get_by_text("Not needed after all")).to_have_count(0)


def test_an_old_certificate_says_whether_it_can_be_retired(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.goto(site.url + site.addresses["certificates"][0])
    settle(page)
    # Filled in by its own address; nothing was rolled over from most of them.
    expect(page.get_by_text("Has it been replaced?")).to_have_count(0)
    expect(page.locator("#replaced")).to_have_count(1)
