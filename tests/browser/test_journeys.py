"""What people come for, done as they do it: with the mouse, and with the keyboard alone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import GOOD, PEOPLE, NewPage, Site
from tests.browser.test_pages import at_both_widths

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_find_a_message_read_it_and_see_that_this_is_recorded(site: Site, new_page: NewPage) -> None:
    page = new_page("manager", expected=(422,))
    page.get_by_role("searchbox", name="Search messages").fill("discharge.xml")
    page.keyboard.press("Enter")
    row = page.get_by_role("row").filter(has_text="discharge.xml")
    expect(row).to_have_count(1)
    expect(page.get_by_text("Mrs Jones")).to_have_count(0)
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_text("Mrs Jones")).to_have_count(0)
    page.get_by_role("button", name="View body").click()

    page.get_by_role("button", name="Record and open").click()
    summary = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(summary).to_be_visible()
    expect(page).to_have_title(re.compile("^Error: "))
    summary.get_by_role("link").first.click()
    assert page.evaluate("document.activeElement.name") == "why"
    expect(page.get_by_text("A discharge summary.")).to_have_count(0)

    page.get_by_label("A clinician or practice asked").check()
    page.get_by_label("In your own words").fill("ticket 4711")
    page.get_by_role("button", name="Record and open").click()
    expect(page.get_by_text("A discharge summary.").first).to_be_visible()
    expect(page.get_by_text("Discharge of Mrs Jones").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "discharge.xml"

    page.get_by_role("link", name="Audit").first.click()
    expect(page.get_by_role("row").filter(has_text="ticket 4711").first).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="ticket 4711")).to_have_count(2)
    expect(page.get_by_text("Mina Manage").first).to_be_visible()


def tab_to(page: Page, selector: str, *, most: int = 80) -> None:
    """Presses Tab until the element that ``selector`` matches has the focus, and checks that the focus can be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            seen = page.evaluate(
                "() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();"
                " return (s.outlineStyle !== 'none' || s.boxShadow !== 'none') && r.width > 0 }"
            )
            assert seen, f"the focus on {selector} cannot be seen"
            return
    raise AssertionError(f"{selector} cannot be reached with the Tab key on {page.url}")


