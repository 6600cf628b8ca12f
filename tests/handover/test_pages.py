"""What people see of messages that are handed on, and what they can do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from mailboxes import outlets
from mailboxes.models import Mailbox, Outlet
from meshportal.audit.models import AuditEvent
from meshportal.console import handed_on
from messages.models import Handed, HandOver, MessageEvent
from tests.conftest import Make
from tests.handover.conftest import ACTOR, SECRET, Go, Stored, only

pytestmark = pytest.mark.django_db


def page(browser: Any, row: Any) -> str:
    return str(browser.get(reverse("messages:detail", kwargs={"team": row.team.slug, "pk": row.pk})).content.decode())


def test_the_page_says_where_it_stands_and_lets_an_operator_hand_on_again(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, signed_in: Any
) -> None:
    row = stored()
    operator = signed_in("operator")
    shown = page(operator, row)
    assert "Waiting to be handed on" in shown and "Hand on again" not in shown
    go()
    shown = page(operator, row)
    assert "Handed on to the mailbox" in shown and "Hand on again" in shown
    assert "Hand on again" not in page(signed_in("viewer"), row)
    url = reverse("messages:hand-on-folder", kwargs={"team": row.team.slug, "pk": row.pk})
    empty = operator.post(url, {"reason": ""})
    assert empty.status_code == 422 and "Say why this message is handed on again" in empty.content.decode()
    assert operator.post(url.replace("/folder/", "/webhook/"), {"reason": "because"}).status_code == 404
    assert operator.post(url, {"reason": "the consumer lost it"}).status_code == 302
    assert only().state == Handed.PENDING and only().tries == 0
    event = AuditEvent.objects.get(action="message.handed_on_again")
    assert event.reason == "the consumer lost it" and event.after["channel"] == "folder"
    operator.post(url, {"reason": "once more"})
    assert AuditEvent.objects.filter(action="message.handed_on_again").count() == 1, "it waits already"
    assert MessageEvent.objects.filter(kind="hand_over_again").count() == 1


def test_what_a_consumer_does_not_have_is_on_the_overview_and_in_the_filter(
    to_folder: Mailbox, home: Path, stored: Stored, go: Go, signed_in: Any, team: Any, other_team: Any
) -> None:
    from django.utils import timezone

    done = stored(b"done")
    go()
    (home / "IN").rename(home / "elsewhere")
    row = stored(b"waits")
    go()
    [line] = handed_on.lines(team, timezone.now())
    assert "cannot hand messages on" in line.sentence and "1 message waits" in line.sentence
    browser = signed_in("viewer")
    listed = browser.get(line.url).content.decode()
    assert row.mesh_id in listed and done.mesh_id not in listed
    assert list(handed_on.lines(other_team, timezone.now())) == []
    shown = page(browser, row)
    assert "no folder IN in it" in shown and "the next one" in shown
    box = browser.get(reverse("mailboxes:detail", kwargs={"team": team.slug, "pk": to_folder.pk})).content.decode()
    assert "Handed on to" in box and "no folder IN in it" in box
    HandOver.objects.filter(message=row).update(state=Handed.FAILED)
    Outlet.objects.update(problem_code="")
    [line] = handed_on.lines(team, timezone.now())
    assert "1 message that could not be handed on" in line.sentence
    overview = browser.get(reverse("console:overview", kwargs={"team": team.slug})).content.decode()
    assert "could not be handed on" in overview


def set_mailbox(*arguments: str) -> str:
    said = io.StringIO()
    call_command("set_mailbox", *arguments, stdout=said, stderr=said)
    return said.getvalue()


def test_it_is_set_at_the_command_line_and_the_secret_is_never_shown(
    home: Path, mailbox: Make, signed_in: Any, monkeypatch: Any, caplog: Any
) -> None:
    box = mailbox()
    with pytest.raises(CommandError, match="has no folder"):
        set_mailbox(box.mailbox_id, "--hand-on-to-folder")
    set_mailbox(box.mailbox_id, "--folder", "box", "--hand-on-to-folder")
    assert Outlet.objects.get().enabled
    with pytest.raises(CommandError, match="https://"):
        set_mailbox(box.mailbox_id, "--webhook", "http://example.test/hook")
    monkeypatch.setenv("MESHPORTAL_WEBHOOK_SECRET", "short")
    with pytest.raises(CommandError, match="at least 32"):
        set_mailbox(box.mailbox_id, "--webhook", "https://example.test/hook", "--webhook-secret")
    monkeypatch.delenv("MESHPORTAL_WEBHOOK_SECRET")
    with pytest.raises(CommandError, match="Give a secret"):
        set_mailbox(box.mailbox_id, "--webhook", "https://example.test/hook")
    monkeypatch.setenv("MESHPORTAL_WEBHOOK_SECRET", SECRET)
    said = set_mailbox(box.mailbox_id, "--webhook", "https://example.test/hook", "--webhook-secret")
    hook = Outlet.objects.get(channel="webhook")
    assert (hook.url, hook.secret, hook.enabled) == ("https://example.test/hook", SECRET, True)
    browser = signed_in("manager")
    shown = browser.get(reverse("mailboxes:detail", kwargs={"team": box.team.slug, "pk": box.pk})).content.decode()
    assert "https://example.test/hook" in shown
    trail = browser.get(reverse("console:audit", kwargs={"team": box.team.slug})).content.decode()
    audited = "".join(str(event.before) + str(event.after) for event in AuditEvent.objects.all())
    for text in (said, shown, trail, audited, caplog.text):
        assert SECRET not in text
    set_mailbox(box.mailbox_id, "--webhook", "")
    set_mailbox(box.mailbox_id, "--no-hand-on-to-folder")
    assert not Outlet.objects.filter(enabled=True).exists()


def test_a_secret_is_sealed_in_the_database(mailbox: Make) -> None:
    from django.db import connection

    outlets.set_webhook(actor=ACTOR, mailbox=mailbox(), url="https://example.test/", secret=SECRET)
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM mailboxes_outlet")
        assert SECRET.encode() not in bytes(cursor.fetchone()[0])
