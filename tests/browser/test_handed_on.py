"""Messages that are handed on, that wait for it and that were given up, with the keyboard alone: the overview says which."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import HANDING, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def put(site: Site, seed: int) -> tuple[str, str, str]:
    """Three messages: handed on, given up, and one that waits since the folder IN is away."""
    done, given_up, waits = site.portal.ask("put_received", mailbox_id=HANDING, sizes=[50, 60, 70], seed=seed, waits=True)
    inside = site.share / HANDING / "IN"
    site.portal.ask("hand_over_turn", mesh_id=done)
    site.portal.ask("wire_hand_over", mailbox_id=HANDING, folder=HANDING, enabled=False)
    site.portal.ask("hand_over_turn", mesh_id=given_up)
    site.portal.ask("wire_hand_over", mailbox_id=HANDING, folder=HANDING)
    inside.rename(inside.with_name("away"))
    site.portal.ask("hand_over_turn", mesh_id=waits)
    return done, given_up, waits


def open_message(page: Page, mesh_id: str) -> None:
    """From a list that holds it."""
    settle(page)
    # By its own name, since the rows of a list stand in the order of time.
    href = page.get_by_role("link", name=mesh_id).first.get_attribute("href")
    tab_to(page, f'main a[href="{href}"]', most=150)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Handed on")).to_be_visible()
    settle(page)


def looked_at(page: Page, name: str) -> None:
    at_both_widths(page, name, dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_from_the_overview_to_what_waits_and_again_by_hand(site: Site, new_page: NewPage) -> None:
    done, given_up, waits = put(site, 4100)
    page = new_page("operator", expected=(422,))
    settle(page)
    expect(page.get_by_text("cannot hand messages on. The mailbox's folder has no folder IN in it.")).to_be_visible()
    expect(page.get_by_text("has 1 message that could not be handed on.")).to_be_visible()
    looked_at(page, "handed-overview")
    tab_to(page, 'main a[href*="handed="]', most=150)
    assert page.evaluate("document.activeElement.textContent").strip().startswith(("See what waits", "See the message"))
    page.keyboard.press("Enter")
    settle(page)
    expect(page.get_by_role("link", name=waits).first).to_be_visible()
    expect(page.get_by_role("link", name=given_up).first).to_be_visible()
    expect(page.get_by_role("link", name=done)).to_have_count(0)
    looked_at(page, "handed-list")
    listed = page.url

    open_message(page, waits)
    section = page.get_by_role("region", name="Handed on")
    expect(section).to_contain_text("Waiting to be handed on")
    expect(section).to_contain_text("has no folder IN in it")
    expect(section).to_contain_text("the next one")
    expect(section.get_by_role("button", name="Hand on again")).to_have_count(0)
    looked_at(page, "handed-waits")

    page.goto(listed)
    open_message(page, given_up)
    expect(section).to_contain_text("Given up: needs a person")
    expect(section).to_contain_text("switched off")
    tab_to(page, "#confirm-hand-on-to-the-folder-again summary")
    page.keyboard.press("Enter")
    looked_at(page, "handed-given-up")
    tab_to(page, "#confirm-hand-on-to-the-folder-again button[type=submit]")
    page.keyboard.press("Enter")
    problems = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(problems).to_be_visible()
    expect(problems).to_contain_text("Say why this message is handed on again")
    settle(page)
    looked_at(page, "handed-no-reason")
    tab_to(page, "#confirm-hand-on-to-the-folder-again [name=reason]")
    page.keyboard.type("its consumer needs it")
    tab_to(page, "#confirm-hand-on-to-the-folder-again button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The message is handed on again, within about a minute.")).to_be_visible()
    expect(section).to_contain_text("Waiting to be handed on")
    settle(page)
    looked_at(page, "handed-again")

    inside = site.share / HANDING / "IN"
    inside.with_name("away").rename(inside)
    for mesh_id in (given_up, waits):
        site.portal.ask("hand_over_turn", mesh_id=mesh_id)
    page.goto(page.url)
    settle(page)
    expect(section.locator("dd").first).to_contain_text("Handed on")
    # The time stands below the tag, not against it.
    tag, when = section.locator("dd .portal-tag").bounding_box(), section.locator("dd .portal-under").bounding_box()
    assert tag and when and when["y"] >= tag["y"] + tag["height"] - 1
    expect(section.get_by_text("Hand on to the folder again")).to_be_visible()
    asked = page.get_by_role("listitem").filter(has_text="Asked to be handed on again")
    asked.locator("summary").press("Enter")
    expect(asked).to_contain_text("Omar Ops")
    expect(asked.get_by_text("its consumer needs it")).to_be_visible()
    looked_at(page, "handed-done")
    page.goto(f"{site.url}/t/fleet/")
    settle(page)
    expect(page.get_by_text("hand messages on.")).to_have_count(0)
    expect(page.get_by_text("could not be handed on")).to_have_count(0)
    assert sorted(path.name for path in inside.glob("4100_*.dat")) == sorted(f"{one}.dat" for one in (done, given_up, waits))
