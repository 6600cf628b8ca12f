"""The tabs above the lists: what they count, the days of what was not collected, and a search in both directions."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from messages import ages, words
from messages.filters import DAY_LABELS
from messages.models import Message
from messages.states import OUT
from messages.views import tabs

pytestmark = pytest.mark.django_db

NOT_COLLECTED = {"status_code": "14", "status_description": "Message not collected by recipient after 5 days"}
DEACTIVATED = {"status_code": "14", "status_description": "Message not delivered as the mailbox is Deactivated"}


@pytest.fixture
def address(team: Any) -> Any:
    def make(route: str, row: Any = None) -> str:
        return reverse(f"messages:{route}", kwargs={"team": team.slug, **({"pk": row.pk} if row else {})})

    return make


def html(answer: Any) -> str:
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def counts(page: str, label: str = "Saved views") -> dict[str, str]:
    """What the tabs of a navigation say."""
    nav = page[page.index(f'aria-label="{label}') :].partition("</nav>")[0]
    found = r'class="portal-views__link[^>]*>([^<]+)<span class="portal-views__count"> \(([^<]*)\)'
    return dict(re.findall(found, nav))


def links(page: str) -> list[str]:
    return [url.replace("&amp;", "&") for url in re.findall(r'class="portal-views__link[^"]*" href="([^"]+)"', page)]


def keys(page: str) -> list[str]:
    return re.findall(r'data-key="([0-9a-f-]+)"', page)


def hours_ago(hours: float) -> Any:
    return timezone.now() - timedelta(hours=hours)


# --- Days and what can be restored --------------------------------------------------------------------------------------
def test_day_n_is_n_minus_1_to_n_days_since_mesh_accepted_it(message: Any) -> None:
    """Every age stands on one day alone, and the row says the same as the filter."""
    rows = {hours: message(state="accepted", sent_at=hours_ago(hours)) for hours in (-1, 0, 23.9, 24.1, 71, 95.9, 96.1, 119.9)}
    over = [message(state="accepted", sent_at=hours_ago(121)), message(state="expired", sent_at=hours_ago(200))]
    message(state="collected", sent_at=hours_ago(30))
    message(state="uploading", sent_at=hours_ago(30))
    days = {-1: 1, 0: 1, 23.9: 1, 24.1: 2, 71: 3, 95.9: 4, 96.1: 5, 119.9: 5}
    for day in ages.DAYS:
        expected = {row.pk for hours, row in rows.items() if days[hours] == day}
        assert set(Message.objects.filter(ages.on_day(day)).values_list("pk", flat=True)) == expected, day
    for hours, row in rows.items():
        assert ages.day_of(row) == days[hours]
    assert set(Message.objects.filter(ages.after_last_day())) == set(over)
    assert [ages.day_of(row) for row in over] == [None, None]


def test_a_message_without_a_time_of_mesh_counts_from_when_the_portal_had_it(message: Any) -> None:
    row = message(state="accepted", sent_at=None, seen_at=hours_ago(100))
    assert list(Message.objects.filter(ages.on_day(5))) == [row]
    assert ages.day_of(row) == 5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": "expired"}, True),
        ({"state": "returned", **NOT_COLLECTED}, True),
        ({"state": "returned", "status_code": " 14 "}, True),
        ({"state": "returned", **DEACTIVATED}, False),
        ({"state": "returned", "status_code": "12"}, False),
        ({"state": "returned"}, False),
        ({"state": "accepted", "status_code": "14"}, False),
        ({"state": "refused", "status_code": "14"}, False),
    ],
)
def test_the_database_and_the_rows_words_agree_on_what_can_be_restored(
    message: Any, fields: dict[str, Any], expected: bool
) -> None:
    row = message(sent_at=hours_ago(29 * 24), seen_at=hours_ago(40 * 24), **fields)
    message(sent_at=hours_ago(30 * 24 + 1), **fields)
    assert list(Message.objects.filter(ages.recoverable())) == ([row] if expected else [])
    assert words.recoverable(row) == expected


# --- Counts -----------------------------------------------------------------------------------------------------------
def test_every_tab_counts_what_it_leads_to(signed_in: Any, message: Any, mailbox: Any, other_team: Any, address: Any) -> None:
    """Of sent and received messages, of a team and of one mailbox, with another mailbox and another team beside it."""
    box, beside = mailbox(), mailbox()
    theirs = mailbox(team=other_team, mailbox_id="RH8HC001")
    for owner, number in ((box, 2), (beside, 1), (theirs, 3)):
        for _ in range(number):
            for state in OUT:
                message(mailbox=owner, state=str(state))
            message(mailbox=owner, state="returned", **NOT_COLLECTED)
            message(mailbox=owner, state="accepted", sent_at=hours_ago(100))
            message(mailbox=owner, state="quarantined")
            message(mailbox=owner, message_type="REPORT", body=b"")
            message(mailbox=owner, state="listed")
    browser = signed_in("viewer")
    for route, row in (("list", None), ("outbox", None), ("inbox", box), ("mailbox-outbox", box)):
        page = html(browser.get(address(route, row)))
        said = {**counts(page), **(counts(page, "Not collected") if "outbox" in route else {})}
        urls = links(page)
        assert len(urls) == len(said)
        for url, (label, count) in zip(urls, said.items(), strict=True):
            shown = html(browser.get(url))
            assert len(keys(shown)) == int(count), (route, label)
            assert f'aria-current="true">{label}<' in shown
    page = html(browser.get(address("outbox")))
    assert counts(page)["Recoverable"] == "6"
    assert counts(page, "Not collected") == {
        **dict.fromkeys(DAY_LABELS.values(), "0"),
        "Day 1": "3",
        "Day 5": "3",
        "Over 5 days": "3",
    }
    assert counts(html(browser.get(address("list"))))["Reports"] == "3"


def test_counts_are_capped(signed_in: Any, message: Any, address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabs, "CAP", 2)
    for _ in range(3):
        message(state="returned")
    for _ in range(2):
        message(state="refused")
    said = counts(html(signed_in("viewer").get(address("outbox"))))
    assert (said["All"], said["Returned"], said["Refused"], said["Needs a decision"]) == ("2+", "2+", "2", "0")
    assert tabs.number((1000, True)) == "1,000+"


def test_day_5_says_what_to_do_and_an_empty_row_of_days_is_left_out(signed_in: Any, message: Any, address: Any) -> None:
    browser = signed_in("viewer")
    message(state="collected")
    assert "Not collected, by the day" not in html(browser.get(address("outbox")))
    assert "Not collected, by the day" in html(browser.get(address("outbox") + "?day=5"))
    message(state="accepted", sent_at=hours_ago(30))
    page = html(browser.get(address("outbox")))
    assert tabs.LAST_DAY_NOTE not in page
    assert "Day 2 of 5. Leaves the recipient’s inbox" in page
    message(state="accepted", sent_at=hours_ago(100))
    assert tabs.LAST_DAY_NOTE in html(browser.get(address("outbox")))
    assert "National Service Desk" in html(browser.get(address("outbox") + "?state=recoverable"))


@pytest.mark.parametrize("day", ["0", "6", "-1", "1.5", "day", "٣", "1' OR 1=1"])
def test_a_day_that_is_none_filters_nothing_and_is_named(signed_in: Any, message: Any, address: Any, day: str) -> None:
    row = message(state="collected")
    page = html(signed_in("viewer").get(address("outbox"), {"day": day}))
    assert keys(page) == [str(row.pk)]
    assert "a message leaves the inbox after day 5" in page


# --- A search in both directions ------------------------------------------------------------------------------------------
def test_a_search_says_what_fits_in_the_other_direction(signed_in: Any, message: Any, address: Any) -> None:
    message(file_name="letter-1.pdf")
    for number in range(3):
        message(state="accepted", file_name=f"letter-{number}.pdf")
    message(state="accepted", file_name="other.pdf")
    browser = signed_in("viewer")
    page = html(browser.get(address("list"), {"q": "letter"}))
    assert 'Received<span class="portal-tabs__count"> (1)<' in page
    assert 'Sent<span class="portal-tabs__count"> (3)<' in page
    assert f'<a href="{address("outbox")}?q=letter">3 sent messages fit this too</a>' in page
    page = html(browser.get(address("outbox"), {"q": "letter-1"}))
    assert f'<a href="{address("list")}?q=letter-1">1 received message fits this too</a>' in page
    page = html(browser.get(address("outbox"), {"q": "other"}))
    assert "No received message fits this" in page
    assert "portal-empty" not in page


def test_nothing_here_and_something_there_leads_there(signed_in: Any, message: Any, address: Any) -> None:
    sent = message(state="accepted", file_name="letter-1.pdf")
    message(file_name="result-1.txt")
    browser = signed_in("viewer")
    page = html(browser.get(address("list"), {"q": "letter"}))
    assert "No received message fits this" in page
    assert "One sent message does." in page
    assert f'href="{address("outbox")}?q=letter" role="button"' in page
    assert keys(html(browser.get(address("outbox"), {"q": "letter"}))) == [str(sent.pk)]
    page = html(browser.get(address("list"), {"q": "nothing like this"}))
    assert "No message fits this search" in page
    assert "No sent message fits this" in page


def test_without_a_search_nothing_is_compared(signed_in: Any, message: Any, address: Any) -> None:
    message(state="accepted")
    browser = signed_in("viewer")
    # A search that is too short filters nothing, so that everything would fit.
    for query in ({}, {"q": "a"}, {"state": "gone"}, {"mailbox": "nonsense"}):
        page = html(browser.get(address("list"), query))
        assert "sent message" not in page
        assert "portal-tabs__count" not in page


def test_another_teams_messages_are_counted_nowhere(
    signed_in: Any, message: Any, mailbox: Any, other_team: Any, address: Any
) -> None:
    theirs = mailbox(team=other_team, mailbox_id="RH8HC001")
    message(mailbox=theirs, state="accepted", file_name="letter-1.pdf")
    message(mailbox=theirs, file_name="letter-1.pdf")
    page = html(signed_in("manager").get(address("list"), {"q": "letter"}))
    assert 'Received<span class="portal-tabs__count"> (0)<' in page
    assert "No sent message fits this" in page
    assert set(counts(page).values()) == {"0"}


def test_a_fragment_brings_the_two_directions_along_but_not_by_itself(signed_in: Any, message: Any, address: Any) -> None:
    message(file_name="letter-1.pdf")
    browser = signed_in("viewer")
    url = address("list") + "?q=letter"
    asked = {"HX-Request": "true", "HX-Target": "rows"}
    part = html(browser.get(url, headers=asked))
    assert part.count('id="lists"') == 1
    assert 'hx-swap-oob="true"' in part
    assert 'id="lists"' not in html(browser.get(url, headers={**asked, "X-Portal-Refresh": "1"}))
    whole = html(browser.get(url))
    assert whole.count('id="lists"') == 1
    assert "hx-swap-oob" not in whole
    box = Message.objects.get().mailbox
    assert 'id="lists"' not in html(browser.get(address("inbox", box), headers=asked))
