"""Keyset pages: every row once, in order, also over ties, and nonsense cursors are the first page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from mailboxes.models import Mailbox
from meshportal.core import pagination

pytestmark = pytest.mark.django_db


def make(mailbox: Any, number: int) -> list[Any]:
    now = timezone.now()
    # Groups of four share one time, so that page edges fall inside ties.
    return [mailbox(next_poll_at=now - timedelta(minutes=index // 4)) for index in range(number)]


def test_older_then_newer_walks_the_same_rows_back(mailbox: Any) -> None:
    make(mailbox, 23)
    pages = [pagination.page(Mailbox.objects.all(), field="next_poll_at", size=5)]
    while pages[-1].older:
        pages.append(pagination.page(Mailbox.objects.all(), field="next_poll_at", size=5, cursor=pages[-1].older))
    seen = [row.pk for found in pages for row in found.rows]
    expected = list(Mailbox.objects.order_by("-next_poll_at", "-pk").values_list("pk", flat=True))
    assert seen == expected
    assert pages[0].newer == ""
    back = pages[-1]
    for forward in reversed(pages[:-1]):
        back = pagination.page(Mailbox.objects.all(), field="next_poll_at", size=5, cursor=back.newer)
        assert [row.pk for row in back.rows] == [row.pk for row in forward.rows]
    assert back.newer == ""


def test_an_empty_table_has_one_empty_page() -> None:
    found = pagination.page(Mailbox.objects.all(), field="next_poll_at")
    assert (found.rows, found.newer, found.older) == ([], "", "")


@given(st.text(max_size=200))
def test_a_cursor_that_makes_no_sense_is_the_first_page(cursor: str) -> None:
    assert pagination._decode(cursor) is None or cursor
    pagination._decode(cursor)


@pytest.mark.parametrize("cursor", ["x", "W10", "eyJhIjoxfQ", "WyJvbGRlciIsIjIwMjYiLCIxIl0", "W" * 5000, "\x00", "%%%"])
def test_known_nonsense(mailbox: Any, cursor: str) -> None:
    make(mailbox, 3)
    found = pagination.page(Mailbox.objects.all(), field="next_poll_at", cursor=cursor)
    assert len(found.rows) == 3


def test_counts_stop_at_the_cap(mailbox: Any) -> None:
    make(mailbox, 6)
    assert pagination.capped_count(Mailbox.objects.all(), cap=5) == (5, True)
    assert pagination.capped_count(Mailbox.objects.all(), cap=6) == (6, False)


def test_a_cursor_at_the_end_of_the_calendar_is_the_first_page() -> None:
    from meshportal.core.pagination import _decode, _encode

    for moment in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)):
        assert _decode(_encode("older", moment, "1")) is None
