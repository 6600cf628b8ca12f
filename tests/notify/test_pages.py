"""The pages of alerts and channels: what they show, to whom, and what their buttons do."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from meshportal.audit.models import AuditEvent
from meshportal.console import sentences
from meshportal.notify import channels, registry, services
from meshportal.notify.models import Alert, AlertEvent, Channel, Delivery
from meshportal.notify.registry import Condition
from tests.notify.conftest import ACTOR, MINOR, PERSON

pytestmark = pytest.mark.django_db
LIST = "/t/midshire/alerts/"


@pytest.fixture
def raised(thing: Callable[..., Condition]) -> Callable[..., Alert]:
    def make(key: str = "one", **fields: Any) -> Alert:
        alert = services.raise_alert(actor=ACTOR, condition=thing(key, **fields))
        assert alert is not None
        return alert

    return make


def text(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status, answer.content.decode()[:500]
    return " ".join(answer.content.decode().split())


def after(browser: Any, answer: Any) -> str:
    """The page that a button led to."""
    assert answer.status_code == 302
    return text(browser.get(answer["Location"]))


def test_the_list_by_view_with_counts_and_the_number_in_the_navigation(raised: Any, signed_in: Any, member: Any) -> None:
    first, closed, given = raised("first"), raised("closed"), raised("given", kind=MINOR.name)
    services.close(actor=PERSON, alert=closed, reason="mended")
    browser = signed_in("operator")
    services.assign(actor=PERSON, alert=given, to=member("manager"))
    page = text(browser.get(LIST))
    assert "Mailbox first is broken." in page and "Mailbox closed" not in page
    assert re.search(r'portal-nav__count">2<span class="nhsuk-u-visually-hidden"> open', page)
    assert 'Open<span class="portal-views__count"> (2)' in page
    assert 'Closed<span class="portal-views__count"> (1)' in page
    assert "Mailbox closed" in text(browser.get(f"{LIST}?show=closed"))
    assert "No open alert is assigned to you" in text(browser.get(f"{LIST}?show=mine"))
    services.assign(actor=PERSON, alert=first, to=member("operator", email="x@midshire.example"))
    assert "Mailbox given" not in text(browser.get(f"{LIST}?severity=30"))
    assert "Mailbox first" not in text(browser.get(f"{LIST}?kind={MINOR.name}"))
    assert "No alert fits these filters" in text(browser.get(f"{LIST}?text=nothing"))
    assert "has no such choice" in text(browser.get(f"{LIST}?kind=nonsense"))


def test_nothing_fired(signed_in: Any, team: Any) -> None:
    page = text(signed_in("viewer").get(LIST))
    assert "No alert is open" in page
    assert "portal-nav__count" not in page


def test_acknowledge_several_at_once(raised: Any, signed_in: Any, other_team: Any) -> None:
    one, two = raised("one"), raised("two")
    theirs, ours = raised("theirs", team=other_team), raised("portal", team=None)
    services.acknowledge(actor=PERSON, alert=two)
    browser = signed_in("operator")
    url = f"{LIST}acknowledge/"
    assert "No alert is selected" in after(browser, browser.post(url, {}))
    assert browser.post(url, {"alert": [str(theirs.pk)]}).status_code == 404
    assert browser.post(url, {"alert": ["nonsense"]}).status_code == 404
    page = after(browser, browser.post(url, {"alert": [str(row.pk) for row in (one, two, theirs, ours)]}))
    assert "1 alert acknowledged. It is not told again." in page
    assert "1 left as it is: Mina Manage acknowledged this alert already." in page
    assert "Whoever runs the portal deals with it" in page
    assert list(Alert.objects.filter(acknowledged_at__isnull=False).values_list("key", flat=True).order_by("key")) == [
        "one",
        "two",
    ]
    many = {"alert": [f"{number}" for number in range(51)]}
    assert "More than 50 alerts" in after(browser, browser.post(url, many))


def test_one_alert_with_its_history_and_acts(raised: Any, signed_in: Any, member: Any, mailbox: Any) -> None:
    box = mailbox()
    link = {"url_name": "mailboxes:detail", "url_args": {"team": "midshire", "pk": str(box.pk)}}
    alert = raised("one", **link)
    colleague = member("manager")
    browser = signed_in("operator")
    url = f"{LIST}{alert.pk}/"
    page = text(browser.get(url))
    assert "Mailbox one is broken." in page and "What to do:</strong> Mend it." in page
    assert f'href="/t/midshire/mailboxes/{box.pk}/"' in page
    assert "Acknowledged. Nobody is told" in after(browser, browser.post(f"{url}acknowledge/"))
    for length, words in (("4", "Snoozed."), ("morning", "Snoozed."), ("wake", "No longer snoozed."), ("wake", "not snoozed")):
        assert words in after(browser, browser.post(f"{url}snooze/", {"length": length}))
    assert "Choose one of the lengths" in after(browser, browser.post(f"{url}snooze/", {"length": "9999"}))
    assert "Manager Person deals with it." in after(browser, browser.post(f"{url}assign/", {"to": str(colleague.pk)}))
    assert "Nobody in particular" in after(browser, browser.post(f"{url}assign/", {"to": ""}))
    assert "The comment is added." in after(browser, browser.post(f"{url}comment/", {"words": "rang <the> desk"}))
    assert "NHS number" in after(browser, browser.post(f"{url}comment/", {"words": "it is 943 476 5919"}))
    page = after(browser, browser.post(f"{url}close/", {"reason": "mended by hand"}))
    assert "Closed. It stays closed" in page and "rang &lt;the&gt; desk" in page
    acts = list(AlertEvent.objects.order_by("id").values_list("act", flat=True))
    assert acts == ["raised", "acknowledged", "snoozed", "snoozed", "woken", "assigned", "assigned", "commented", "closed"]
    assert "closed already" in after(browser, browser.post(f"{url}snooze/", {"length": "4"}))


def test_who_may_only_look_has_no_buttons(raised: Any, signed_in: Any, team: Any) -> None:
    alert = raised()
    channel = add(team)
    for role in ("viewer", "auditor"):
        browser = signed_in(role)
        for url in (LIST, f"{LIST}{alert.pk}/", "/t/midshire/channels/", f"/t/midshire/channels/{channel.pk}/"):
            page = text(browser.get(url)).partition("<main")[2]
            assert "<form" not in page.replace('<form class="portal-filters__form"', ""), (role, url)
    operator = text(signed_in("operator").get(f"/t/midshire/channels/{channel.pk}/"))
    assert "Send a test" not in operator


def test_an_alert_of_the_portal_itself_is_read_by_all_and_changed_by_none(raised: Any, signed_in: Any, other_team: Any) -> None:
    alert = raised(team=None)
    for team, slug in ((None, "midshire"), (other_team, "otherton")):
        browser = signed_in("manager", team=team)
        page = text(browser.get(f"/t/{slug}/alerts/{alert.pk}/"))
        assert "about the portal itself" in page
        assert "deals with it" in after(browser, browser.post(f"/t/{slug}/alerts/{alert.pk}/acknowledge/"))
    assert Alert.objects.get().acknowledged_at is None


# --- Channels --------------------------------------------------------------------------------------------------------------
def add(team: Any, **fields: Any) -> Channel:
    given = {"url": "https://hook.example/PLANTED-PATH", "secret": "PLANTED-secret-of-16"}
    return channels.add(actor=PERSON, team=team, name=fields.pop("name", "Office"), transport="webhook", config=given, **fields)


def test_add_test_change_and_remove_a_channel(signed_in: Any, team: Any) -> None:
    browser = signed_in("manager")
    assert "Nobody is warned yet" in text(browser.get("/t/midshire/channels/"))
    form = {"name": "IT on call", "transport": "email", "to": "a@midshire.example\nb@midshire.example", "digest": "on"}
    page = after(browser, browser.post("/t/midshire/channels/add/", form))
    channel = Channel.objects.get()
    assert "2 addresses" in page and "a@midshire.example" not in page
    assert (channel.digest, channel.config) == (True, {"to": ["a@midshire.example", "b@midshire.example"]})
    url = f"/t/midshire/channels/{channel.pk}/"
    assert "A test is on its way" in after(browser, browser.post(f"{url}test/"))
    assert "on its way already" in after(browser, browser.post(f"{url}test/"))
    assert Delivery.objects.count() == 1
    changed = {"name": "On call", "to": "", "quiet_from": "20:00", "quiet_until": "07:00", "enabled": "on"}
    after(browser, browser.post(f"{url}change/", changed))
    channel.refresh_from_db()
    assert (channel.name, str(channel.quiet_from), channel.digest, len(channel.config["to"])) == ("On call", "20:00:00", False, 2)
    assert "20:00" in text(browser.get(f"{url}change/"))
    kind = registry.kinds()[0]
    assert kind.title in after(browser, browser.post(f"{url}subscribe/", {"kind": kind.name, "severity": "30"}))
    first = channel.subscriptions.get(kind="")
    assert "no longer told of: Every kind" in after(browser, browser.post(f"{url}unsubscribe/", {"subscription": str(first.pk)}))
    assert browser.post(f"{url}unsubscribe/", {"subscription": str(first.pk)}).status_code == 404
    assert "is removed" in after(browser, browser.post(f"{url}remove/"))
    assert not Channel.objects.exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "Enter the name"),
        ({"transport": ""}, "Choose how messages are sent"),
        ({"to": ""}, "Enter at least one email address"),
        ({"to": "nobody"}, "is not an email address"),
        ({"transport": "teams", "url": "http://x.example"}, "must begin with https://"),
        ({"transport": "webhook", "url": "https://x.example", "secret": "short"}, "at least 16 characters"),
        ({"quiet_from": "25:00"}, "Enter a time such as 20:00"),
        ({"quiet_from": "20:00"}, "Enter both ends"),
        ({"name": "Office"}, "already exists"),
    ],
)
def test_bad_input_is_named_and_kept(fields: dict[str, str], words: str, signed_in: Any, team: Any) -> None:
    add(team)
    form = {"name": "New", "transport": "email", "to": "a@midshire.example", **fields}
    page = text(signed_in("manager").post("/t/midshire/channels/add/", form), 422)
    assert words in page
    assert Channel.objects.count() == 1


def test_secrets_stand_on_no_page(signed_in: Any, team: Any) -> None:
    channel = add(team)
    browser = signed_in("manager")
    for url in ("", f"{channel.pk}/", f"{channel.pk}/change/"):
        assert "PLANTED" not in text(browser.get(f"/t/midshire/channels/{url}"))
    refused = browser.post("/t/midshire/channels/add/", {"name": "x", "transport": "webhook", "secret": "PLANTED-short"})
    assert "PLANTED" not in text(refused, 422)


def test_a_channel_says_what_it_answered(signed_in: Any, team: Any) -> None:
    channel = add(team)
    delivery = channels.send_test(actor=PERSON, channel=channel)
    Delivery.objects.filter(pk=delivery.pk).update(status="dead", problem="The receiver refused the message (410).", tries=1)
    said = {"problem": "The receiver refused the message (410).", "failing_since": timezone.now() - timedelta(hours=1)}
    Channel.objects.update(**said)
    browser = signed_in("viewer")
    page = text(browser.get(f"/t/midshire/channels/{channel.pk}/"))
    assert "The receiver refused the message (410)." in page and "Given up" in page
    assert "Failing" in text(browser.get("/t/midshire/channels/"))


def test_every_act_is_told_in_the_audit(raised: Any, signed_in: Any, team: Any) -> None:
    alert = raised()
    services.acknowledge(actor=PERSON, alert=alert)
    services.comment(actor=PERSON, alert=alert, words="a word")
    services.assign(actor=PERSON, alert=alert, to=None)
    services.close(actor=PERSON, alert=alert, reason="mended")
    channel = channels.change(actor=PERSON, channel=add(team), name="Desk")
    channels.unsubscribe(actor=PERSON, subscription=channel.subscriptions.get())
    told = [sentences.sentence(event) for event in AuditEvent.objects.order_by("id")]
    assert not [words for words in told if "did “" in words]
    assert "Mina Manage acknowledged the alert Mailbox one is broken." in told
    assert "Mina Manage no longer has the channel Desk told of every kind" in told
    page = text(signed_in("auditor").get("/t/midshire/audit/"))
    assert f'href="/t/midshire/alerts/{alert.pk}/"' in page