def test_the_same_with_the_keyboard_alone(site: Site, new_page: NewPage) -> None:
    page = new_page(None)
    page.goto(f"{site.url}/sign-in/")
    tab_to(page, "input[name=username]")
    page.keyboard.type(PEOPLE["operator"])
    tab_to(page, "input[name=password]")
    page.keyboard.type(site.password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/t/fleet/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to main content"
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    page.keyboard.type("discharge.xml")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=discharge.xml**")
    tab_to(page, "main tbody a")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/messages/[0-9a-f-]{36}/$"))
    tab_to(page, "main a[href$='/body/']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/body/")
    tab_to(page, "input[type=radio][name=why]")
    page.keyboard.press("Space")
    tab_to(page, "main form button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("A discharge summary.").first).to_be_visible()


def test_poll_now_says_what_happened(site: Site, new_page: NewPage) -> None:
    page = new_page("operator")
    page.goto(site.url + site.addresses["mailboxes"][4])
    page.get_by_role("button", name="Poll now").first.click()
    expect(page.get_by_role("alert")).to_be_visible()
    viewer = new_page("viewer")
    viewer.goto(site.url + site.addresses["mailboxes"][4])
    expect(viewer.get_by_role("button", name="Poll now")).to_have_count(0)


def test_the_refused_mailbox_says_what_to_do_and_stands_on_the_overview(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    expect(page.get_by_text("MESH refused the sign-in of this mailbox").first).to_be_visible()
    page.goto(site.url + site.addresses["mailboxes"][1])
    expect(page.get_by_text("MESH refused the sign-in of this mailbox").first).to_be_visible()
    expect(page.get_by_text("Check the mailbox's password first").first).to_be_visible()


def test_filters_change_the_address_and_the_back_button_undoes_them(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.goto(f"{site.url}/t/fleet/messages/")
    page.get_by_label("State", exact=True).select_option(index=1)
    page.wait_for_url("**state=**")
    page.wait_for_load_state("networkidle")
    page.go_back()
    page.wait_for_load_state("networkidle")
    assert "state=" not in page.url
    expect(page.get_by_role("row").nth(5)).to_be_visible()


def test_paging_by_htmx_moves_the_focus_and_says_so(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.goto(f"{site.url}/t/fleet/messages/")
    name = page.locator("main tbody tr th a, main tbody tr a").first.inner_text()
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**cursor=**")
    rows = page.locator("main tbody tr")
    expect(rows.first).not_to_contain_text(name)
    assert page.evaluate("document.activeElement !== document.body")
    page.get_by_role("link", name="Newer").click()
    expect(rows.first).to_contain_text(name)


def test_a_new_message_appears_by_itself_and_a_hidden_page_stops_asking(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "x-portal-refresh" in request.headers else None)
    page.clock.install()
    page.goto(site.url + site.addresses["inboxes"][0])
    expect(page.locator("html[data-scripts=ready]")).to_be_attached()
    put = site.double.put(GOOD, b"late", workflow_id="LATE_LETTER", file_name="late.txt")
    site.portal.ask("poll", mailbox_id=GOOD)
    expect(page.get_by_text("late.txt")).to_have_count(0)
    page.clock.run_for(40_000)
    expect(page.get_by_text("late.txt").first).to_be_visible()
    assert put.message_id
    assert len(asked) >= 1
    # Hidden: it stops.
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    before = len(asked)
    page.clock.run_for(600_000)
    assert len(asked) == before


def test_a_session_that_ended_leads_to_the_sign_in_page_and_back(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.goto(f"{site.url}/t/fleet/messages/")
    page.context.clear_cookies()
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**/sign-in/**")
    assert "next=" in page.url


def test_sign_out_ends_it(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.locator(".portal-header__person summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/**")
    page.goto(f"{site.url}/t/fleet/messages/")
    assert "/sign-in/" in page.url


def test_the_content_security_policy_is_this_one(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    answer = page.goto(f"{site.url}/t/fleet/")
    assert answer is not None
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


def test_decide_on_a_message_that_may_have_arrived(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", expected=(422,))
    page.get_by_role("link", name="Decide").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Outbox of")
    page.get_by_role("row").filter(has_text="Needs a decision").get_by_role("link").first.click()
    expect(page.get_by_text("The whole message: No answer came")).to_be_visible()
    at_both_widths(page, "decide", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})

    page.get_by_role("button", name="Record the decision").click()
    summary = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(summary.get_by_role("link")).to_have_count(2)
    summary.get_by_role("link").first.click()
    assert page.evaluate("document.activeElement.name") == "decision"
    page.get_by_label("It did not arrive: send it again").check()
    page.get_by_label("How do you know?").fill("Their reception looked, and has nothing of that day")
    page.get_by_role("button", name="Record the decision").click()
    expect(page.get_by_text("The message is sent again, within about a minute.")).to_be_visible()
    expect(page.get_by_text("Decided to send it again")).to_be_visible()

    page.get_by_text("Cancel this message").click()
    page.get_by_label("Why is this message cancelled?").fill("They found it after all")
    # What was typed is not taken away by a refresh, nor by looking elsewhere.
    page.get_by_role("heading", level=1).click()
    page.wait_for_timeout(11_000)
    expect(page.get_by_label("Why is this message cancelled?")).to_have_value("They found it after all")
    page.get_by_role("button", name="Cancel the message").click()
    expect(page.get_by_text("The message is cancelled. Nothing of it was sent.")).to_be_visible()
    expect(page.get_by_text("They found it after all").first).to_be_visible()


def test_from_received_to_sent_with_the_same_search(site: Site, new_page: NewPage) -> None:
    page = new_page("viewer")
    page.goto(f"{site.url}/t/fleet/messages/?q=letter-1.txt")
    page.get_by_role("link", name="Sent (1)", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sent messages")
    expect(page.get_by_role("row").filter(has_text="letter-1.txt")).to_have_count(1)
