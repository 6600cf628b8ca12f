"""Working days in England: the days from Monday to Friday that are no bank holiday.

The days are those of the Banking and Financial Dealings Act 1971, schedule 1, with the substitute days that gov.uk
(bank-holidays, England and Wales) publishes. They follow from the calendar, so that no list runs out. A day that is
proclaimed once, such as a coronation, goes into ``PROCLAIMED``.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

PROCLAIMED: frozenset[date] = frozenset()
_DAY = timedelta(days=1)


@cache
def bank_holidays(year: int) -> frozenset[date]:
    """The bank holidays of ``year`` in England, substitute days in place of those on a weekend."""
    easter = _easter(year)
    spring = date(year, 5, 31)
    summer = date(year, 8, 31)
    first_of_may = date(year, 5, 1)
    days = {
        easter - 2 * _DAY,
        easter + _DAY,
        first_of_may + _DAY * (-first_of_may.weekday() % 7),
        spring - _DAY * spring.weekday(),
        summer - _DAY * summer.weekday(),
    }
    for fixed in (date(year, 1, 1), date(year, 12, 25), date(year, 12, 26)):
        observed = fixed
        while observed.weekday() >= 5 or observed in days:
            observed += _DAY
        days.add(observed)
    return frozenset(days | {day for day in PROCLAIMED if day.year == year})


def is_working_day(day: date) -> bool:
    return day.weekday() < 5 and day not in bank_holidays(day.year)


def add_working_days(start: date, number: int) -> date:
    """The working day that comes ``number`` working days after ``start``, which does not count itself."""
    day = start
    while number > 0:
        day += _DAY
        number -= is_working_day(day)
    return day


def working_days_between(first: date, last: date) -> int:
    """How many working days come after ``first`` up to and with ``last``; 0 when ``last`` is not later."""
    days = max((last - first).days, 0)
    return sum(is_working_day(first + _DAY * number) for number in range(1, days + 1))


def _easter(year: int) -> date:
    """Easter Sunday in the Gregorian calendar (Meeus, Jones and Butcher)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)
