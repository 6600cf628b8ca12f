"""Sending from the browser: with the keyboard, a progress bar, a twin that is warned of; and uploads that break or are large."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.bench.memory import resident
from tests.browser.conftest import GOOD, NewPage, Site
from tests.browser.test_journeys import tab_to
from tests.browser.test_pages import at_both_widths, settle

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

LETTER = b"PLANTED letter "


def fill(page: Page, site: Site, workflow_id: str, **more: str) -> None:
    """The first page, with the keyboard alone."""
    page.goto(f"{site.url}/t/fleet/messages/sent/")
    settle(page)
    tab_to(page, "a[href$='/messages/new/']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/messages/new/")
    settle(page)
    tab_to(page, "#id_mailbox")
    page.keyboard.type(GOOD)
    for name, text in {"workflow_id": workflow_id, "recipient": "YGM24HC001", **more}.items():
        tab_to(page, f"#id_{name}")
        page.keyboard.type(text)


def go_on(page: Page) -> None:
    tab_to(page, "main button[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/messages/new/[0-9a-f-]{36}/$"))
    settle(page)


def choose(page: Page, body: bytes, name: str = "letter.pdf") -> None:
    page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "application/pdf", "buffer": body})


def add_file(page: Page, body: bytes) -> None:
    choose(page, body)
    tab_to(page, "[data-upload-start]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Check and send")
    settle(page)


def test_from_the_list_to_the_outbox_with_the_keyboard_and_a_progress_bar(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", expected=(422,))
    fill(page, site, "COMPOSED_ONCE", local_id="patient 999 000 0018")
    at_both_widths(page, "compose", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    tab_to(page, "main button[type=submit]")
    page.keyboard.press("Enter")
    problems = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(problems).to_contain_text("The local ID holds an NHS number")
    page.locator("#id_local_id").fill("")
    go_on(page)
    at_both_widths(page, "compose-file", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})

    tab_to(page, "[data-upload-start]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Choose the file that is to be sent.")).to_be_visible()
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 500_000}
    line.send("Network.emulateNetworkConditions", slow)
    choose(page, LETTER * 300_000)
    page.locator("[data-upload-start]").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("progressbar", name="Upload")).to_be_visible()
    expect(page.locator("[data-upload-words]")).to_have_text(re.compile(r"^[1-9]\d?%, .* of 4\.5 MB$"))
    at_both_widths(page, "compose-progress")
    page.set_viewport_size({"width": 1280, "height": 900})
    # Stopped, nothing of it is kept; then it goes at full speed.
    page.get_by_role("button", name="Stop the upload").press("Enter")
    expect(page.get_by_role("progressbar", name="Upload")).to_be_hidden()
    line.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    add_file(page, LETTER * 300_000)
    at_both_widths(page, "compose-check", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    checks = page.get_by_role("region", name="Checks")
    expect(checks).to_contain_text("The same document has not gone to this recipient within the last 30 days.")
    expect(checks).to_contain_text("SANDBOX")
    agree(page)
    tab_to(page, "form[action$='/send/'] button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("It is in the outbox.")).to_be_visible()
    expect(page.get_by_text("letter.pdf").first).to_be_visible()
    settle(page)


def agree(page: Page) -> None:
    """The double may not name the recipient for the workflow: then it must be said that it is meant."""
    box = page.get_by_label("I have checked the mailbox ID with the recipient")
    if box.count():
        box.check()


def test_the_same_document_is_warned_of_and_goes_again_with_a_reason(site: Site, new_page: NewPage) -> None:
    page = new_page("operator", expected=(422,))
    for number in range(2):
        fill(page, site, "COMPOSED_TWICE")
        go_on(page)
        add_file(page, b"a letter that goes twice")
        if not number:
            agree(page)
            page.get_by_role("button", name="Send the message").press("Enter")
            expect(page.get_by_text("It is in the outbox.")).to_be_visible()
    checks = page.get_by_role("region", name="Checks")
    expect(checks).to_contain_text("Sent before")
    expect(checks).to_contain_text("Waiting to be sent")
    agree(page)
    at_both_widths(page, "compose-twin", dark=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_role("button", name="Send it again").press("Enter")
    problems = page.get_by_role("alert").filter(has_text="There is a problem")
    expect(problems).to_contain_text("Say why the same document is sent again")
    settle(page)
    tab_to(page, "#id_reason")
    page.keyboard.type("the practice lost it")
    tab_to(page, "#id_asked_by")
    page.keyboard.type("their reception")
    agree(page)
    page.get_by_role("button", name="Send it again").press("Enter")
    expect(page.get_by_role("region", name="Sendings of this document").get_by_role("listitem")).to_have_count(2)


def server(site: Site) -> int:
    """The process of the web server."""
    assert site.web.pid is not None
    return site.web.pid


def begun(page: Page, site: Site, workflow_id: str) -> str:
    """The address of a message that waits for its file."""
    fill(page, site, workflow_id)
    go_on(page)
    return page.url


class Line:
    """One request to take a file, written by hand over the signed-in person's session."""

    def __init__(self, page: Page, address: str, size: int) -> None:
        token = page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
        cookies = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
        parts = urlsplit(address)
        start = (
            f'--border\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
            '--border\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
        ).encode()
        self.end = b"\r\n--border--\r\n"
        head = (
            f"POST {parts.path}file/ HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookies}\r\nAccept: application/json\r\n"
            f"Origin: {parts.scheme}://{parts.netloc}\r\nContent-Type: multipart/form-data; boundary=border\r\n"
            f"Content-Length: {len(start) + size + len(self.end)}\r\nConnection: close\r\n\r\n"
        ).encode()
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60)
        self.socket.sendall(head + start)

    def answer(self) -> str:
        found = b""
        while block := self.socket.recv(65536):
            found += block
        self.socket.close()
        return found.decode()


