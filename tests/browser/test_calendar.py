"""The calendar of certificates and its address, and taking a key out, by keyboard alone at both widths."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Site, screenshot
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle
from tests.core.reading_calendars import read, value

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
PERSON = "cora.calendar@lapsing.example"


@pytest.fixture(scope="module")
def lapsing(site: Site) -> str:
    """The address of a calendar in which something happens."""
    return site.url + str(site.portal.ask("stage_calendar", email=PERSON, password=site.password))


def signed_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/sign-in/")
    page.get_by_label("Email address").fill(PERSON)
    page.get_by_label("Password", exact=True).fill(site.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/t/lapsing/")


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.replace(/\\s+/g, ' ').trim()"))


def test_the_calendar_leads_to_a_month_and_to_what_takes_the_place(site: Site, lapsing: str, new_page: NewPage) -> None:
    page = new_page(None)
    signed_in(page, site)
    page.goto(f"{site.url}/t/lapsing/certificates/")
    tab_to(page, "main a[href$='/certificates/calendar/']")
    page.keyboard.press("Enter")
    page.wait_for_url(lapsing)
    settle(page)
    at_both_widths(page, "calendar", dark=True)
    page.emulate_media(color_scheme="dark")
    screenshot(page, "calendar-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 375, "height": 900})
    lapsed = page.get_by_role("region", name="Lapsed already, still in use")
    expect(lapsed.get_by_role("heading", level=3)).to_have_text(re.compile("Radiology 2023"))
    expect(lapsed).to_contain_text("Expired")
    months = page.locator(".portal-year > li")
    expect(months).to_have_count(13)
    # The year leads to the month, and the next Tab goes on inside it.
    tab_to(page, ".portal-year a.portal-year__link")
    heading = page.evaluate("document.activeElement.hash.slice(1)")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{lapsing}#{heading}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("heading", level=3).nth(1)).to_contain_text(focused(page))
    hub = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=re.compile("^GP federation hub")))
    expect(hub).to_contain_text("75 days left")
    expect(hub.get_by_role("link", name=re.compile("^All 12"))).to_be_visible()
    expect(hub).to_contain_text("None yet")
    expect(hub.get_by_role("link", name=re.compile("^Request a new one"))).to_be_visible()
    nursing = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=re.compile("^Community nursing 2026")))
    expect(nursing.get_by_role("link", name="Roll-over from Community nursing 2026")).to_be_visible()
    letters = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=re.compile("^Discharge letters 2027")))
    expect(letters).to_contain_text("Requested")


def test_an_address_is_made_used_replaced_and_ended_by_keyboard(site: Site, lapsing: str, new_page: NewPage) -> None:
    page = new_page(None)
    signed_in(page, site)

    def make(open_first: str = "") -> str:
        page.goto(lapsing)
        page.set_viewport_size({"width": 1280, "height": 900})
        if open_first:
            tab_to(page, f"{open_first} > summary")
            page.keyboard.press("Enter")
        tab_to(page, "form[action$='/calendar/address/'] button")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Address of the calendar")
        return page.locator(".portal-id__text").inner_text()

    first = make()
    settle(page)
    at_both_widths(page, "calendar-address", dark=True)
    events = [one for one in read(fetched(first)).inside if one.kind == "VEVENT"]
    assert len(events) == 9
    assert len({value(one, "UID") for one in events}) == 9
    page.goto(lapsing)
    assert first not in page.content()
    at_both_widths(page, "calendar-with-address", dark=True)
    second = make("#replace-address")
    assert read(fetched(second))
    assert gone(first)
    page.goto(lapsing)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "#end-address > summary")
    page.keyboard.press("Enter")
    tab_to(page, "#end-address button")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The address is ended.")).to_be_visible()
    assert gone(second)


def test_a_key_is_taken_out_by_keyboard_after_a_mistake(site: Site, new_page: NewPage, need: Callable[[str], None]) -> None:
    need("openssl")
    page = new_page("manager", expected=(422,))
    page.goto(site.url + site.addresses["certificates"][0])
    tab_to(page, "main a[href$='/export-key/']")
    page.keyboard.press("Enter")
    settle(page)
    at_both_widths(page, "export-key")
    page.set_viewport_size({"width": 1280, "height": 900})
    passphrase = "a long way from here"
    for name, text in (("reason", "The Java client on SERVER001 needs it."), ("passphrase", passphrase), ("again", "another")):
        tab_to(page, f"[name={name}]")
        page.keyboard.type(text)
    tab_to(page, "main form button.nhsuk-button[type=submit]")
    page.keyboard.press("Enter")
    problems = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(problems).to_contain_text("The two passphrases differ")
    settle(page)
    at_both_widths(page, "export-key-wrong", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.get_by_label("Why is the key taken out?")).to_have_value("The Java client on SERVER001 needs it.")
    for name in ("passphrase", "again"):
        expect(page.locator(f"input[name={name}]")).to_have_value("")
        tab_to(page, f"[name={name}]")
        page.keyboard.type(passphrase)
    tab_to(page, "main form button.nhsuk-button[type=submit]")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".p12")
    file = Path(download.value.path())
    command = ["openssl", "pkcs12", "-in", str(file), "-nocerts", "-nodes", "-passin", f"pass:{passphrase}"]
    told = subprocess.run(command, capture_output=True, check=True)
    assert b"PRIVATE KEY" in told.stdout
    page.goto(f"{site.url}/t/fleet/audit/")
    expect(page.get_by_text("took the private key out of").first).to_be_visible()


def fetched(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def gone(address: str) -> bool:
    try:
        fetched(address)
    except urllib.error.HTTPError as error:
        return error.code == 404
    return False
