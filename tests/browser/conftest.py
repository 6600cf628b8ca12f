"""One portal for all browser tests, filled by its own receive flow, and a browser that remembers every complaint."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.processes import LOOPBACK, Service, free_port
from meshportal.demo.redis_server import RedisServer
from tests.browser.letters import LETTERS
from tests.double.process import DoubleProcess
from tests.fleet.portal import ROOT, Portal

GOOD, REFUSED, POISONED, WATCHED, EMPTY, HANDING = (f"X26HC00{number}" for number in range(1, 7))
PEOPLE = {
    role: f"{name}@midshire.example"
    for role, name in {"viewer": "vera.view", "operator": "omar.ops", "manager": "mina.manage", "auditor": "ada.audit"}.items()
}
# What people type or the portal holds, and no response may hold; sign-in words and keys are added to them.
MAILBOX_PASSWORD = "planted-password-of-a-mailbox"
WEBHOOK_SECRET = "planted-secret-of-a-webhook-with-32-letters"
PASSPHRASE = "planted-passphrase-of-a-key"
# A key under a passphrase may go out, to whoever asked for it.
CLEAR_KEYS = tuple(f"BEGIN {kind}PRIVATE KEY" for kind in ("", "RSA ", "EC "))
FILE_PASSWORD = "PLANTED-password"
PLANTED = (MAILBOX_PASSWORD, WEBHOOK_SECRET, PASSPHRASE, FILE_PASSWORD, *CLEAR_KEYS, "AGE-SECRET-KEY-1")
SECRETS = ("SECRET_KEY", "MESHPORTAL_KEYS", "MESHPORTAL_PAYLOAD_KEYS")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@dataclass
class Plants:
    """What was planted, and where a response held it (see tests.browser.watched)."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"BROWSER_PLANTED": str(self.folder / "planted"), "BROWSER_LEAKS": str(self.folder / "leaks")}

    def add(self, *texts: str) -> None:
        with (self.folder / "planted").open("a") as file:
            file.writelines(f"{text}\n" for text in texts)

    def found(self) -> list[str]:
        leaks = self.folder / "leaks"
        return leaks.read_text().splitlines() if leaks.exists() else []


def serve(portal: Portal, folder: Path, port: int, plants: Plants) -> Service:
    """The portal's web process, whose every response is read for what was planted."""
    command = [sys.executable, "-m", "gunicorn", "tests.browser.watched", "--bind", f"{LOOPBACK}:{port}", "--threads", "4"]
    environment = {**portal.environment, **plants.environment}
    return Service("web", command, log=folder / "web.log", env=environment, cwd=ROOT)


@dataclass
class Site:
    """A running portal. ``addresses`` are pages by kind (see tests.fleet.operations.addresses)."""

    url: str
    password: str
    portal: Portal
    double: DoubleProcess
    web: Service
    share: Path
    pki: Pki
    plants: Plants
    addresses: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="session")
