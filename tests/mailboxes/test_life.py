"""Pausing and taking up again, tags and notes, closing: by services, by the clock and by page."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, connections
from django.utils import timezone

from mailboxes import alerts, lifecycle, services
from mailboxes.models import Mailbox
from meshportal.accounts.models import User
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused

pytestmark = pytest.mark.django_db
ACTOR = Actor.command("tests")
DAY = timedelta(days=1)


def address(mailbox: Mailbox, tail: str = "") -> str:
    return f"/t/{mailbox.team.slug}/mailboxes/{mailbox.pk}/{tail}"


def said(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def kinds(rule: Any, now: datetime | None = None) -> list[str]:
    return [condition.kind for condition in rule(now or timezone.now())]


# --- Pausing ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["collect", "watch"])
def test_a_pause_ends_by_itself_in_the_mode_before_it(mailbox: Any, mode: str) -> None:
    box, other = mailbox(mode=mode), mailbox()
    lifecycle.pause(actor=ACTOR, mailbox=box, reason="upgrade", until=timezone.now() + timedelta(hours=1))
    box.refresh_from_db()
    assert (box.mode, box.pause_reason, box.resume_mode, box.revision) == ("paused", "upgrade", mode, 1)
    assert lifecycle.resume_due() == 0
    assert lifecycle.resume_due(timezone.now() + timedelta(minutes=61)) == 1
    box.refresh_from_db()
    assert (box.mode, box.pause_reason, box.paused_at, box.paused_until) == (mode, "", None, None)
    assert box.revision == 2
    other.refresh_from_db()
    assert other.revision == 0
    events = list(AuditEvent.objects.order_by("id").values_list("actor_label", "reason"))
    assert events[1] == ("meshportal scheduler", "The pause ended: upgrade")
    assert lifecycle.resume_due(timezone.now() + DAY) == 0


def test_a_pause_without_an_end_lasts(mailbox: Any) -> None:
    box = mailbox()
    lifecycle.pause(actor=ACTOR, mailbox=box, reason="upgrade")
    assert lifecycle.resume_due(timezone.now() + timedelta(days=400)) == 0
    assert lifecycle.resume(actor=ACTOR, mailbox=box).endswith("is taken up again in collect mode.")
    with pytest.raises(Refused, match="not paused any more"):
        lifecycle.resume(actor=ACTOR, mailbox=box)


def test_a_mailbox_paused_long_ago_by_an_older_portal_is_watched_first(mailbox: Any) -> None:
    box = mailbox(mode="paused")
    lifecycle.resume(actor=ACTOR, mailbox=box)
    box.refresh_from_db()
    assert box.mode == "watch"


@pytest.mark.parametrize(
    ("reason", "after", "field"),
    [("", None, "reason"), ("  ", None, "reason"), ("x", -DAY, "until"), ("x", timedelta(days=31), "until")],
)
def test_a_pause_that_cannot_be(mailbox: Any, reason: str, after: timedelta | None, field: str) -> None:
    box = mailbox()
    until = None if after is None else timezone.now() + after
    with pytest.raises(ValidationError) as refused:
        lifecycle.pause(actor=ACTOR, mailbox=box, reason=reason, until=until)
    assert field in refused.value.message_dict
    box.refresh_from_db()
    assert box.mode == "collect" and not AuditEvent.objects.exists()


def test_the_settings_end_a_pause_too(mailbox: Any) -> None:
    box = mailbox()
    lifecycle.pause(actor=ACTOR, mailbox=box, reason="upgrade", until=timezone.now() + DAY)
    services.change_mailbox(actor=ACTOR, mailbox=box, mode="watch", reason="done")
    box.refresh_from_db()
    assert (box.mode, box.paused_until, box.resume_mode) == ("watch", None, "")


def test_one_that_cannot_be_taken_up_stops_no_other(mailbox: Any, identity: Any, other_team: Any) -> None:
    bad, good = mailbox(), mailbox()
    for box in (bad, good):
        lifecycle.pause(actor=ACTOR, mailbox=box, reason="upgrade", until=timezone.now() + timedelta(hours=1))
    Mailbox.objects.filter(pk=bad.pk).update(workflow_filter="*X")
    assert lifecycle.resume_due(timezone.now() + DAY / 2) == 1
    for box, mode in ((bad, "paused"), (good, "collect")):
        box.refresh_from_db()
        assert box.mode == mode
    # It is not forgotten: an hour after its end the rule finds it, once it was paused for a day.
    assert kinds(alerts.paused, timezone.now() + timedelta(hours=25)) == [alerts.PAUSED]


@pytest.mark.parametrize(
    ("paused_for", "until_in", "found"),
    [
        (timedelta(hours=23), None, False),
        (timedelta(hours=25), None, True),
        (timedelta(hours=25), DAY, False),
        (timedelta(days=3, hours=23), DAY, False),
        (timedelta(days=4, hours=1), DAY, True),
        (timedelta(hours=25), timedelta(minutes=-59), False),
        (timedelta(hours=25), timedelta(minutes=-61), True),
    ],
)
def test_when_a_pause_is_an_alert(mailbox: Any, paused_for: timedelta, until_in: timedelta | None, found: bool) -> None:
    now = timezone.now()
    until = None if until_in is None else now + until_in
    mailbox(mode="paused", paused_at=now - paused_for, paused_until=until)
    assert bool(kinds(alerts.paused, now)) == found


@pytest.mark.crash
@pytest.mark.django_db(transaction=True)
def test_two_workers_take_it_up_once(mailbox: Any) -> None:
    box = mailbox()
    lifecycle.pause(actor=ACTOR, mailbox=box, reason="upgrade", until=timezone.now() + timedelta(seconds=30))
    later = timezone.now() + DAY / 4
    barrier, done = threading.Barrier(2), []

    def work() -> None:
        try:
            barrier.wait(10)
            done.append(lifecycle.resume_due(later))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == [0, 1], connection.vendor
    box.refresh_from_db()
    assert (box.mode, box.revision) == ("collect", 2)


def test_pages_of_a_pause(mailbox: Any, signed_in: Any) -> None:
    box = mailbox()
    browser = signed_in("manager")
    assert "nothing is collected and nothing sent" in said(browser.get(address(box, "pause/")))
    for fields, words in (
        ({}, "Say why it is paused"),
        ({"reason": "x"}, "Say for how long"),
        ({"reason": "x", "length": "9"}, "Select a valid choice"),
        ({"reason": "x", "length": "day"}, "Enter the day"),
        ({"reason": "x", "length": "day", "day": "tomorrow"}, "Enter a day, such as"),
        ({"reason": "x", "length": "day", "day": "1999-01-01"}, "within the next 30 days"),
        ({"reason": "x", "length": "day", "day": "9999-12-31"}, "within the next 30 days"),
    ):
        answer = browser.post(address(box, "pause/"), fields)
        assert answer.status_code == 422 and words in said(answer), fields
    assert not AuditEvent.objects.exists()
    answer = browser.post(address(box, "pause/"), {"reason": "LIMS upgrade", "length": "4"}, follow=True)
    assert "is paused until" in said(answer) and "Why: LIMS upgrade" in said(answer)
    assert "This mailbox is paused already." in said(browser.post(address(box, "pause/"), {"reason": "x", "length": "1"}))
    answer = browser.post(address(box, "resume/"), follow=True)
    assert "taken up again in collect mode" in said(answer)
    audit = said(browser.get("/t/midshire/audit/"))
    assert "paused until from nothing to" in audit


# --- Tags and notes -----------------------------------------------------------------------------------------------------
def test_tags_and_notes(mailbox: Any, signed_in: Any) -> None:
    box, _other = mailbox(name="Ours"), mailbox(name="Another")
    browser = signed_in("manager")
    seen = lifecycle.noted(box)
    fields = {"seen": seen, "tags": " Pathology ,go-live  2027,, pathology", "notes": "Ring 943 476 5919\n<b>x</b>"}
    assert "are kept" in said(browser.post(address(box, "notes/"), fields, follow=True))
    box.refresh_from_db()
    assert (box.tag_list, box.revision) == (["go-live 2027", "pathology"], 0)
    html = browser.get(address(box)).content.decode()
    assert "&lt;b&gt;x&lt;/b&gt;" in html and "943 476 5919" not in html
    listed = said(browser.get("/t/midshire/mailboxes/?tag=PATHOLOGY"))
    assert "Ours" in listed and "Another" not in listed
    assert "0 mailboxes" in said(browser.get("/t/midshire/mailboxes/?tag=path"))
    event = AuditEvent.objects.get()
    assert event.after == {"tags": "go-live 2027, pathology", "notes": "changed"}
    # Somebody who saw them as they were.
    answer = browser.post(address(box, "notes/"), {"seen": seen, "tags": "x", "notes": ""})
    assert answer.status_code == 422 and "Somebody else changed this mailbox" in said(answer)
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tags": ",".join(f"t{n}" for n in range(21))}, "at most 20 tags"),
        ({"tags": "x" * 301}, "at most 300 characters"),
        ({"notes": "x" * 4001}, "within 4,000 characters"),
        ({"notes": "a\x00b"}, "Null characters"),
        ({"seen": ""}, "seen"),
    ],
)
def test_notes_that_cannot_be(mailbox: Any, signed_in: Any, fields: dict[str, str], words: str) -> None:
    box = mailbox()
    sent = {"seen": lifecycle.noted(box), "tags": "", "notes": "", **fields}
    answer = signed_in("manager").post(address(box, "notes/"), sent)
    assert answer.status_code == 422 and words in said(answer)
    assert not AuditEvent.objects.exists()


# --- Closing ------------------------------------------------------------------------------------------------------------
def closing(box: Mailbox, days: int) -> Mailbox:
    lifecycle.close(actor=ACTOR, mailbox=box, reason="merger")
    Mailbox.objects.filter(pk=box.pk).update(closing_at=timezone.now() - timedelta(days=days))
    box.refresh_from_db()
    return box


@pytest.mark.parametrize(("mode", "then"), [("collect", "collect"), ("watch", "watch"), ("paused", "watch")])
def test_a_closing_mailbox_is_worked_for_its_run_off(mailbox: Any, mode: str, then: str) -> None:
    box = closing(mailbox(mode=mode), 0)
    assert box.mode == then
    with pytest.raises(Refused, match="Its run-off lasts until"):
        lifecycle.archive(actor=ACTOR, mailbox=box)
    with pytest.raises(ValidationError, match="being closed already"):
        lifecycle.close(actor=ACTOR, mailbox=box, reason="again")
    assert kinds(alerts.closing) == []


def test_after_its_run_off_it_is_closed_for_good_and_its_history_stays(mailbox: Any, message: Any, signed_in: Any) -> None:
    box = closing(mailbox(waiting_count=2), 36)
    letter = message(mailbox=box, body=b"a letter")
    assert kinds(alerts.closing) == [alerts.CLOSING]
    with pytest.raises(Refused, match="still holds 2 of its messages"):
        lifecycle.archive(actor=ACTOR, mailbox=box)
    Mailbox.objects.filter(pk=box.pk).update(waiting_count=0)
    browser = signed_in("manager")
    assert "Close it for good" in said(browser.get(address(box)))
    assert "is closed. Its history stays." in said(browser.post(address(box, "archive/"), follow=True))
    box.refresh_from_db()
    assert box.mode == "paused" and box.archived_at is not None
    assert kinds(alerts.closing) == kinds(alerts.paused, timezone.now() + 9 * DAY) == []
    assert browser.get(f"/t/midshire/messages/{letter.pk}/").status_code == 200
    assert box.name not in said(browser.get("/t/midshire/mailboxes/"))
    assert box.name in said(browser.get("/t/midshire/mailboxes/?state=closed"))
    # Nothing takes it up by accident.
    with pytest.raises(Refused, match="Open it again first"):
        lifecycle.resume(actor=ACTOR, mailbox=box)
    with pytest.raises(ValidationError, match="Open it again first"):
        services.change_mailbox(actor=ACTOR, mailbox=box, mode="collect", reason="x")
    assert "is open again" in said(browser.post(address(box, "keep-open/"), follow=True))
    opened = Mailbox.objects.get()
    assert (opened.mode, opened.closing_at, opened.archived_at) == ("watch", None, None)
    actions = list(AuditEvent.objects.order_by("id").values_list("action", flat=True))
    assert actions == [
        "mailbox.closing", "mailbox.changed", "mailbox.archived", "mailbox.kept_open", "mailbox.changed",
    ]  # fmt: skip


def test_closing_by_page_and_keeping_open(mailbox: Any, signed_in: Any) -> None:
    box = mailbox()
    browser = signed_in("manager")
    assert browser.post(address(box, "close/"), {"reason": ""}).status_code == 422
    answer = browser.post(address(box, "close/"), {"reason": "merger"}, follow=True)
    assert "is being closed" in said(answer) and "Send nothing from it" in said(answer)
    assert "Send a message" not in said(answer)
    assert box.name in said(browser.get("/t/midshire/mailboxes/?state=closing"))
    assert "no longer being closed" in said(browser.post(address(box, "keep-open/"), follow=True))
    assert "not being closed" in said(browser.post(address(box, "keep-open/"), follow=True))
    assert "Begin closing this mailbox first" in said(browser.post(address(box, "archive/"), follow=True))
    assert User.objects.count() == 1


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
def test_others_see_what_is_so_and_can_do_nothing(role: str, mailbox: Any, signed_in: Any) -> None:
    box = closing(mailbox(), 36)
    browser = signed_in(role)
    html = browser.get(address(box)).content.decode()
    assert "Its run-off is over" in html and "Close it for good" not in html
    for tail in ("pause/", "resume/", "notes/", "close/", "keep-open/", "archive/"):
        assert browser.post(address(box, tail), {"reason": "x"}).status_code == 404
