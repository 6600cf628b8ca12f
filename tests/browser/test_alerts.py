"""Alerts and channels in a browser: acknowledging by keyboard alone, one alert from beginning to end, a channel with its test."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def staged(site: Site) -> dict[str, str]:
    found: dict[str, str] = site.portal.ask("notify", name="stage")
    return found


def test_the_pages_are_accessible_and_quiet(site: Site, staged: dict[str, str], new_page: NewPage) -> None:
    page = new_page("manager")
    addresses = {
        "alerts": "/t/fleet/alerts/",
        "alerts-mine": "/t/fleet/alerts/?show=mine",
        "alerts-none": "/t/fleet/alerts/?text=nothing-like-this",
        "alert": staged["alert"],
        "channels": "/t/fleet/channels/",
        "channel": staged["mail"],
        "channel-failing": staged["hook"],
        "channel-add": "/t/fleet/channels/add/",
        "channel-change": f"{staged['mail']}change/",
    }
    for name, address in addresses.items():
        page.goto(site.url + address)
        settle(page)
        at_both_widths(page, f"notify-{name}", dark=True)


def test_acknowledge_by_keyboard_alone(site: Site, staged: dict[str, str], new_page: NewPage) -> None:
    page = new_page("operator")
    page.goto(f"{site.url}/t/fleet/alerts/")
    settle(page)
    tab_to(page, "[data-select-all]")
    page.keyboard.press("Space")
    acts = page.get_by_role("group", name="Acts on the selected alerts")
    number = page.locator("tbody input[name=alert]").count()
    assert number > 3
    expect(acts.get_by_text(f"{number} alerts selected")).to_be_visible()
    expect(page.locator("#announce")).to_have_text(f"{number} alerts selected")
    tab_to(page, "tbody input[name=alert]")
    page.keyboard.press("Space")
    expect(page.locator("#announce")).to_have_text(f"{number - 1} alerts selected")
    at_both_widths(page, "notify-selected")
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, ".portal-selection__acts button")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"{number - 1} alerts acknowledged. They are not told again.")).to_be_visible()
    expect(page.locator("tbody input[name=alert]")).to_have_count(1)


def test_one_alert_is_assigned_commented_on_and_closed(site: Site, staged: dict[str, str], new_page: NewPage) -> None:
    page = new_page("operator")
    page.goto(site.url + staged["alert"])
    page.get_by_label("Who deals with it").select_option(label="Omar Ops")
    page.get_by_role("button", name="Assign").click()
    expect(page.get_by_text("Omar Ops deals with it.")).to_be_visible()
    page.get_by_label("Comment").fill("the password is on its way")
    page.get_by_role("button", name="Add the comment").click()
    expect(page.get_by_text("Comment: the password is on its way")).to_be_visible()
    page.get_by_label("Snooze for").select_option(label="4 hours")
    page.get_by_role("button", name="Snooze").click()
    expect(page.get_by_text("Snoozed. Nobody is told of it before then.")).to_be_visible()
    page.goto(f"{site.url}/t/fleet/alerts/?show=mine")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.goto(site.url + staged["alert"])
    page.get_by_text("Close this alert").click()
    page.get_by_label("Why is it closed?").fill("mended")
    page.get_by_role("button", name="Close the alert").click()
    expect(page.get_by_text("Closed. It stays closed unless")).to_be_visible()
    settle(page)
    at_both_widths(page, "notify-closed")


def test_add_a_channel_and_send_a_test(site: Site, staged: dict[str, str], new_page: NewPage) -> None:
    page = new_page("manager", expected=(422,))
    page.goto(f"{site.url}/t/fleet/channels/")
    page.get_by_role("button", name="Add a channel").click()
    page.get_by_label("Name").fill("Pathology office")
    page.get_by_label("Email", exact=True).check()
    page.get_by_label("Email addresses").fill("nobody")
    page.get_by_role("button", name="Add the channel").click()
    expect(page.get_by_role("alert").filter(has_text="There is a problem")).to_be_visible()
    settle(page)
    at_both_widths(page, "notify-channel-refused")
    page.get_by_label("Email addresses").fill("office@midshire.example")
    page.get_by_role("button", name="Add the channel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pathology office")
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("A test is on its way.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Test of this channel")).to_have_count(1)


def test_a_viewer_sees_and_changes_nothing(site: Site, staged: dict[str, str], new_page: NewPage) -> None:
    page = new_page("viewer")
    for address in ("/t/fleet/alerts/", staged["alert"], "/t/fleet/channels/", staged["mail"]):
        page.goto(site.url + address)
        found: Any = page.locator("main form[method=post]")
        expect(found).to_have_count(0)
