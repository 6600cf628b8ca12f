"""Times and spans in words. Stored in UTC, shown in Europe/London with the zone said."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

from django.utils import timezone

LONDON = ZoneInfo("Europe/London")
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def in_london(moment: datetime) -> datetime:
    """``moment`` on London clocks. A naive value is a mistake and raises ValueError."""
    if timezone.is_naive(moment):
        raise ValueError("A time without a zone cannot be shown.")
    return moment.astimezone(LONDON)


def london(moment: datetime, *, seconds: bool = False) -> str:
    """``24 Nov 2026, 14:05 GMT``; with seconds where the order of events matters."""
    local = in_london(moment)
    clock = local.strftime("%H:%M:%S" if seconds else "%H:%M")
    return f"{local.day} {local.strftime('%b %Y')}, {clock} {local.tzname()}"


def london_short(moment: datetime, *, now: datetime | None = None) -> str:
    """For dense tables: ``14:05`` today, ``Fri 14:05`` within six days either way, else ``24 Nov 2026``.

    The page says the zone.
    """
    local = in_london(moment)
    today = in_london(now or timezone.now()).date()
    apart = (local.date() - today).days
    if apart == 0:
        return local.strftime("%H:%M")
    if abs(apart) < 7:
        return local.strftime("%a %H:%M")
    return f"{local.day} {local.strftime('%b %Y')}"


def london_day(day: date) -> tuple[datetime, datetime]:
    """The first moment of ``day`` on London clocks, and the first moment after it, in UTC.

    A day at the very ends of the calendar, which another zone could not say, is taken for one nearer by.
    """
    day = min(max(day, date(1900, 1, 1)), date(9000, 1, 1))
    following = day + timedelta(days=1)
    first, after = (datetime.combine(found, clock(), LONDON).astimezone(UTC) for found in (day, following))
    return first, after


def zone_name(now: datetime | None = None) -> str:
    """``GMT`` or ``BST``, as London clocks show now."""
    return str(in_london(now or timezone.now()).tzname())


def span_words(span: timedelta, *, parts: int = 2) -> str:
    """``2 days 4 hours``: the largest unit and the next, never more than ``parts`` of them; the sign is dropped."""
    rest = int(abs(span.total_seconds()))
    words: list[str] = []
    for name, size in _UNITS:
        number, rest = divmod(rest, size)
        if number:
            words.append(f"{number} {name}{'' if number == 1 else 's'}")
        elif words:
            break
        if len(words) == parts:
            break
    return " ".join(words) or "0 seconds"


def age_words(moment: datetime, *, now: datetime | None = None) -> str:
    """How long ago ``moment`` was, or how far ahead it is, in words without "ago"."""
    return span_words((now or timezone.now()) - moment)