def site(need: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Six mailboxes: healthy, refused, with a message that needs a person, watched, one that was never polled, and one that
    hands on to its folder under ``share``."""
    need("redis")
    need("chromium")
    folder = tmp_path_factory.mktemp("site")
    pki = create_pki([(GOOD, "X26")])
    port = free_port()
    # A pass word, so that nothing in the repository looks like a secret.
    password = f"sign-in-{secrets.token_hex(8)}"
    share = folder / "share"
    (share / HANDING / "IN").mkdir(parents=True)
    settings = {
        "MESHPORTAL_SECURE": "0",
        "ALLOWED_HOSTS": "localhost",
        "MESHPORTAL_MAX_ATTEMPTS": "1",
        "MESHPORTAL_FOLDER_ROOT": str(share),
    }
    with (
        RedisServer(folder / "redis") as redis,
        DoubleProcess(folder / "double", pki) as double,
        Portal(folder / "portal", url=double.base_url, redis_url=redis.url, settings=settings) as portal,
    ):
        every = (GOOD, REFUSED, POISONED, EMPTY, HANDING, WATCHED)
        for box in every:
            double.add_mailbox(box, "another" if box == REFUSED else MAILBOX_PASSWORD)
        common = {"poll_interval_seconds": 3600, "password": MAILBOX_PASSWORD}
        boxes = [{"mailbox_id": box, "mode": "watch" if box == WATCHED else "collect", **common} for box in every]
        portal.seed(pki, boxes, identity=GOOD)
        portal.ask("add_people", password=password, emails=PEOPLE)
        portal.ask("collect_static")
        for letter in LETTERS:
            double.put(GOOD, **letter)
        for number in range(60):
            double.put(GOOD, f"Result {number}", workflow_id="PATH_MEDRPT_V3", file_name=f"result-{number:03d}.txt")
        double.put(POISONED, b"x", corrupt="cut", workflow_id="TOC_FHIR_IP_DISCH", file_name="broken.xml")
        double.put_many(WATCHED, 3, workflow_id="GPFED_CONSULT_REPORT")
        portal.ask("wire_hand_over", mailbox_id=HANDING, folder=HANDING)
        for box in (GOOD, REFUSED, POISONED, WATCHED):
            portal.ask("poll", mailbox_id=box)
        portal.ask("stage_outbox", mailbox_id=GOOD, recipient="YGM24HC001")
        plants = Plants(folder)
        plants.add(*PLANTED, password, "TestKey", *(portal.environment[name] for name in SECRETS))
        web = serve(portal, folder, port, plants)
        with web:
            web.wait_for_http(f"http://localhost:{port}/livez", timeout=40)
            site = Site(f"http://localhost:{port}", password, portal, double, web, share, pki, plants, portal.ask("addresses"))
            yield site
            assert plants.found() == []


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for the session."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield started
        started.close()


@dataclass
class Complaints:
    """What the browser complained of: errors on the console, policy violations, failed requests."""

    said: list[str] = field(default_factory=list)

    def listen(self, page: Page, *, expected: tuple[int, ...] = ()) -> None:
        """Remembers what ``page`` complains of; answers with an ``expected`` status are none."""

        def console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and not any(f"status of {code}" in message.text for code in expected):
                self.said.append(f"{message.type} on {page.url}: {message.text}")

        page.on("console", console)
        page.on("pageerror", lambda error: self.said.append(f"script error on {page.url}: {error}"))
        # What the browser gives up by itself is none: a picture of the page before, a page that became a download.
        page.on(
            "requestfailed",
            lambda request: (
                None if request.failure == "net::ERR_ABORTED" else self.said.append(f"failed: {request.url} {request.failure}")
            ),
        )
        page.on(
            "response",
            lambda answer: (
                self.said.append(f"{answer.status} {answer.url}")
                if answer.status >= 400 and answer.status not in expected
                else None
            ),
        )


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser, site: Site) -> Iterator[NewPage]:
    """Makes a page of its own context, signed in with a role; at the end nothing may have been complained of."""
    contexts: list[BrowserContext] = []
    complaints = Complaints()

    def make(role: str | None = "manager", *, width: int = 1280, expected: tuple[int, ...] = (), **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, locale="en-GB", timezone_id="Europe/London", **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        if role is not None:
            sign_in(page, site, role)
        complaints.listen(page, expected=expected)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints.said == []
    # Here too, so that the test is named in which a password came back.
    assert site.plants.found() == []


def sign_in(page: Page, site: Site, role: str) -> None:
    """As a person does."""
    page.goto(f"{site.url}/sign-in/")
    page.get_by_label("Email address").fill(PEOPLE[role])
    page.get_by_label("Password", exact=True).fill(site.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/t/fleet/")


def screenshot(page: Page, name: str) -> None:
    """Kept where MESHPORTAL_TEST_SCREENSHOTS names a folder, for people who want to look."""
    import os

    folder = os.environ.get("MESHPORTAL_TEST_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)
