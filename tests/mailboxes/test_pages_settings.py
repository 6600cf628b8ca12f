"""Adding a mailbox in the browser, changing its settings, and giving it a new password."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.management import call_command

from mailboxes import setting, trying
from mailboxes.models import Mailbox, Organisation, Outlet
from mailboxes.problems import Problem
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent

pytestmark = pytest.mark.django_db
SECRET = "PLANTED-mailbox-word"
HOOK = "PLANTED-webhook-secret-of-thirty-two-or-more"
ADD = "/t/midshire/mailboxes/add/"


def address(mailbox: Mailbox, tail: str) -> str:
    return f"/t/{mailbox.team.slug}/mailboxes/{mailbox.pk}/{tail}/"


def said(answer: Any) -> str:
    html = answer.content.decode()
    assert "PLANTED" not in html
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#x27;", "'").replace("&#39;", "'")


def added(certificate: Any, /, **changes: Any) -> dict[str, Any]:
    fields = {
        "environment": "sandbox",
        "mailbox_id": "x26hc009",
        "password": SECRET,
        "name": "Pathology",
        "ods_code": "x26",
        "organisation_name": "Midshire Hospitals",
        "identity": str(certificate.pk),
        "mode": "watch",
    }
    return {**fields, **changes}


def kept(mailbox: Mailbox, **changes: Any) -> dict[str, Any]:
    """What the form of settings sends when nothing is changed."""
    fields = {
        "revision": mailbox.revision,
        "name": mailbox.name,
        "mode": mailbox.mode,
        "identity": str(mailbox.identity_id or ""),
        "poll_interval_seconds": mailbox.poll_interval_seconds,
        "workflow_filter": mailbox.workflow_filter,
        "folder": mailbox.folder,
        "webhook_url": "",
        "webhook_secret": "",
        "reason": "",
        **({"send_from_folder": "on"} if mailbox.send_from_folder else {}),
    }
    return {**fields, **changes}


def test_a_mailbox_is_added(signed_in: Any, identity: Any) -> None:
    browser = signed_in("manager")
    assert "Watch only" in said(browser.get(ADD))
    answer = browser.post(ADD, added(identity), follow=True)
    assert "Pathology (X26HC009) was added" in said(answer)
    box = Mailbox.objects.get()
    assert (box.mailbox_id, box.mode, box.password, box.identity) == ("X26HC009", "watch", SECRET, identity)
    assert str(Organisation.objects.get()) == "Midshire Hospitals (X26)"
    assert AuditEvent.objects.get().action == "mailbox.added"
    assert "PLANTED" not in repr(AuditEvent.objects.values_list("after"))


def test_without_a_certificate_the_page_says_what_comes_first(signed_in: Any, team: Any) -> None:
    assert "First a client certificate" in said(signed_in("manager").get(ADD))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mailbox_id": ""}, "Enter the mailbox ID"),
        ({"mailbox_id": "X26 HC"}, "capital letters and digits"),
        ({"mailbox_id": "X" * 101}, "at most 100 characters"),
        ({"mailbox_id": "X26HC009\x00"}, "Null characters"),
        ({"mailbox_id": "<script>"}, "capital letters and digits"),
        ({"password": ""}, "Enter the password of the mailbox"),
        ({"password": f"{SECRET} "}, "begins or ends with a space"),
        ({"password": f"{SECRET}\n"}, "begins or ends with a space"),
        ({"password": f"{SECRET}\tx"}, "cannot be seen"),
        ({"password": SECRET * 20}, "longer than 200 characters"),
        ({"name": ""}, "Enter the name of the mailbox"),
        ({"name": "x" * 151}, "within 150 characters"),
        ({"ods_code": "X"}, "3 to 12 capital letters and digits"),
        ({"ods_code": "X26;DROP"}, "3 to 12 capital letters and digits"),
        ({"environment": "moon"}, "Select a valid choice"),
        ({"environment": "int"}, "Choose a certificate of this team and this environment"),
        ({"identity": ""}, "Select the client certificate"),
        ({"identity": "00000000-0000-4000-8000-000000000000"}, "Select a valid choice"),
        ({"identity": "nonsense"}, "Select a valid choice"),
        ({"mode": "paused"}, "Select a valid choice"),
        ({"mode": ""}, "Select the mode"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_added(signed_in: Any, identity: Any, fields: dict[str, Any], words: str) -> None:
    answer = signed_in("manager").post(ADD, added(identity, **fields))
    assert answer.status_code == 422
    assert words in said(answer)
    assert "There is a problem" in said(answer)
    assert not Mailbox.objects.exists()
    assert not AuditEvent.objects.exists()
    assert not Organisation.objects.exists()


@pytest.mark.tenancy
def test_a_mailbox_that_is_there_already(signed_in: Any, mailbox: Any, identity: Any, other_team: Any) -> None:
    browser = signed_in("manager")
    mailbox(mailbox_id="X26HC009", name="Ours")
    assert "Your team has this mailbox already, as “Ours”" in said(browser.post(ADD, added(identity)))
    mailbox(mailbox_id="X26HC010", team=other_team, name="Theirs")
    words = said(browser.post(ADD, added(identity, mailbox_id="X26HC010")))
    assert "cannot be added here" in words
    assert "Theirs" not in words and other_team.name not in words
    assert Mailbox.objects.count() == 2


@pytest.mark.tenancy
def test_the_certificate_of_another_team_cannot_be_chosen(signed_in: Any, identity: Any, other_team: Any) -> None:
    identity.team = other_team
    identity.save()
    from certificates.models import ClientIdentity

    fields = {field.attname: getattr(identity, field.attname) for field in ClientIdentity._meta.fields}
    own = ClientIdentity.objects.create(
        **{**fields, "id": None, "name": "Own", "fingerprint": "2" * 64, "team_id": other_team.pk}
    )
    assert signed_in("manager").post(ADD, added(own)).status_code == 422
    assert not Mailbox.objects.exists()


def test_nothing_that_differs_changes_nothing(signed_in: Any, mailbox: Any) -> None:
    box = mailbox()
    answer = signed_in("manager").post(address(box, "settings"), kept(box), follow=True)
    assert "Nothing was different" in said(answer)
    box.refresh_from_db()
    assert box.revision == 0
    assert not AuditEvent.objects.exists()


def test_every_setting_is_changed_at_once_and_the_trail_says_what(
    signed_in: Any, mailbox: Any, settings: Any, tmp_path: Any
) -> None:
    settings.FOLDER_ROOT = tmp_path
    (tmp_path / "one").mkdir()
    box = mailbox(mode="watch")
    changes = {
        "name": "Renamed",
        "mode": "collect",
        "reason": "cut-over",
        "poll_interval_seconds": "600",
        "workflow_filter": "TOC_*",
        "folder": "one",
        "send_from_folder": "on",
        "hand_on_to_folder": "on",
        "webhook_url": "https://hook.example/in",
        "webhook_secret": HOOK,
    }
    browser = signed_in("manager")
    answer = browser.post(address(box, "settings"), kept(box, **changes), follow=True)
    assert "The settings of Renamed are changed" in said(answer) or "are changed" in said(answer)
    box.refresh_from_db()
    assert (box.name, box.mode, box.poll_interval_seconds, box.workflow_filter) == ("Renamed", "collect", 600, "TOC_*")
    assert (box.folder, box.send_from_folder, box.revision) == ("one", True, 1)
    assert set(Outlet.objects.values_list("channel", "enabled")) == {("folder", True), ("webhook", True)}
    assert Outlet.objects.get(channel="webhook").secret == HOOK
    events = list(AuditEvent.objects.order_by("id").values("action", "reason", "before", "after"))
    assert [event["action"] for event in events] == ["mailbox.changed"] * 3
    assert {event["reason"] for event in events} == {"cut-over"}
    assert events[0]["before"]["mode"] == "watch" and "identity" not in events[0]["after"]
    assert "PLANTED" not in repr(events)
    # What is secret is not on the page that shows all the rest.
    shown = browser.get(address(box, "settings")).content.decode()
    assert "https://hook.example/in" in shown and "PLANTED" not in shown


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "paused"}, setting.NEEDS_A_REASON),
        ({"mode": "paused", "reason": "   "}, setting.NEEDS_A_REASON),
        ({"mode": "asleep"}, "Select a valid choice"),
        ({"name": ""}, "Enter the name of the mailbox"),
        ({"poll_interval_seconds": "0"}, "whole number of seconds"),
        ({"poll_interval_seconds": "86401"}, "whole number of seconds"),
        ({"poll_interval_seconds": "often"}, "whole number of seconds"),
        ({"workflow_filter": "*ACK"}, "no “ends with”"),
        ({"folder": "/etc"}, "MESHPORTAL_FOLDER_ROOT"),
        ({"folder": "../x"}, "MESHPORTAL_FOLDER_ROOT"),
        ({"folder": "not-there"}, "is not there"),
        ({"send_from_folder": "on"}, "no folder to send from"),
        ({"hand_on_to_folder": "on"}, "it has no folder then"),
        ({"webhook_url": "http://hook.example/"}, "https"),
        ({"webhook_url": "https://hook.example/"}, "Give a secret"),
        ({"webhook_url": "https://hook.example/", "webhook_secret": "PLANTED-short"}, "at least 32"),
        ({"revision": "x"}, "whole number"),
        ({"identity": "nonsense"}, "Select a valid choice"),
        ({"reason": "x" * 501}, "at most 500 characters"),
    ],
)
def test_what_is_wrong_with_settings_is_said_and_none_is_changed(
    signed_in: Any, mailbox: Any, settings: Any, tmp_path: Any, fields: dict[str, Any], words: str
) -> None:
    settings.FOLDER_ROOT = tmp_path
    box = mailbox()
    answer = signed_in("manager").post(address(box, "settings"), kept(box, **{"name": "Renamed", **fields}))
    assert answer.status_code == 422
    assert words in said(answer)
    box.refresh_from_db()
    assert (box.revision, box.mode) == (0, "collect") and box.name != "Renamed"
    assert not Outlet.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_live_mailbox_is_not_polled_too_often(signed_in: Any, mailbox: Any, identity: Any) -> None:
    identity.environment = "live"
    identity.save()
    box = mailbox(environment="live")
    answer = signed_in("manager").post(address(box, "settings"), kept(box, poll_interval_seconds="299"))
    assert "Give 300 to 86,400 seconds" in said(answer)


def test_the_second_of_two_people_is_told_and_nothing_of_theirs_is_saved(signed_in: Any, mailbox: Any) -> None:
    box = mailbox()
    as_seen = kept(box)
    browser = signed_in("manager")
    assert browser.post(address(box, "settings"), {**as_seen, "mode": "watch", "reason": "first"}).status_code == 302
    answer = browser.post(address(box, "settings"), {**as_seen, "name": "Second"})
    assert answer.status_code == 422
    assert "Somebody else changed this mailbox" in said(answer)
    assert setting.NEEDS_A_REASON not in said(answer)
    box.refresh_from_db()
    assert (box.mode, box.revision) == ("watch", 1) and box.name != "Second"
    assert AuditEvent.objects.count() == 1


def test_a_change_of_an_outlet_alone_is_seen_by_the_second_too(signed_in: Any, mailbox: Any) -> None:
    box = mailbox()
    as_seen = kept(box)
    browser = signed_in("manager")
    hook = {"webhook_url": "https://hook.example/", "webhook_secret": HOOK}
    assert browser.post(address(box, "settings"), {**as_seen, **hook}).status_code == 302
    assert "Somebody else changed" in said(browser.post(address(box, "settings"), {**as_seen, "name": "Second"}))
    assert Outlet.objects.get().url == "https://hook.example/"


def test_the_folder_cannot_go_while_messages_go_there(mailbox: Any, settings: Any, tmp_path: Any, signed_in: Any) -> None:
    settings.FOLDER_ROOT = tmp_path
    (tmp_path / "one").mkdir()
    box = mailbox(folder="one")
    call_command("set_mailbox", box.mailbox_id, "--hand-on-to-folder")
    box.refresh_from_db()
    answer = signed_in("manager").post(address(box, "settings"), kept(box, folder="", hand_on_to_folder="on"))
    assert "Give it one, or stop that" in said(answer)
    answer = signed_in_again(signed_in, box, kept(box, folder=""))
    assert answer.status_code == 302
    assert not Outlet.objects.get().enabled


def signed_in_again(signed_in: Any, box: Mailbox, fields: dict[str, Any]) -> Any:
    from django.test import Client

    from meshportal.accounts.models import User

    browser = Client()
    browser.force_login(User.objects.get())
    return browser.post(address(box, "settings"), fields)


@pytest.mark.parametrize(("before", "after"), [("watch", "collect"), ("collect", "watch"), ("collect", "paused")])
def test_the_page_says_what_a_change_of_mode_does(signed_in: Any, mailbox: Any, before: str, after: str) -> None:
    from mailboxes.health import MODE_MOVES

    words = said(signed_in("manager").get(address(mailbox(mode=before), "settings")))
    assert MODE_MOVES[before, after].partition(".")[0] in words


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
def test_only_managers_see_the_way_there(role: str, signed_in: Any, mailbox: Any) -> None:
    browser, box = signed_in(role), mailbox()
    assert "/settings/" not in browser.get(f"/t/midshire/mailboxes/{box.pk}/").content.decode()
    assert ADD not in browser.get("/t/midshire/mailboxes/").content.decode()
    for url in (ADD, address(box, "settings"), address(box, "password")):
        assert browser.get(url).status_code == 404
        assert browser.post(url, {"name": "x"}).status_code == 404


def test_a_setting_can_be_saved_when_what_is_sealed_cannot_be_opened(signed_in: Any, mailbox: Any, settings: Any) -> None:
    from cryptography.fernet import Fernet

    box = mailbox()
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    browser = signed_in("manager")
    assert browser.get(address(box, "settings")).status_code == 200
    assert browser.post(address(box, "settings"), kept(box, name="Renamed")).status_code == 302


# --- A new password -----------------------------------------------------------------------------------------------------
def takes(monkeypatch: pytest.MonkeyPatch, *good: str, problem: str = "sign_in_refused") -> list[str]:
    """MESH takes ``good`` and no other; gives what it was asked with. Handshakes with a real server: tests/onboarding."""
    asked: list[str] = []

    def handshake(mailbox: Mailbox, *, identity: Any = None, password: str | None = None) -> Problem | None:
        asked.append(password or "")
        return None if password in good else Problem(problem, "It did not work.", "Do something.")

    monkeypatch.setattr(trying, "handshake", handshake)
    return asked


@pytest.mark.parametrize(
    ("good", "problem", "words", "keeps"),
    [
        ((SECRET,), "sign_in_refused", "MESH took the new password", SECRET),
        (("password",), "sign_in_refused", "takes the one that was there", "password"),
        ((), "sign_in_refused", "and the one that was there too", "password"),
        ((), "timeout", "could not be tried, so the old one is kept. It did not work.", "password"),
    ],
)
def test_the_password_that_works_is_kept(
    signed_in: Any, mailbox: Any, monkeypatch: Any, good: tuple[str, ...], problem: str, words: str, keeps: str
) -> None:
    takes(monkeypatch, *good, problem=problem)
    box = mailbox()
    answer = signed_in("manager").post(address(box, "password"), {"revision": 0, "password": SECRET}, follow=True)
    assert words in said(answer)
    box.refresh_from_db()
    assert box.password == keeps
    event = AuditEvent.objects.get()
    assert event.action == ("mailbox.changed" if keeps == SECRET else "mailbox.password_tried")
    assert "PLANTED" not in repr(event.after)


def test_a_password_is_kept_untried_when_somebody_wants_that(signed_in: Any, mailbox: Any, monkeypatch: Any) -> None:
    asked = takes(monkeypatch)
    box = mailbox()
    fields = {"revision": 0, "password": SECRET, "untried": "on"}
    assert "It was not tried" in said(signed_in("manager").post(address(box, "password"), fields, follow=True))
    box.refresh_from_db()
    assert (box.password, asked) == (SECRET, [])


def test_a_password_for_settings_that_changed_meanwhile_is_not_kept(signed_in: Any, mailbox: Any, monkeypatch: Any) -> None:
    asked = takes(monkeypatch, SECRET)
    box = mailbox(revision=3)
    answer = signed_in("manager").post(address(box, "password"), {"revision": 2, "password": SECRET})
    assert "Somebody else changed" in said(answer)
    box.refresh_from_db()
    assert (box.password, asked) == ("password", [])


def test_page_and_command_are_one_mechanism(mailbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []
    monkeypatch.setattr(setting, "change_settings", lambda **given: called.append(given))
    box = mailbox()
    call_command("set_mailbox", box.mailbox_id, "--name", "Renamed")
    assert called[0]["actor"] == Actor.command("set_mailbox") and called[0]["name"] == "Renamed"
