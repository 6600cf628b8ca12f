"""Many mailboxes by a file, with the keyboard: refused, looked at, imported, examined, and those that failed once more."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import FilePayload, Page, expect

from meshportal.core import csvout
from tests.browser.conftest import FILE_PASSWORD, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PREFIX, PASSWORD = "X26BR", FILE_PASSWORD
_RUN = itertools.count(1)
HEAD = ["mailbox_id", "environment", "ods_code", "name", "password", "certificate", "mode", "poll_seconds"]


@pytest.fixture
def names(site: Site) -> Iterator[list[str]]:
    """Three mailboxes that MESH knows, the last with a password that nobody was told."""
    found = [f"{PREFIX}{next(_RUN)}N{number}" for number in range(3)]
    for name in found[:2]:
        site.double.add_mailbox(name, PASSWORD)
    site.double.add_mailbox(found[2], "another")
    yield found
    site.portal.ask("forget_imported", prefix=PREFIX)


def choose(page: Page, text: str) -> None:
    payload = FilePayload(name="wards.csv", mimeType="text/csv", buffer=text.encode())
    page.locator("input[type=file]").set_input_files(payload)


def file_of(*rows: list[str]) -> str:
    return "".join(csvout.lines(HEAD, rows))


def row(name: str, mode: str = "watch", ward: str = "Ward") -> list[str]:
    return [name, "sandbox", "X26", f"{ward} {name[-1]}", PASSWORD, "fleet", mode, "3600"]


def press(page: Page, selector: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, selector, most=160)
    page.keyboard.press("Enter")
    settle(page)
    assert PASSWORD not in page.content()


def test_import_examine_retry_by_keyboard(site: Site, new_page: NewPage, names: list[str]) -> None:
    page = new_page("manager", expected=(422,), accept_downloads=True)
    page.goto(f"{site.url}/t/fleet/mailboxes/")
    settle(page)
    press(page, "main a[href$='/mailboxes/import/']")
    expect(page.get_by_role("heading", level=1)).to_have_text("Import and export mailboxes")
    at_both_widths(page, "import", dark=True)
    with page.expect_download() as started:
        page.get_by_role("link", name="Download an empty template").click()
    assert started.value.path().read_text(encoding="utf-8-sig").startswith("mailbox_id,environment,")

    choose(page, file_of(row(names[0], PASSWORD), row("no id")))
    press(page, "main form button[type=submit]")
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("The file has 2 problems")
    expect(page.get_by_text("Write one of: collect, watch, paused.")).to_be_visible()
    at_both_widths(page, "import-refused", dark=True)

    choose(page, file_of(*(row(name) for name in names[:2]), row(names[2], "collect")))
    press(page, "main form button[type=submit]")
    expect(page.get_by_text("This file would add 3 mailboxes. Nothing was done yet.")).to_be_visible()
    expect(page.get_by_text("1 mailbox will collect")).to_be_visible()
    at_both_widths(page, "import-plan", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "main textarea[name=reason]")
    page.keyboard.type("the new wards")
    press(page, "main form.portal-form button[type=submit]")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Connection check")
    expect(page.get_by_role("progressbar", name="Mailboxes checked")).to_have_attribute("value", "0")
    at_both_widths(page, "examination-under-way", dark=True)
    assert site.portal.ask("run_examinations") == 3
    # It comes by itself, and is said once.
    expect(page.get_by_text("2 mailboxes connect, 1 mailbox does not.").first).to_be_visible(timeout=20_000)
    expect(page.locator("#announce")).to_have_text("Some do not connect: 2 mailboxes connect, 1 mailbox does not.")
    settle(page)
    at_both_widths(page, "examination-done", dark=True)
    site.double.update_mailbox(names[2], password=PASSWORD)
    site.portal.ask("ask_again_now")
    press(page, "form[action$='/again/'] button")
    expect(page.get_by_text("2 of 3 checked")).to_be_visible()
    assert site.portal.ask("run_examinations") == 1
    expect(page.get_by_text("3 mailboxes connect.").first).to_be_visible(timeout=20_000)

    press(page, "nav[aria-label=Breadcrumb] a[href*='/imports/']")
    expect(page.get_by_text("3 mailboxes added, 0 mailboxes changed, 0 unchanged.")).to_be_visible()
    at_both_widths(page, "import-done")


def test_the_bulk_edit_without_scripts(site: Site, new_page: NewPage, names: list[str]) -> None:
    page = new_page("manager", java_script_enabled=False, accept_downloads=True)
    address = f"{site.url}/t/fleet/mailboxes/import/"
    page.goto(address)
    choose(page, file_of(row(names[0])))
    page.get_by_role("button", name="See what it would do").click()
    page.get_by_role("button", name="Import: add 1").click()
    page.goto(address)
    with page.expect_download() as started:
        page.get_by_role("link", name="as CSV").click()
    exported = started.value.path().read_text(encoding="utf-8-sig")
    assert PASSWORD not in exported and names[0] in exported
    edited = exported.replace("Ward 0", "Ward zero")
    choose(page, edited)
    page.get_by_role("button", name="See what it would do").click()
    expect(page.get_by_text("This file would change 1 mailbox.")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Changed")).click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("name from Ward 0 to Ward zero")
    page.get_by_role("button", name="Discard the file").click()
    expect(page.get_by_text("Discarded. Nothing was imported")).to_be_visible()
