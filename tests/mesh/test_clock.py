"""Two clocks: ours and the service's, compared at every answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshportal.mesh import MeshClient, errors
from tests.double import Double, faults

from .conftest import AsClient, Raw
from .raw import answer

pytestmark = pytest.mark.faults

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [-86_400, -7300, -90, 0, 90, 7300, 86_400])
def test_the_skew_is_ours_minus_theirs(double: Double, as_client: AsClient, ahead: int) -> None:
    double.clock.freeze(NOW)
    client = as_client(double.base_url, now=lambda: NOW)
    assert client.clock_skew is None
    double.faults.add(match={"route": "list"}, action=faults.skew_date(ahead))
    client.inbox_page()
    assert client.clock_skew == timedelta(seconds=-ahead)
    client.inbox_page()
    assert client.clock_skew == timedelta(0)


def test_every_answer_tells_the_time(double: Double, as_client: AsClient) -> None:
    double.clock.freeze(NOW)
    put = double.put("X26ABC1", b"x")
    asks: list[Any] = [
        lambda client: client.handshake(),
        lambda client: client.head(put.message_id),
        lambda client: client.download(put.message_id).__enter__().__exit__(None, None, None),
        lambda client: client.acknowledge(put.message_id),
        lambda client: client.send(b"x", recipient="X26ABC2", workflow_id="TEST_WORKFLOW"),
        lambda client: client.ping(),
    ]
    for ask in asks:
        client = as_client(double.base_url, now=lambda: NOW + timedelta(seconds=30))
        ask(client)
        assert client.clock_skew == timedelta(seconds=30)
    refused = as_client(double.base_url, now=lambda: NOW + timedelta(seconds=30))
    with pytest.raises(errors.NotFound):
        refused.track("unknown")
    assert refused.clock_skew == timedelta(seconds=30)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_hours_wrong(double: Double, as_client: AsClient, waits: list[float], hours: int) -> None:
    """The service refuses every token, and the error says why: no second attempt would help."""
    double.clock.freeze(NOW)
    client = as_client(double.base_url, now=lambda: NOW + timedelta(hours=hours))
    with pytest.raises(errors.AuthenticationFailed) as caught:
        client.inbox_page()
    assert caught.value.clock_skew == timedelta(hours=hours)
    assert (len(double.recorder.records()), waits) == (1, [])


@pytest.mark.parametrize("minutes", [-119, 119])
def test_a_clock_inside_the_window(double: Double, as_client: AsClient, minutes: int) -> None:
    double.clock.freeze(NOW)
    client = as_client(double.base_url, now=lambda: NOW + timedelta(minutes=minutes))
    client.inbox_page()
    assert client.clock_skew == timedelta(minutes=minutes)


def test_a_refusal_inside_the_window_is_repeated_and_tells_the_skew(double: Double, as_client: AsClient) -> None:
    double.clock.freeze(NOW)
    client = as_client(double.base_url, now=lambda: NOW + timedelta(minutes=5), password="wrong")
    with pytest.raises(errors.AuthenticationFailed) as caught:
        client.inbox_page()
    assert caught.value.clock_skew == timedelta(minutes=5)
    assert len(double.recorder.records()) == 2


def test_an_error_under_a_200_tells_the_skew(raw: Raw, as_client: AsClient) -> None:
    date = {"Date": "Tue, 24 Nov 2026 12:00:00 GMT"}
    server = raw(answer(200, b'{"errorCode": "EPL-151", "errorDescription": "x"}', date))
    client = as_client(server.url, now=lambda: NOW + timedelta(hours=5))
    with pytest.raises(errors.AuthenticationFailed) as caught:
        client.handshake()
    assert caught.value.clock_skew == timedelta(hours=5)


@pytest.mark.parametrize(
    "date",
    ["", "yesterday", "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 99 Foo 2026 99:99:99 GMT", "1" * 500, "Tue, 24 Nov 2026"],
)
def test_a_date_that_is_none(raw: Raw, as_client: AsClient, date: str) -> None:
    client: MeshClient = as_client(raw(answer(200, b'{"messages": []}', {"Date": date})).url)
    client.inbox_page()
    assert client.clock_skew is None