def kept_files(site: Site) -> set[Path]:
    return {path for path in site.portal.folder.rglob("*.age") if path.is_file()}


def test_an_upload_that_breaks_off_leaves_nothing(site: Site, new_page: NewPage) -> None:
    page = new_page("operator")
    address = begun(page, site, "COMPOSED_CUT")
    before = kept_files(site)
    for border in (False, True):
        line = Line(page, address, 5_000_000)
        line.socket.sendall(LETTER * 100_000 + (b"\r\n--bord" if border else b""))
        line.socket.close()
    # A whole one afterwards shows that the portal went on.
    line = Line(page, address, 4)
    line.socket.sendall(b"body" + line.end)
    assert '{"next": "' in line.answer()
    deadline = time.monotonic() + 20
    while len(kept_files(site) - before) != 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(kept_files(site) - before) == 1
    page.goto(address)
    expect(page.get_by_text("4 bytes")).to_be_visible()


def test_a_large_file_costs_little_memory_and_never_lies_in_clear(site: Site, new_page: NewPage) -> None:
    page = new_page("operator")
    address = begun(page, site, "COMPOSED_LARGE")
    block, times = LETTER * 70_000, 300
    size = len(block) * times
    idle = resident(server(site))
    line = Line(page, address, size)
    for number in range(times):
        line.socket.sendall(block)
        if number % 60 == 30:
            for path in open_files(server(site)):
                assert LETTER not in path.read_bytes()[:50_000_000], path
    line.socket.sendall(line.end)
    assert '{"next": "' in line.answer()
    rise = resident(server(site), "VmHWM") - idle
    print(f"{size / 1e6:.0f} MB uploaded, memory rose by {rise:.0f} MB")
    assert rise < 80
    page.goto(address)
    expect(page.get_by_text("315 MB")).to_be_visible()
    page.locator("#confirm-discard-this-message summary").click()
    page.get_by_role("button", name="Discard the message").click()
    expect(page.get_by_text("Discarded. Nothing was sent")).to_be_visible()


def open_files(pid: int) -> list[Path]:
    """Every regular file that the process and its children hold open, named or not."""
    pids = [pid]
    for one in pids:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
    return [path for one in pids for path in Path(f"/proc/{one}/fd").iterdir() if path.is_file() and path.stat().st_size]
