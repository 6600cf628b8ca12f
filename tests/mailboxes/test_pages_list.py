"""The mailbox list: who may see it, what it shows, filters, orders, pages."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from certificates.models import ClientIdentity
from mailboxes import filters, health, selectors
from mailboxes.models import Mailbox
from mailboxes.views.lists import MailboxList
from meshportal.web.sorting import order_of

pytestmark = pytest.mark.django_db
ADDRESS = "/t/midshire/mailboxes/"
HOSTILE = "<script>alert(1)</script>\"'=cmd|' /C calc'!A0"


def page(browser: Any, query: str = "", **headers: str) -> str:
    answer = browser.get(f"{ADDRESS}{query}", headers=headers)
    assert answer.status_code == 200
    return str(answer.content.decode())


def names(html: str) -> list[str]:
    return re.findall(r'<th scope="row"[^>]*><a [^>]*>([^<]*)</a>', html)


@pytest.fixture
def of_each_state(mailbox: Any) -> dict[str, Mailbox]:
    now = timezone.now()
    on_time = {"last_polled_at": now - timedelta(minutes=2), "last_handshake_at": now - timedelta(hours=1)}
    return {
        "ok": mailbox(name="Fine", waiting_count=3, **on_time),
        "problem": mailbox(
            name="Broken",
            problem_code="sign_in_refused",
            problem="MESH refused the sign-in.",
            problem_advice="Check the password.",
            problem_since=now - timedelta(hours=2),
            consecutive_failures=7,
            last_polled_at=now - timedelta(hours=3),
            waiting_count=12,
        ),
        "late": mailbox(name="Slow", last_polled_at=now - timedelta(hours=4)),
        "new": mailbox(name="Young"),
        "paused": mailbox(name="Asleep", mode="paused", last_polled_at=now - timedelta(days=9), problem_code="x"),
    }


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
def test_every_role_sees_the_list(role: str, signed_in: Any, mailbox: Any) -> None:
    mailbox(name="Pathology")
    assert names(page(signed_in(role))) == ["Pathology"]


@pytest.mark.tenancy
def test_a_stranger_gets_the_sign_in_page_and_another_team_a_404(
    client: Any, signed_in: Any, mailbox: Any, other_team: Any
) -> None:
    mailbox()
    assert client.get(ADDRESS)["Location"].startswith("/sign-in/")
    assert signed_in("manager", team=other_team).get(ADDRESS).status_code == 404


@pytest.mark.tenancy
def test_rows_and_certificates_of_another_team_are_invisible(
    signed_in: Any, mailbox: Any, identity: Any, other_team: Any
) -> None:
    mailbox(name="Ours")
    mailbox(name="Theirs", team=other_team)
    browser = signed_in("viewer", team=other_team)
    html = str(browser.get("/t/otherton/mailboxes/").content.decode())
    assert names(html) == ["Theirs"]
    assert identity.name not in html
    # A certificate of another team is no choice: the filter says so and hides nothing.
    answer = browser.get(f"/t/otherton/mailboxes/?certificate={identity.pk}").content.decode()
    assert "This filter was left out" in answer
    assert names(answer) == ["Theirs"]


def test_a_team_without_mailboxes_is_told_how_to_add_one(signed_in: Any, team: Any) -> None:
    html = page(signed_in("manager"))
    assert "This team has no mailbox yet" in html
    assert 'href="/t/midshire/mailboxes/add/"' in html
    assert "<table" not in html
    html = page(signed_in("viewer"))
    assert "A manager of your team can add one." in html and "/mailboxes/add/" not in html


def test_each_state_has_its_word_and_reason(signed_in: Any, of_each_state: dict[str, Mailbox]) -> None:
    html = page(signed_in("viewer"))
    for state in health.STATES.values():
        assert re.search(rf"portal-tag--{state.tone}\".*?</svg>{state.word}</strong>", html)
    assert "MESH refused the sign-in." in html
    assert "expected every 5 minutes" in html
    assert "Waits for its first poll" in html
    assert "5 mailboxes, 2 need a person" in html


def test_the_state_in_sql_is_the_state_in_python(mailbox: Any, team: Any) -> None:
    now = timezone.now()
    moments = (
        None,
        timedelta(seconds=30),
        timedelta(seconds=80),
        timedelta(minutes=14),
        timedelta(minutes=16),
        timedelta(days=2),
    )
    for mode in ("collect", "watch", "paused"):
        for problem in ("", "timeout"):
            for seconds in (10, 300, 86_400):
                for ago in moments:
                    mailbox(
                        mode=mode,
                        problem_code=problem,
                        poll_interval_seconds=seconds,
                        last_polled_at=now - ago if ago is not None else None,
                    )
    old = now - timedelta(hours=2)
    Mailbox.objects.filter(pk=mailbox(last_polled_at=None).pk).update(created_at=old)
    rows = list(selectors.with_standing(selectors.mailboxes_of(team), now))
    assert len(rows) == 109
    assert {row.standing for row in rows} == set(health.STATES)
    assert [row.standing for row in rows] == [row.health for row in rows]
    counts = selectors.standing_counts(team, now)
    assert list(counts) == list(health.STATES)
    assert sum(counts.values()) == 109


@pytest.mark.parametrize("state", list(health.STATES))
def test_the_state_filters(state: str, signed_in: Any, of_each_state: dict[str, Mailbox]) -> None:
    assert names(page(signed_in("viewer"), f"?state={state}")) == [of_each_state[state].name]


@pytest.mark.parametrize("query", ["path", "X26HC777", "x26hc777", "g810", "elm", "PATHOLOGY elm"])
def test_the_text_looks_into_name_id_and_organisation(query: str, signed_in: Any, mailbox: Any) -> None:
    found = mailbox(name="Pathology", mailbox_id="X26HC777", ods_code="G81086")
    found.organisation.name = "Elm Practice"
    found.organisation.save()
    mailbox(name="Radiology")
    assert names(page(signed_in("viewer"), f"?text={query}")) == ["Pathology"]


@pytest.mark.parametrize("query", ["environment=int", "mode=watch", "mode=watch&environment=int", "text=50%25_"])
def test_environment_and_mode_filter_and_wildcards_are_letters(query: str, signed_in: Any, mailbox: Any) -> None:
    mailbox(name="50%_ Tests", environment="int", mode="watch", identity=None)
    mailbox(name="Other")
    assert names(page(signed_in("viewer"), f"?{query}")) == ["50%_ Tests"]


def test_the_certificate_filters(signed_in: Any, mailbox: Any, identity: Any) -> None:
    mailbox(name="With")
    mailbox(name="Without", identity=None)
    assert names(page(signed_in("viewer"), f"?certificate={identity.pk}")) == ["With"]


@pytest.mark.parametrize(
    "query", ["state=broken", "mode=x", "environment=LIVE", "certificate=1", "text=%00", "text=" + "a" * 101]
)
def test_a_filter_that_makes_no_sense_is_named_and_left_out(query: str, signed_in: Any, mailbox: Any) -> None:
    mailbox(name="Ours")
    html = page(signed_in("viewer"), f"?{query}")
    assert "This filter was left out" in html
    assert names(html) == ["Ours"]


def test_filters_that_fit_nothing_offer_the_way_back(signed_in: Any, mailbox: Any) -> None:
    mailbox()
    html = page(signed_in("viewer"), "?text=nowhere")
    assert "No mailbox fits these filters" in html
    assert f'href="{ADDRESS}"' in html


def test_those_that_need_a_person_stand_first(signed_in: Any, of_each_state: dict[str, Mailbox]) -> None:
    browser = signed_in("viewer")
    assert names(page(browser)) == ["Broken", "Slow", "Young", "Fine", "Asleep"]
    assert names(page(browser, "?sort=-state")) == ["Asleep", "Fine", "Young", "Slow", "Broken"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", ["Asleep", "Broken", "Fine", "Slow", "Young"]),
        ("-name", ["Young", "Slow", "Fine", "Broken", "Asleep"]),
        ("polled", ["Young", "Asleep", "Slow", "Broken", "Fine"]),
        ("-polled", ["Fine", "Broken", "Slow", "Asleep", "Young"]),
        ("-waiting", ["Broken", "Fine", "Asleep", "Slow", "Young"]),
        ("waiting", ["Fine", "Broken", "Asleep", "Slow", "Young"]),
        ("nonsense", ["Broken", "Slow", "Young", "Fine", "Asleep"]),
    ],
)
def test_orders(sort: str, order: list[str], signed_in: Any, of_each_state: dict[str, Mailbox]) -> None:
    assert names(page(signed_in("viewer"), f"?sort={sort}")) == order


def test_a_sorted_column_says_so_and_turns_round(signed_in: Any, mailbox: Any) -> None:
    mailbox()
    html = page(signed_in("viewer"), "?sort=name&mode=collect")
    assert html.count("aria-sort=") == 1
    assert (
        'aria-sort="ascending"><a class="portal-sort" id="sort-mailbox" href="/t/midshire/mailboxes/?sort=-name&amp;mode=collect"'
        in html
    )
    assert '<input type="hidden" name="sort" value="name" form="filters">' in html


def test_pages_hold_every_mailbox_once_in_any_order(signed_in: Any, mailbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MailboxList, "page_size", 4)
    for number in range(10):
        mailbox(name="Same name", waiting_count=number % 2)
    browser = signed_in("viewer")
    for sort in ("name", "state", "polled", "-waiting"):
        found = [
            key for number in (1, 2, 3) for key in re.findall(r'data-key="([^"]+)"', page(browser, f"?sort={sort}&page={number}"))
        ]
        assert len(found) == len(set(found)) == 10
    html = page(browser, "?page=2")
    assert "Page 2 of 3" in html
    assert 'rel="prev" href="/t/midshire/mailboxes/?page=1"' in html
    assert "Page 3 of 3" in page(browser, "?page=999")
    assert "Page 1 of 3" in page(browser, "?page=x")


def test_every_order_has_words_and_a_key_of_its_own() -> None:
    orders = [order for pair in filters.ORDERS.values() for order in pair]
    assert len({order.key for order in orders}) == len({order.words for order in orders}) == 8
    assert all(order_of(filters.ORDERS, order.key, filters.DEFAULT_ORDER) == order for order in orders)


def test_the_fragment_is_the_table_alone_and_is_not_cached_as_the_page(signed_in: Any, mailbox: Any) -> None:
    mailbox(name="Ours")
    answer = signed_in("viewer").get(ADDRESS, headers={"HX-Request": "true", "HX-Target": "rows"})
    html = answer.content.decode()
    assert html.strip().startswith('<div id="rows"')
    assert "<html" not in html
    assert 'data-refresh="30"' in html
    assert "HX-Request" in answer["Vary"]


def test_hostile_text_is_text(signed_in: Any, mailbox: Any) -> None:
    found = mailbox(name=HOSTILE, problem_code="x", problem=HOSTILE, problem_advice=HOSTILE)
    found.organisation.name = HOSTILE
    found.organisation.save()
    html = page(signed_in("viewer"), "?text=%3Cscript%3E")
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3


def test_a_password_that_cannot_be_unsealed_hides_no_row(signed_in: Any, mailbox: Any, identity: Any) -> None:
    found = mailbox(name="Ours")
    table, column = Mailbox._meta.db_table, ClientIdentity._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET password = %s", [b"not a token"])  # noqa: S608
        cursor.execute(f"UPDATE {column} SET private_key = %s", [b"not a token"])  # noqa: S608
    browser = signed_in("operator")
    assert names(page(browser)) == ["Ours"]
    assert browser.get(f"{ADDRESS}{found.pk}/").status_code == 200
    assert browser.post(f"{ADDRESS}{found.pk}/poll/").status_code == 302


def test_thirty_mailboxes_cost_no_more_queries_than_one(signed_in: Any, mailbox: Any, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        mailbox(name=f"Ward {number}", ods_code=f"X{number:03d}")
    browser = signed_in("viewer")
    page(browser)
    with django_assert_max_num_queries(11):
        page(browser, "?mode=collect")
    with django_assert_max_num_queries(10):
        page(browser, "?sort=name", **{"HX-Request": "true"})
