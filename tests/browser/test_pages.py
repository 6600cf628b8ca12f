"""Every page at 1280 and 375 pixels: axe finds nothing, nothing overflows, the browser complains of nothing."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Site, screenshot

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

WIDTHS = [1280, 375]
_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}


def accessible(page: Page) -> None:
    """Axe, and what axe does not look at: links that read alike lead alike, nothing is wider than the window."""
    found = Axe().run(page, options=_RULES)
    assert [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found.response["violations"]
    ] == []
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide} px wider than the window"
    links: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('main a[href]')].filter(a => a.offsetParent)"
        ".map(a => [(a.getAttribute('aria-label') || a.textContent).replace(/\\s+/g, ' ').trim(), a.href])"
    )
    by_text: dict[str, set[str]] = {}
    for text, href in links:
        assert text, f"a link to {href} has no words"
        by_text.setdefault(text, set()).add(href)
    # Ids and file names may recur; words that say what to do may not lead to two places.
    assert {
        text for text, targets in by_text.items() if len(targets) > 1 and " " in text and not text.startswith("result")
    } == set()
    assert page.title().endswith("meshportal")
    assert page.locator("h1").count() == 1


def every_page(site: Site) -> list[str]:
    return [
        "/t/fleet/",
        "/t/fleet/mailboxes/",
        "/t/fleet/mailboxes/?state=problem",
        "/t/fleet/mailboxes/?text=nothing-like-this",
        "/t/fleet/messages/",
        "/t/fleet/messages/?state=quarantined",
        "/t/fleet/messages/?q=nothing-like-this",
        "/t/fleet/messages/?received_after=not-a-date",
        "/t/fleet/messages/sent/",
        "/t/fleet/messages/sent/?state=uncertain",
        "/t/fleet/messages/sent/?state=recoverable",
        "/t/fleet/messages/sent/?day=5",
        "/t/fleet/messages/sent/?q=nothing-like-this",
        "/t/fleet/messages/?q=letter-5.txt",
        "/t/fleet/messages/sent/resend-all/",
        "/t/fleet/messages/sent/resend-all/?state=returned",
        "/t/fleet/messages/sent/restore/?state=recoverable",
        "/t/fleet/messages/resends/",
        "/t/fleet/workflows/",
        "/t/fleet/certificates/",
        "/t/fleet/certificates/?text=nothing-like-this",
        "/t/fleet/certificates/import/",
        "/t/fleet/certificates/calendar/",
        f"{site.addresses['certificates'][0]}export-key/",
        "/t/fleet/certificates/trust/",
        "/t/fleet/addresses/",
        "/t/fleet/addresses/?text=nothing-like-this",
        "/t/fleet/addresses/add/",
        "/t/fleet/audit/",
        "/t/fleet/audit/?action=nothing-like-this",
        *(address for kind in sorted(site.addresses) for address in site.addresses[kind]),
    ]


def settle(page: Page) -> None:
    """Waits until scripts ran and fragments that fill themselves are in."""
    # By locators: the page's policy lets nobody evaluate strings, a test neither.
    expect(page.locator("html[data-scripts=ready]")).to_be_attached()
    expect(page.locator(".htmx-request, .htmx-settling")).to_have_count(0)


def at_both_widths(page: Page, name: str, *, dark: bool = False) -> None:
    """Axe at both widths in the light scheme, and once more in the dark one where its colours stand for the page's kind."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        accessible(page)
        screenshot(page, f"{name}-{width}")
    if dark:
        page.emulate_media(color_scheme="dark")
        accessible(page)
        page.emulate_media(color_scheme="light")


def test_every_page_is_accessible_and_quiet(site: Site, new_page: NewPage) -> None:
    page = new_page("manager")
    kinds: set[str] = set()
    for number, address in enumerate(every_page(site)):
        page.goto(site.url + address)
        settle(page)
        kind = re.sub(r"[0-9a-f-]{36}.*|\?.*", "", address)
        at_both_widths(page, f"{number:02d}", dark=kind not in kinds)
        kinds.add(kind)


def test_pages_without_a_team_are_accessible_too(site: Site, new_page: NewPage) -> None:
    page = new_page(None, expected=(404, 405))
    for address in ("/sign-in/", "/sign-in/?next=/t/fleet/"):
        page.goto(site.url + address)
        at_both_widths(page, "sign-in")
    signed_in = new_page("viewer", expected=(404, 405))
    for number, address in enumerate(("/t/nobody/", "/nothing/", "/t/fleet/audit/")):
        signed_in.goto(site.url + address)
        at_both_widths(signed_in, f"not-found-{number}")


def test_every_preview_is_accessible_and_runs_nothing(site: Site, new_page: NewPage) -> None:
    page = new_page("manager")
    page.on("dialog", lambda dialog: pytest.fail(f"a script of a sender ran: {dialog.message}"))
    assert len(site.addresses["bodies"]) >= 8
    for number, address in enumerate(site.addresses["bodies"]):
        page.goto(site.url + address)
        assert page.get_by_role("radio").count() > 0
        page.get_by_label("Checking a delivery problem").check()
        page.get_by_role("button", name="Record and open").click()
        expect(page.locator("h1")).to_contain_text("Body of message")
        settle(page)
        at_both_widths(page, f"preview-{number}", dark=True)


def test_without_scripts_every_page_still_works(site: Site, new_page: NewPage) -> None:
    page = new_page("manager", java_script_enabled=False)
    page.goto(f"{site.url}/t/fleet/messages/")
    page.get_by_role("link", name="Older").click()
    assert "cursor=" in page.url
    page.goto(f"{site.url}/t/fleet/messages/?q=discharge.xml")
    assert page.get_by_text("discharge.xml").first.is_visible()
