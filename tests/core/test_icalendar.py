"""The writer of calendars, against RFC 5545 as a strict reader sees it that knows nothing of the writer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshportal.core import icalendar
from tests.core.reading_calendars import read, value

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def written(*events: icalendar.Event, name: str = "A name", description: str = "What it is") -> str:
    return "".join(icalendar.lines(name=name, description=description, events=events, now=NOW, every=timedelta(hours=6)))


def event(**fields: object) -> icalendar.Event:
    values = {"uid": "one@example", "at": NOW, "summary": "A summary", "description": "A description", **fields}
    return icalendar.Event(**values)  # type: ignore[arg-type]


def test_one_event_as_it_should_read() -> None:
    text = written(event(reminders=(90 * DAY, 7 * DAY), url="https://portal.example/x"))
    assert text.startswith("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:")
    assert text.endswith("END:VEVENT\r\nEND:VCALENDAR\r\n")
    calendar = read(text)
    (found,) = calendar.inside
    assert (found.kind, value(found, "UID"), value(found, "DTSTART")) == ("VEVENT", "one@example", "20261125T120000Z")
    assert (value(found, "DTSTAMP"), value(found, "URL")) == ("20261125T120000Z", "https://portal.example/x")
    assert [value(alarm, "TRIGGER") for alarm in found.inside] == ["-P90D", "-P7D"]
    assert {value(alarm, "ACTION") for alarm in found.inside} == {"DISPLAY"}
    assert {value(alarm, "DESCRIPTION") for alarm in found.inside} == {"A summary"}
    assert value(calendar, "REFRESH-INTERVAL") == "PT6H"


def test_a_calendar_without_events_still_holds_a_component() -> None:
    """RFC 5545, 3.6."""
    (found,) = read(written()).inside
    assert found.kind == "VTIMEZONE"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a;b,c\\d", r"a\;b\,c\\d"),
        ("two\nlines\r\nand\rthree", r"two\nlines\nand\nthree"),
        ("a\x00b\x07c\x7fd\x85e\ud800f\tg", "abcdef\tg"),
        ("END:VEVENT\r\nBEGIN:VALARM", r"END:VEVENT\nBEGIN:VALARM"),
        ("colon: and “quotes”", "colon: and “quotes”"),
    ],
)
def test_text_is_escaped(text: str, escaped: str) -> None:
    assert icalendar.escape(text) == escaped


def test_lines_are_folded_between_characters() -> None:
    for width in range(60, 90):
        for letter in ("x", "é", "€", "😀"):
            line = "SUMMARY:" + "a" * (width - 8) + letter * 40
            folded = icalendar.fold(line)
            assert folded.endswith("\r\n")
            parts = folded[:-2].split("\r\n")
            assert max(len(part.encode()) for part in parts) <= 75
            assert parts[0] + "".join(part[1:] for part in parts[1:]) == line
            assert all(part[0] == " " for part in parts[1:])


@pytest.mark.fuzz
@settings(deadline=None)
@given(name=st.text(max_size=200), summary=st.text(max_size=300), description=st.text(max_size=600))
def test_any_text_comes_back_as_it_was_and_changes_no_structure(name: str, summary: str, description: str) -> None:
    text = written(event(summary=summary, description=description, reminders=(DAY,)), name=name)
    assert all(len(line) <= 75 for line in text.encode().split(b"\r\n"))
    calendar = read(text)
    assert [(found.kind, [alarm.kind for alarm in found.inside]) for found in calendar.inside] == [("VEVENT", ["VALARM"])]

    def plain(given: str) -> str:
        lines = given.replace("\r\n", "\n").replace("\r", "\n")
        return "".join(letter for letter in lines if letter in "\n\t" or not (letter < " " or "\x7f" <= letter <= "\x9f"))

    assert value(calendar.inside[0], "SUMMARY") == plain(summary)
    assert value(calendar.inside[0], "DESCRIPTION") == plain(description)
    assert value(calendar, "X-WR-CALNAME") == plain(name)


def test_times_are_utc_and_spans_whole() -> None:
    assert icalendar.moment(datetime(2026, 7, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == "20260630T233000Z"
    with pytest.raises(ValueError):
        icalendar.moment(datetime(2026, 7, 1))  # noqa: DTZ001
    assert [icalendar.duration(span) for span in (DAY, 90 * DAY, timedelta(hours=36))] == ["P1D", "P90D", "PT36H"]
    for span in (timedelta(), timedelta(minutes=30), -DAY):
        with pytest.raises(ValueError):
            icalendar.duration(span)
