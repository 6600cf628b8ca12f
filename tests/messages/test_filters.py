"""The filters of message lists: each narrows as it says; nonsense filters nothing and is named."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict

from messages import selectors
from messages.filters import TOO_SHORT, MessageFilter
from messages.models import Message

pytestmark = pytest.mark.django_db


@pytest.fixture
def narrowed(team: Any) -> Any:
    """``narrowed(q="abc")``: the rows that the team's list shows, and the sentences of its filters."""

    def run(**query: str) -> tuple[set[Any], str]:
        data = QueryDict(mutable=True)
        data.update(query)
        found = MessageFilter(data, queryset=selectors.listed(team), request=SimpleNamespace(team=team))
        rows = {row.pk for row in found.qs}
        return rows, " ".join(sentence for errors in found.form.errors.values() for sentence in errors)

    return run


def test_text_is_looked_for_in_ids_file_name_and_local_id(narrowed: Any, message: Any) -> None:
    by_id = message(mesh_id="20261124000000000001_ABCDEF")
    by_name = message(file_name="Discharge-17.xml")
    by_local = message(local_id="tie/0099")
    message()
    assert narrowed(q="0001_abc") == ({by_id.pk}, "")
    assert narrowed(q="charge-17") == ({by_name.pk}, "")
    assert narrowed(q=" TIE/00 ") == ({by_local.pk}, "")
    assert narrowed(q="nowhere") == (set(), "")


@pytest.mark.parametrize("wild", ["a%cd", "a_c1", "100%", "ab\\c", "%%%abc", "___abc"])
def test_wildcards_stand_for_themselves(narrowed: Any, message: Any, wild: str) -> None:
    literal = message(file_name=f"x{wild}x")
    message(file_name="xabcdx1xaXc1 1000 abbc")
    assert narrowed(q=wild) == ({literal.pk}, "")


def test_letters_beyond_ascii_are_found_as_they_were_sent(narrowed: Any, message: Any) -> None:
    kept = message(file_name="Bérénice.txt")
    assert narrowed(q="bérénice") == ({kept.pk}, "")


@pytest.mark.parametrize("short", ["a", "ab", "--", "a-b", "%%%", "...."])
def test_fewer_than_three_letters_get_a_sentence_and_filter_nothing(narrowed: Any, message: Any, short: str) -> None:
    row = message()
    assert narrowed(q=short) == ({row.pk}, TOO_SHORT)


def test_the_search_is_one_like_over_an_upper_case_term(team: Any, django_assert_num_queries: Any) -> None:
    """Anything else, such as UPPER(search) or ILIKE, would leave the trigram index unused."""
    rows = MessageFilter(QueryDict("q=abc_1"), queryset=selectors.listed(team), request=SimpleNamespace(team=team)).qs.order_by()
    with django_assert_num_queries(1) as captured:
        list(rows)
    sql = captured.captured_queries[0]["sql"]
    assert "UPPER(" not in sql.upper().replace("UPPER(CONCAT", "")
    assert sql.count("LIKE") == 1
    assert r"%ABC\_1%" in sql.replace("\\\\", "\\")
    if connection.vendor == "postgresql":
        assert "ILIKE" not in sql
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_indexscan = off")
            plan = Message.objects.filter(search__contains="ABCDEF").order_by().explain()
        assert "message_search_trigram" in plan


def test_state_one_or_all_of_the_inbox(narrowed: Any, message: Any) -> None:
    listed, quarantined, stored = message(), message(state="quarantined"), message(state="stored")
    done, gone = message(state="acknowledged"), message(state="gone")
    assert narrowed(state="quarantined")[0] == {quarantined.pk}
    assert narrowed(state="inbox")[0] == {listed.pk, quarantined.pk, stored.pk}
    assert narrowed(state="")[0] == {listed.pk, quarantined.pk, stored.pk, done.pk, gone.pk}


def test_workflow_and_sender_are_whole_or_a_beginning(narrowed: Any, message: Any) -> None:
    first = message(workflow_id="CDS_ONE", sender="YGM24OT001")
    second = message(workflow_id="CDS_TWO", sender="YGM24OT002")
    message(workflow_id="XCDS", sender="X26HC001")
    assert narrowed(workflow="CDS_ONE")[0] == {first.pk}
    assert narrowed(workflow="cds_two")[0] == {second.pk}
    assert narrowed(workflow="CDS")[0] == set()
    assert narrowed(workflow="CDS*")[0] == {first.pk, second.pk}
    assert narrowed(workflow="C%*")[0] == set()
    assert narrowed(sender="ygm24ot001")[0] == {first.pk}
    assert narrowed(sender="YGM24*")[0] == {first.pk, second.pk}


def test_type(narrowed: Any, message: Any) -> None:
    report, letter = message(message_type="REPORT"), message()
    assert narrowed(type="REPORT")[0] == {report.pk}
    assert narrowed(type="DATA")[0] == {letter.pk}


def test_days_are_days_of_london(narrowed: Any, message: Any) -> None:
    # 23:30 on 30 June in UTC is 00:30 on 1 July in London.
    summer = message(seen_at=datetime(2026, 6, 30, 23, 30, tzinfo=UTC))
    before = message(seen_at=datetime(2026, 6, 30, 22, 30, tzinfo=UTC))
    assert narrowed(since="2026-07-01")[0] == {summer.pk}
    assert narrowed(until="2026-06-30")[0] == {before.pk}
    assert narrowed(since="2026-06-30", until="2026-07-01")[0] == {summer.pk, before.pk}
    assert narrowed(since="30/06/2026", until="30/06/2026")[0] == {before.pk}


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_ends_of_the_calendar_are_days_too(narrowed: Any, message: Any, day: str) -> None:
    row = message()
    assert narrowed(since=day)[0] == (set() if day.startswith("9") else {row.pk})
    assert narrowed(until=day)[0] == ({row.pk} if day.startswith("9") else set())


def test_a_mailbox_of_the_team_and_no_other(narrowed: Any, message: Any, mailbox: Any, other_team: Any) -> None:
    box, theirs = mailbox(), mailbox(team=other_team)
    row, other = message(mailbox=box), message()
    message(mailbox=theirs)
    assert narrowed(mailbox=str(box.pk)) == ({row.pk}, "")
    assert narrowed(mailbox=str(theirs.pk)) == ({row.pk, other.pk}, "This team has no such mailbox.")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"state": "<script>"}, "There is no state <script>."),
        ({"type": "x"}, "There is no type x."),
        ({"since": "2026-13-01"}, "“Seen from” needs a date such as 2026-11-24."),
        ({"until": "yesterday"}, "“Seen until” needs a date such as 2026-11-24."),
        ({"since": "2026-11-24", "until": "2026-11-23"}, "The period ends before it begins."),
        ({"mailbox": "x"}, "This team has no such mailbox."),
        ({"q": "a" * 301}, "“ID, file name, local ID” takes at most 300 characters."),
        ({"workflow": "a\x00b"}, "“Workflow ID” holds a character that no message can hold."),
    ],
)
def test_nonsense_is_named_and_filters_nothing(narrowed: Any, message: Any, query: dict[str, str], sentence: str) -> None:
    row = message(seen_at=datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert narrowed(**query) == ({row.pk}, sentence)


def test_one_bad_filter_leaves_the_others_in_force(narrowed: Any, message: Any) -> None:
    wanted = message(state="quarantined")
    message()
    rows, sentence = narrowed(state="quarantined", q="a")
    assert rows == {wanted.pk}
    assert sentence == TOO_SHORT
