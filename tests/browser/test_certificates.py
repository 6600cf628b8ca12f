"""Bringing a certificate in by keyboard alone, from a mistake to its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from meshportal.demo.pki import create_authority
from tests.browser.conftest import PASSPHRASE, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_a_certificate_is_brought_in_by_keyboard_after_a_mistake(site: Site, new_page: NewPage, tmp_path: Path) -> None:
    issued = create_authority("Keyboard CA").client("KEYS001", "X26")
    page = new_page("manager", expected=(422,))
    page.goto(f"{site.url}/t/fleet/")
    tab_to(page, ".portal-nav__link[href$='/certificates/']")
    page.keyboard.press("Enter")
    settle(page)
    at_both_widths(page, "certificates", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "main a[href$='/certificates/import/']")
    page.keyboard.press("Enter")
    settle(page)
    at_both_widths(page, "certificate-import", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "input[name=name]")
    page.keyboard.type("By keyboard")
    tab_to(page, "input[name=environment]")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    tab_to(page, "textarea[name=pasted]")
    page.keyboard.insert_text(issued.certificate_pem.decode())
    tab_to(page, "input[name=passphrase]")
    page.keyboard.type(PASSPHRASE)
    tab_to(page, "main form button[type=submit]")
    page.keyboard.press("Enter")
    problems = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(problems).to_contain_text("There is no private key in the pasted text")
    settle(page)
    at_both_widths(page, "certificate-import-wrong")
    page.set_viewport_size({"width": 1280, "height": 900})
    # What is harmless was kept, what may be secret was not.
    expect(page.get_by_label("Name of the certificate")).to_have_value("By keyboard")
    expect(page.get_by_label("Or paste text in PEM form")).to_have_value("")
    expect(page.locator("input[name=passphrase]")).to_have_value("")
    tab_to(page, "textarea[name=pasted]")
    page.keyboard.insert_text((issued.key_pem + issued.certificate_pem).decode())
    tab_to(page, "main form button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The certificate “By keyboard” was added.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("By keyboard")
    expect(page.get_by_text("KEYS001, X26")).to_be_visible()
    settle(page)
    at_both_widths(page, "certificate", dark=True)


def test_a_file_is_brought_in_and_the_list_sorted_and_filtered(site: Site, new_page: NewPage, tmp_path: Path) -> None:
    issued = create_authority("File CA").client("FILE001", "X26", key_kind="rsa")
    (tmp_path / "mesh.pem").write_bytes(issued.certificate_pem + issued.key_pem)
    page = new_page("manager")
    page.goto(f"{site.url}/t/fleet/certificates/import/")
    page.get_by_label("Name of the certificate").fill("From a file")
    page.get_by_label("Sandbox").check()
    page.locator("input[type=file][name=file]").set_input_files(tmp_path / "mesh.pem")
    page.get_by_role("button", name="Add the certificate").click()
    expect(page.get_by_text("The certificate “From a file” was added.")).to_be_visible()
    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Certificates").click()
    settle(page)
    page.get_by_role("link", name="Common name").click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Common name")
    page.get_by_label("Name, common name or issuer").fill("file001")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("From a file")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "FILE001.X26" in Path(download.value.path()).read_text(encoding="utf-8-sig")
