"""Working days in England, against what gov.uk published."""

from __future__ import annotations

from datetime import date

import pytest

from mailboxes.working_days import add_working_days, bank_holidays, working_days_between

# gov.uk/bank-holidays, England and Wales.
PUBLISHED = {
    2024: "2024-01-01 2024-03-29 2024-04-01 2024-05-06 2024-05-27 2024-08-26 2024-12-25 2024-12-26",
    2025: "2025-01-01 2025-04-18 2025-04-21 2025-05-05 2025-05-26 2025-08-25 2025-12-25 2025-12-26",
    2026: "2026-01-01 2026-04-03 2026-04-06 2026-05-04 2026-05-25 2026-08-31 2026-12-25 2026-12-28",
    2027: "2027-01-01 2027-03-26 2027-03-29 2027-05-03 2027-05-31 2027-08-30 2027-12-27 2027-12-28",
    2028: "2028-01-03 2028-04-14 2028-04-17 2028-05-01 2028-05-29 2028-08-28 2028-12-25 2028-12-26",
}


@pytest.mark.parametrize("year", PUBLISHED)
def test_the_bank_holidays_are_those_that_were_published(year: int) -> None:
    assert sorted(bank_holidays(year)) == [date.fromisoformat(day) for day in PUBLISHED[year].split()]


@pytest.mark.parametrize(
    ("start", "number", "end"),
    [
        ("2026-11-25", 10, "2026-12-09"),
        ("2026-11-28", 1, "2026-11-30"),
        ("2026-12-18", 10, "2027-01-06"),
        ("2026-12-24", 1, "2026-12-29"),
        ("2027-12-24", 1, "2027-12-29"),
        ("2026-04-02", 1, "2026-04-07"),
        ("2026-11-25", 0, "2026-11-25"),
    ],
)
def test_ten_working_days_and_others(start: str, number: int, end: str) -> None:
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    assert add_working_days(first, number) == last
    if number:
        assert working_days_between(first, last) == number


def test_no_days_lie_between_a_day_and_one_before_it() -> None:
    assert working_days_between(date(2026, 12, 2), date(2026, 12, 1)) == 0
