"""A running MESH client is brought in with the keyboard, watched, taken over in its own folders, and given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.conftest import GOOD, NewPage, Site
from tests.browser.test_imports import press
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths
from tests.clients.conftest import cfg, client

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

BOX = "X26CLB01"


@pytest.fixture
def keystore(site: Site) -> bytes:
    found = site.pki.clients[GOOD]
    key = serialization.load_pem_private_key(found.key_pem, None)
    assert isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
    certificate = x509.load_pem_x509_certificate(found.certificate_pem)
    return pkcs12.serialize_key_and_certificates(
        b"mesh",
        key,
        certificate,
        None,
        serialization.BestAvailableEncryption(b"PLANTED-store"),
    )


@pytest.fixture
def folders(site: Site) -> Iterator[None]:
    for name in ("IN", "OUT", "SENT", "FAILED"):
        (site.share / BOX / name).mkdir(parents=True)
    yield
    site.portal.ask("forget_clients", prefix=BOX)


def choose(page: Page, data: bytes, keystore: bytes) -> None:
    for field, name, content in (("config", "meshclient.cfg", data), ("keystore", "mesh.keystore", keystore)):
        payload = FilePayload(name=name, mimeType="application/octet-stream", buffer=content)
        page.locator(f"input[name={field}]").set_input_files(payload)


@pytest.mark.usefixtures("folders")
def test_brought_in_taken_over_and_given_back(site: Site, new_page: NewPage, keystore: bytes) -> None:
    page = new_page("manager", expected=(422,))
    page.goto(f"{site.url}/t/fleet/mailboxes/import/")
    page.get_by_role("link", name="Bring in the mailboxes of a running MESH client").click()
    at_both_widths(page, "client-import", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Sandbox").check()
    page.get_by_label("ODS code of the organisation").fill("X26")
    choose(page, b"<MESHConfig>\n<Client>", keystore)
    press(page, "main form.portal-form button[type=submit]")
    expect(page.get_by_text("Line 2: this is not well-formed XML").first).to_be_visible()
    at_both_widths(page, "client-refused")
    page.set_viewport_size({"width": 1280, "height": 900})

    choose(page, cfg(client(BOX, ClientAuthentication="ENC(PLANTED)", Shiny="1")), keystore)
    page.get_by_label("Passphrase of the keystore").fill("PLANTED-store")
    press(page, "main form.portal-form button[type=submit]")
    expect(page.get_by_text("This would add 1 mailbox in watch mode. Nothing was done yet.")).to_be_visible()
    assert "PLANTED" not in page.content()
    at_both_widths(page, "client-lines", dark=True)
    press(page, "main form.portal-form button[type=submit]")
    expect(page.get_by_text(f"Enter the password of {BOX}").first).to_be_visible()
    at_both_widths(page, "client-password")
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, f"input[name=password_{BOX}]")
    page.keyboard.type("PLANTED-typed")
    press(page, "main form.portal-form button[type=submit]")
    expect(page.get_by_text("They are only watched: nothing is taken from the client.")).to_be_visible()

    page.get_by_role("link", name=BOX).first.click()
    page.get_by_role("link", name="Take over from its own client").click()
    expect(page.get_by_label("Folder of the mailbox")).to_have_value(BOX)
    at_both_widths(page, "cut-over", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Why does the portal take over?").fill("the old server ends")
    press(page, "main form.portal-form button[type=submit]")
    expect(page.get_by_text("Stop the client for this mailbox first").first).to_be_visible()
    at_both_widths(page, "cut-over-refused")
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "input[name=stopped]")
    page.keyboard.press("Space")
    press(page, "main form.portal-form button[type=submit]")
    expect(page.get_by_text("The portal has taken over")).to_be_visible()
    page.get_by_role("link", name="Give back to a client of its own").click()
    at_both_widths(page, "cut-back")
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "main textarea[name=reason]")
    page.keyboard.type("not yet")
    press(page, "main form.portal-form button[type=submit]")
    expect(page.get_by_text("The portal only watches now.")).to_be_visible()
