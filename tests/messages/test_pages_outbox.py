"""The lists of sent messages: apart from the received ones, with views and filters of their own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.urls import reverse

from messages.states import OUT, State

pytestmark = pytest.mark.django_db


def url_of(message: Any) -> str:
    return reverse("messages:detail", kwargs={"team": message.team.slug, "pk": message.pk})


@pytest.fixture
def outbox_url(team: Any) -> str:
    return reverse("messages:outbox", kwargs={"team": team.slug})


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
def test_every_role_sees_sent_messages_and_they_stand_apart(
    signed_in: Any, message: Any, outbox_url: str, team: Any, role: str
) -> None:
    sent, received = message(state="accepted"), message()
    browser = signed_in(role)
    lists = {
        "sent": (outbox_url, reverse("messages:mailbox-outbox", kwargs={"team": team.slug, "pk": sent.mailbox_id})),
        "received": (
            reverse("messages:list", kwargs={"team": team.slug}),
            reverse("messages:inbox", kwargs={"team": team.slug, "pk": sent.mailbox_id}),
        ),
    }
    for url in lists["sent"]:
        page = browser.get(url).content.decode()
        assert sent.mesh_id in page
        assert received.mesh_id not in page
        assert "YGM24HC001" in page
        assert "Accepted by MESH, not yet collected" in page
        assert "Leaves the recipient’s inbox" in page
    for url in lists["received"]:
        page = browser.get(url).content.decode()
        assert received.mesh_id in page
        assert sent.mesh_id not in page


def test_the_two_lists_lead_to_each_other_and_keep_what_both_know(signed_in: Any, outbox_url: str, team: Any) -> None:
    received_url = reverse("messages:list", kwargs={"team": team.slug})
    browser = signed_in("viewer")
    page = browser.get(received_url, {"q": "letter", "state": "gone", "sender": "X"}).content.decode()
    assert f'href="{outbox_url}?q=letter"' in page
    page = browser.get(outbox_url, {"q": "letter", "recipient": "X"}).content.decode()
    assert f'href="{received_url}?q=letter"' in page
    assert re.search(r'aria-current="page">Sent<', page)
    # Messages is where a person still is.
    assert 'aria-current="true">Messages<' in page


def test_the_saved_views_hold_what_they_say(signed_in: Any, message: Any, outbox_url: str) -> None:
    rows = {state: message(state=str(state)) for state in OUT}
    browser = signed_in("viewer")
    page = browser.get(outbox_url).content.decode()
    nav = page[page.index('aria-label="Saved views"') :].partition("</nav>")[0]
    views = dict(re.findall(r'<a class="portal-views__link" href="([^"]+)"[^>]*>([^<]+)', nav))
    wanted = {
        "All": set(OUT),
        "Needs a decision": {State.UNCERTAIN},
        "Waiting to be sent": {State.QUEUED, State.SENDING, State.UPLOADING},
        "Not collected": {State.ACCEPTED, State.EXPIRED},
        "Recoverable": {State.EXPIRED},
        "Returned": {State.RETURNED},
        "Refused": {State.REFUSED},
    }
    assert list(views.values()) == list(wanted)
    for url, label in views.items():
        page = browser.get(url).content.decode()
        keys = set(re.findall(r'data-key="([0-9a-f-]+)"', page))
        assert keys == {str(rows[state].pk) for state in wanted[label]}, label
        assert re.search(rf'aria-current="true">{label}<', page)


def test_filters_of_sent_messages(signed_in: Any, message: Any, mailbox: Any, outbox_url: str) -> None:
    other = mailbox()
    row = message(state="accepted", mailbox=other, recipient_mailbox="A81001HC001", file_name="letter-17.pdf")
    message(state="accepted")
    browser = signed_in("viewer")
    queries = (
        {"recipient": "a81001*"},
        {"recipient": "A81001HC001"},
        {"q": "letter-17"},
        {"mailbox": str(other.pk)},
        {"mailbox": str(other.pk), "state": "not-collected", "workflow": "toc_*"},
    )
    for query in queries:
        keys = re.findall(r'data-key="([0-9a-f-]+)"', browser.get(outbox_url, query).content.decode())
        assert keys == [str(row.pk)], query
    page = browser.get(outbox_url, {"state": "listed"}).content.decode()
    assert "There is no state listed." in page


def test_the_empty_list_teaches_how_to_send(signed_in: Any, mailbox: Any, outbox_url: str, team: Any) -> None:
    box = mailbox()
    browser = signed_in("viewer")
    page = browser.get(outbox_url).content.decode()
    assert "No message has been sent yet" in page
    assert "manage.py send X26HC001 letter.pdf" in page
    page = browser.get(reverse("messages:mailbox-outbox", kwargs={"team": team.slug, "pk": box.pk})).content.decode()
    assert f"manage.py send {box.mailbox_id} letter.pdf" in page
    assert "No message fits these filters" in browser.get(outbox_url + "?state=refused").content.decode()


def test_a_message_without_an_id_is_called_by_its_local_id(signed_in: Any, message: Any, outbox_url: str) -> None:
    row = message(state="queued", body=b"letter")
    browser = signed_in("manager")
    assert f'href="{url_of(row)}">{row.local_id}</a>' in browser.get(outbox_url).content.decode()
    for url in (url_of(row), f"{url_of(row)}body/"):
        assert row.local_id in browser.get(url).content.decode()
    assert "None: MESH gives it when it accepts a message" in browser.get(url_of(row)).content.decode()
    assert str(row) == f"message with local ID {row.local_id}"


def test_another_teams_outbox_is_not_found(
    signed_in: Any, message: Any, mailbox: Any, other_team: Any, outbox_url: str, team: Any
) -> None:
    theirs = message(mailbox=mailbox(team=other_team, mailbox_id="RH8HC001"), state="queued")
    browser = signed_in("manager")
    assert theirs.local_id not in browser.get(outbox_url).content.decode()
    assert browser.get(reverse("messages:mailbox-outbox", kwargs={"team": team.slug, "pk": theirs.mailbox_id})).status_code == 404
    for route in ("cancel", "decide"):
        url = reverse(f"messages:{route}", kwargs={"team": team.slug, "pk": theirs.pk})
        assert browser.post(url, {"reason": "because", "decision": "again"}).status_code == 404
    theirs.refresh_from_db()
    assert theirs.state == State.QUEUED


def test_queries_do_not_grow_with_the_rows(
    signed_in: Any, message: Any, mailbox: Any, outbox_url: str, django_assert_max_num_queries: Any
) -> None:
    boxes = [mailbox() for _ in range(5)]
    for number in range(60):
        message(state=str(OUT[number % len(OUT)]), mailbox=boxes[number % 5], subject="s", problem="p")
    browser = signed_in("viewer")
    browser.get(outbox_url)
    with django_assert_max_num_queries(10) as captured:
        browser.get(outbox_url)
    for query in captured.captured_queries:
        assert '"mesh_messages_message"."subject"' not in query["sql"]
