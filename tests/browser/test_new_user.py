"""A new user on a clean install, who follows only what is on screen; then a whole onboarding by keyboard alone.

The portal here is empty but for what whoever runs it does once: the trust bundle, a team, its first manager. MESH is the
official sandbox.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from meshportal.demo.pki import Identity
from meshportal.demo.processes import free_port
from meshportal.demo.redis_server import RedisServer
from meshportal.demo.sandbox import PASSWORD, Sandbox
from tests.browser.conftest import MAILBOX_PASSWORD, PLANTED, SECRETS, WEBHOOK_SECRET, Complaints, Plants, serve
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle
from tests.browser.watched import MARK
from tests.fleet.portal import Portal

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
EMAIL = "nora.new@newtown.example"


MOST_SECONDS = 300


@dataclass
class Install:
    """A portal that nobody has used yet."""

    url: str
    password: str
    plants: Plants
    portal: Portal


@pytest.fixture
def install(need: Callable[[str], None], sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    need("redis")
    need("chromium")
    folder = tmp_path_factory.mktemp("install")
    port = free_port()
    password = f"sign-in-{secrets.token_hex(8)}"
    settings = {"MESHPORTAL_SECURE": "0", "ALLOWED_HOSTS": "localhost", "MESHPORTAL_SANDBOX_SHARED_KEY": sandbox.shared_key}
    with (
        RedisServer(folder / "redis") as redis,
        Portal(folder / "portal", url=sandbox.base_url, redis_url=redis.url, settings=settings) as portal,
    ):
        ca = sandbox.pki.authority.certificate_pem.decode()
        portal.ask("clean_install", ca=ca, email=EMAIL, password=password)
        portal.ask("collect_static")
        plants = Plants(folder)
        plants.add(*PLANTED, password, sandbox.shared_key, *(portal.environment[name] for name in SECRETS))
        with serve(portal, folder, port, plants) as web:
            web.wait_for_http(f"http://localhost:{port}/livez", timeout=40)
            yield Install(f"http://localhost:{port}", password, plants, portal)
            assert plants.found() == []


@pytest.fixture
def page(browser: Browser, install: Install) -> Iterator[Page]:
    """A browser that nobody is signed in with."""
    complaints = Complaints()
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="Europe/London")
    made = context.new_page()
    made.set_default_timeout(15_000)
    complaints.listen(made, expected=(422,))
    yield made
    context.close()
    assert complaints.said == []
    assert install.plants.found() == []


def sign_in(page: Page, install: Install) -> None:
    answer = page.goto(install.url)
    assert answer is not None and answer.headers[MARK.lower()] == "1"
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(install.password)
    page.get_by_role("button", name="Sign in").click()


def add_certificate(page: Page, client: Identity, name: str) -> None:
    page.get_by_label("Name of the certificate").fill(name)
    page.get_by_label("Sandbox").check()
    page.get_by_label("Or paste text in PEM form").fill((client.certificate_pem + client.key_pem).decode())
    page.get_by_role("button", name="Add the certificate").click()
    expect(page.get_by_text(f"The certificate “{name}” was added.")).to_be_visible()


def test_from_sign_in_to_a_green_handshake(install: Install, sandbox: Sandbox, page: Page) -> None:
    began = time.monotonic()
    sign_in(page, install)
    # The first page says what comes first, and leads there.
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    settle(page)
    at_both_widths(page, "new-overview")
    page.set_viewport_size({"width": 1280, "height": 900})
    steps = page.get_by_role("region", name="First steps")
    steps.get_by_role("link", name="Add a certificate").click()
    add_certificate(page, sandbox.pki.clients["X26ABC1"], "Our certificate")
    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Overview").click()
    page.get_by_role("region", name="First steps").get_by_role("link", name="Add a mailbox").click()
    page.get_by_label("Sandbox", exact=True).check()
    page.get_by_label("Mailbox ID").fill("x26abc1")
    page.get_by_label("Name of the mailbox").fill("Pathology results")
    page.get_by_label("ODS code", exact=True).fill("X26")
    # A first mistake: the form says what is missing, and gives no password back.
    page.get_by_label("Password of the mailbox").fill(f"{MAILBOX_PASSWORD} ")
    page.get_by_role("button", name="Add the mailbox").click()
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("begins or ends with a space")
    expect(page.get_by_label("Password of the mailbox")).to_have_value("")
    settle(page)
    at_both_widths(page, "new-mailbox-wrong", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Password of the mailbox").fill(PASSWORD)
    page.get_by_role("button", name="Add the mailbox").click()
    expect(page.get_by_text("Pathology results (X26ABC1) was added. Check its connection now")).to_be_visible()
    page.get_by_role("button", name="Check the connection").click()
    expect(page.locator(".portal-verdict")).to_contain_text("The mailbox connects", timeout=60_000)
    handshake = page.locator(".portal-doctor__step").filter(has_text="Handshake")
    expect(handshake).to_have_class("portal-doctor__step portal-doctor__step--good")
    assert time.monotonic() - began < MOST_SECONDS


def press(page: Page, selector: str, key: str = "Enter") -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, selector)
    page.keyboard.press(key)
    settle(page)


def fill(page: Page, **texts: str) -> None:
    for name, text in texts.items():
        tab_to(page, f"[name={name}]")
        page.keyboard.insert_text(text)


SUBMIT = "main form.portal-form button[type=submit]"


def test_an_onboarding_by_keyboard_alone(install: Install, sandbox: Sandbox, page: Page) -> None:
    sign_in(page, install)
    page.wait_for_url("**/t/newtown/")
    settle(page)
    press(page, ".portal-nav__link[href$='/mailboxes/']")
    press(page, "main a[href$='/onboarding/']")
    at_both_widths(page, "onboarding-none")
    press(page, "main a[href$='/onboarding/start/']")
    press(page, SUBMIT)
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("Enter the ODS code")
    at_both_widths(page, "onboarding-start-wrong", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    fill(page, ods_code="x26")
    press(page, "[name=organisation_type]", "ArrowDown")
    fill(page, purpose="Discharge letters")
    press(page, "[name=environment]", "ArrowUp")
    press(page, SUBMIT)
    expect(page.get_by_text("1 of 8 steps are done.")).to_be_visible()
    at_both_widths(page, "onboarding", dark=True)

    press(page, "a[href$='/details/']")
    fill(page, contact_name="Ada Admin", contact_email="ada@newtown.example", sends="TOC_FHIR_IP_DISCH")
    at_both_widths(page, "onboarding-details")
    page.set_viewport_size({"width": 1280, "height": 900})
    press(page, SUBMIT)
    press(page, "a[href$='/application/']")
    at_both_widths(page, "onboarding-application", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("The day on which you sent it").fill(time.strftime("%Y-%m-%d"))
    press(page, SUBMIT)
    expect(page.get_by_text("NHS England is to answer by")).to_be_visible()
    at_both_widths(page, "onboarding-waiting")

    press(page, "a[href*='/onboarding/'][href$='/mailbox/']")
    fill(page, mailbox_id="X26ABC2", password=MAILBOX_PASSWORD, name="Discharge")
    press(page, SUBMIT)
    press(page, "a[href$='/certificate/']")
    at_both_widths(page, "onboarding-certificate", dark=True)
    if not page.locator("[name=identity]").count():
        press(page, "main a[href$='/certificates/import/']")
        add_certificate(page, sandbox.pki.clients["X26ABC1"], "Our certificate")
        page.go_back()
        page.go_back()
        page.reload()
    press(page, "[name=identity]", "Space")
    press(page, SUBMIT)
    press(page, "a[href$='/connection/']")
    press(page, "form[action$='/try/'] button")
    expect(page.get_by_text("MESH refused the sign-in").first).to_be_visible()
    at_both_widths(page, "onboarding-refused", dark=True)

    # The password was wrong. The new one is tried before it is kept.
    press(page, ".portal-breadcrumb a[href$='/onboarding/']")
    at_both_widths(page, "onboardings", dark=True)
    press(page, "main tbody a")
    press(page, "a[href*='/onboarding/'][href$='/mailbox/']")
    press(page, "main a[href$='/password/']")
    fill(page, password=f"{MAILBOX_PASSWORD}-two")
    press(page, SUBMIT)
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("the one that was there too")
    at_both_widths(page, "password-wrong", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    fill(page, password=PASSWORD)
    press(page, SUBMIT)
    expect(page.get_by_text("MESH took the new password of Discharge (X26ABC2).")).to_be_visible()
    at_both_widths(page, "mailbox-onboarding")
    press(page, "main a[href*='/onboarding/']")
    press(page, "a[href$='/connection/']")
    press(page, "form[action$='/try/'] button")
    expect(page.get_by_text("MESH took the sign-in of Discharge (X26ABC2).")).to_be_visible()
    press(page, ".portal-breadcrumb li:last-child a")
    press(page, "a[href$='/mode/']")
    at_both_widths(page, "onboarding-mode", dark=True)
    press(page, "[name=mode]", "ArrowDown")
    press(page, SUBMIT)
    press(page, "a[href$='/people/']")
    press(page, "[name=owner]", "ArrowDown")
    press(page, SUBMIT)
    expect(page.get_by_text("Everything is done")).to_be_visible()
    at_both_widths(page, "onboarding-ready", dark=True)
    press(page, "form[action$='/live/'] button")
    expect(page.get_by_text("Discharge (X26ABC2) is live, in")).to_be_visible()
    at_both_widths(page, "onboarding-live")

    # Settings, a pause and its end, tags: by keyboard too.
    press(page, "main a[href*='/mailboxes/']:not([href*='onboarding'])")
    press(page, ".portal-tabs__tab[href$='/settings/']")
    press(page, "[name=mode]:checked", "ArrowDown")
    fill(page, webhook_url="https://hook.example/in", webhook_secret=WEBHOOK_SECRET)
    press(page, SUBMIT)
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_contain_text("Say why the mode changes")
    expect(page.locator("[name=webhook_secret]")).to_have_value("")
    at_both_widths(page, "settings-wrong", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    fill(page, reason="cut-over", webhook_secret=WEBHOOK_SECRET)
    press(page, SUBMIT)
    expect(page.get_by_text("The settings of Discharge are changed.")).to_be_visible()
    press(page, ".portal-tabs__tab[href$='/settings/']")
    press(page, "main a[href$='/notes/']")
    fill(page, tags="letters, go-live", notes="Ring the ward first.")
    press(page, SUBMIT)
    expect(page.get_by_role("link", name="go-live")).to_be_visible()
    press(page, ".portal-tabs__tab[href$='/settings/']")
    press(page, "main a[href$='/pause/']")
    fill(page, reason="LIMS upgrade")
    press(page, "[name=length]", "Space")
    press(page, SUBMIT)
    expect(page.get_by_text("Why: LIMS upgrade")).to_be_visible()
    at_both_widths(page, "mailbox-paused", dark=True)
    press(page, "form[action$='/resume/'] button")
    expect(page.get_by_text("is taken up again in")).to_be_visible()
    press(page, ".portal-tabs__tab[href$='/settings/']")
    press(page, "main a[href$='/close/']")
    fill(page, reason="merger")
    press(page, SUBMIT)
    expect(page.get_by_role("heading", name="Being closed")).to_be_visible()
    at_both_widths(page, "mailbox-closing", dark=True)
