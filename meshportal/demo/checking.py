"""``make demo-check``: a whole demonstration in a folder of its own, judged by what arrived and by what the pages show."""

from __future__ import annotations

import json
import re
import time
from collections import Counter

import httpx

from meshportal.demo import letters, world
from meshportal.demo.processes import free_port
from meshportal.demo.running import Demo, Say, running
from meshportal.demo.stage import DemoError, Stage

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ASSET = re.compile(r'(?:href|src)="(/static/[^"]+)"')


def check(stage: Stage, *, deadline: float, say: Say) -> int:
    """0 when every message that the portal should collect was stored and acknowledged, every message that it sent came to
    its end, and the pages were served."""
    began = time.monotonic()
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    sent: dict[str, int] = {}
    failed = 0
    try:
        with running(stage, port=free_port(), say=say, given=False) as demo:
            from meshportal.demo import outgoing

            say("Waiting until the portal has stored and acknowledged every message, and sent its own.")
            demo.watch(until=lambda: _all_in(demo) or time.monotonic() - began > deadline)
            missing = _missing(demo)
            counts, failed, sent = _counts(demo), len(missing), outgoing.counts(demo.register)
            wrong += missing[:20]
            say("Opening pages as a newcomer would.")
            wrong += _pages(demo)
            if wrong:
                suspects = [service for service in demo.services if service.name in ("web", "poll-worker", "send-worker")]
                wrong += [f"{service.name}, last lines of its log:\n{service.log_tail(25)}" for service in suspects]
    except DemoError as error:
        wrong.append(str(error))
    for line in wrong:
        say(line)
    verdict = {
        "mailboxes": counts["mailboxes"],
        "stored": counts["stored"],
        "acknowledged": counts["acknowledged"],
        "sent": sent,
        "failed": failed,
        "seconds": round(time.monotonic() - began, 1),
    }
    say(json.dumps(verdict))
    return 1 if wrong else 0


def _expected(demo: Demo) -> dict[str, str]:
    """Message ids of what the portal collects, with their keys."""
    reports = (letters.EARLY_REPORT, letters.LATE_REPORT)
    homes = {letter.key: letter.recipient for letter in letters.letters()} | {one.key: one.mailbox_id for one in reports}
    return {
        demo.register.ids.get(key, f"(never sent: {key})"): key
        for key, mailbox_id in homes.items()
        if world.BY_ID[mailbox_id].collects
    }


def _states() -> dict[str, str]:
    from messages.models import Message

    # The same message stands in no second mailbox, but its sender's team may know it too: the last state counts.
    return dict(Message.objects.filter(direction="in").values_list("mesh_id", "state"))


def _all_in(demo: Demo) -> bool:
    return not _missing(demo)


def _missing(demo: Demo) -> list[str]:
    """A sentence for every message that is not where it should be, and for every mailbox in an unexpected state."""
    from mailboxes.models import Mailbox
    from meshportal.demo import outgoing

    states = _states()
    missing = [
        f"{key} ({mesh_id}) is {states.get(mesh_id, 'not known to the portal')}."
        for mesh_id, key in _expected(demo).items()
        if states.get(mesh_id) != "acknowledged"
    ]
    watched = {key for key in demo.register.ids if key.startswith("watched-")}
    missing += [
        f"{key} is {states.get(demo.register.ids[key], 'not known to the portal')}, but should only be watched."
        for key in sorted(watched)
        if states.get(demo.register.ids[key]) != "watched"
    ]
    missing += outgoing.missing(demo.register)
    for row in Mailbox.objects.all():
        spec = world.BY_ID[row.mailbox_id]
        should_fail = spec.mode != "paused" and spec.password != world.MAILBOXES[0].password
        if bool(row.problem_code) != should_fail:
            missing.append(f"Mailbox {row.mailbox_id}: {row.problem or 'its wrong password was not noticed.'}")
    return missing


def _counts(demo: Demo) -> Counter[str]:
    from mailboxes.models import Mailbox
    from messages.models import Message

    expected = _expected(demo)
    rows = Message.objects.filter(mesh_id__in=list(expected))
    return Counter(
        mailboxes=Mailbox.objects.count(),
        stored=rows.filter(stored_at__isnull=False).count(),
        acknowledged=rows.filter(state="acknowledged").count(),
    )


def _pages(demo: Demo) -> list[str]:
    """Signs in and opens the first pages; a sentence for each that was not served."""
    wrong: list[str] = []
    team = world.TEAMS[0].slug
    person = next(one for one in world.PEOPLE if (team, "operator") in one.roles)
    with httpx.Client(base_url=demo.address, timeout=20, trust_env=False) as browser:
        page = browser.get("/sign-in/")
        token = _TOKEN.search(page.text)
        if page.status_code != 200 or token is None:
            return [f"The sign-in page was answered with {page.status_code}."]
        assets = {asset: browser.get(asset).status_code for asset in sorted(set(_ASSET.findall(page.text)))}
        wrong += [f"{asset} was answered with {status}." for asset, status in assets.items() if status != 200]
        form = {"csrfmiddlewaretoken": token[1], "username": person.email, "password": demo.stage.secret("password")}
        answer = browser.post("/sign-in/", data=form, headers={"Referer": demo.address})
        if answer.status_code != 302:
            return [*wrong, f"Signing in as {person.email} was answered with {answer.status_code}."]
        for path, words in {
            "/": "",
            f"/t/{team}/": "",
            f"/t/{team}/mailboxes/": "RZ9HC001",
            f"/t/{team}/messages/": "TOC_FHIR_IP_DISCH_ACK",
            f"/t/{team}/messages/sent/": "Refused, not sent",
        }.items():
            shown = browser.get(path, follow_redirects=True)
            # Long words may break where <wbr> says so.
            if shown.status_code != 200 or words not in shown.text.replace("<wbr>", ""):
                wrong.append(f"{path} was answered with {shown.status_code}" + (f", without {words!r}." if words else "."))
        if (status := browser.get("/t/dales/").status_code) != 404:
            wrong.append(f"Another team's page was answered with {status}, not 404.")
    return wrong
