"""By keyboard alone: a certificate is requested, given, tested, and put in place of the old one, and taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from playwright.sync_api import Page, expect

from meshportal.demo.pki import Authority
from tests.browser.conftest import GOOD, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def sign(authority: Authority, csr_pem: str) -> str:
    """What the service desk sends back."""
    csr = x509.load_pem_x509_csr(csr_pem.encode())
    now = datetime.now(UTC)
    issuer = authority.certificate
    key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    made = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(issuer.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1095))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(authority.private_key(), hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def press(page: Page, selector: str, key: str = "Enter") -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, selector)
    page.keyboard.press(key)
    settle(page)


def test_request_receive_test_switch_undo_by_keyboard(site: Site, new_page: NewPage) -> None:
    page = new_page("manager", expected=(422,))
    page.goto(f"{site.url}/t/fleet/certificates/")
    press(page, "main a[href$='/certificates/request/']")
    at_both_widths(page, "certificate-request", dark=True)
    press(page, "main form button[type=submit]")
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("Enter the name of the certificate")
    at_both_widths(page, "certificate-request-wrong")
    for name, text in (("name", "Fleet 2029"), ("local_id", "server001"), ("ods_code", "X26")):
        if name == "local_id":
            press(page, "input[name=environment]", "ArrowDown")
            page.keyboard.press("ArrowDown")
        tab_to(page, f"input[name={name}]")
        page.keyboard.type(text)
    press(page, "input[name=why]", "Space")
    press(page, "main form button[type=submit]")
    expect(page.get_by_role("heading", level=1)).to_have_text("Request for Fleet 2029")
    at_both_widths(page, "certificate-requested", dark=True)
    whole = page.get_by_label("Text of the request").inner_text()
    assert "PRIVATE" not in page.content()
    tab_to(page, "textarea[name=pasted]")
    page.keyboard.insert_text(site.pki.clients[GOOD].certificate_pem.decode())
    press(page, "main form button[type=submit]")
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("requested with another key")
    at_both_widths(page, "certificate-requested-wrong")
    tab_to(page, "textarea[name=pasted]")
    page.keyboard.insert_text(sign(site.pki.authority, whole[whole.index("-----BEGIN") :]))
    press(page, "main form button[type=submit]")
    expect(page.get_by_text("The certificate “Fleet 2029” was received.")).to_be_visible()

    press(page, "main a[href*='/roll-over-to/']")
    at_both_widths(page, "roll-over-start", dark=True)
    press(page, "main form button[type=submit]")
    at_both_widths(page, "roll-over-begun")
    press(page, "form[action$='/test/'] button")
    expect(page.get_by_text("0 of 6 tested")).to_be_visible()
    at_both_widths(page, "roll-over-testing", dark=True)
    assert site.portal.ask("test_certificates") == 6
    # It comes by itself.
    expect(page.get_by_role("button", name="Switch all that passed (5)")).to_be_visible()
    expect(page.get_by_text("MESH refused the sign-in of this mailbox")).to_be_visible()
    settle(page)
    at_both_widths(page, "roll-over-tested", dark=True)
    press(page, "input[name=mailbox]", "Space")
    press(page, "main form:has(table) button[type=submit]")
    expect(page.get_by_text("1 mailbox switched to “Fleet 2029”.")).to_be_visible()
    press(page, "form:has(input[name=all]) button")
    expect(page.get_by_text("4 mailboxes switched to “Fleet 2029”.")).to_be_visible()
    site.portal.ask("poll", mailbox_id=GOOD)
    # At the next refresh, five seconds after the one before.
    expect(page.get_by_text("New, in use")).to_be_visible(timeout=20_000)
    settle(page)
    at_both_widths(page, "roll-over-switched", dark=True)
    press(page, "details.portal-confirm summary")
    press(page, "form[action$='/undo/'] button")
    expect(page.get_by_text("5 mailboxes back on “fleet”.")).to_be_visible()
    settle(page)
    at_both_widths(page, "roll-over-undone")
    # The old one's own page says so too.
    page.goto(site.url + site.addresses["certificates"][0])
    expect(page.locator("#replaced")).to_contain_text("Still needed")
    settle(page)
    at_both_widths(page, "certificate-still-needed", dark=True)
