"""What became of a message, who receives what, and whether anybody answers at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from meshportal.mesh import EndpointMatch, MeshClient, Tracking, errors
from meshportal.mesh.parse import flag, timestamp, whole_number
from tests.double import Double, faults

from .conftest import TWO, AsClient, Raw
from .raw import answer

AT = datetime(2026, 11, 24, 9, 8, 7, tzinfo=UTC)

JUNK: list[Any] = [
    *("", "soon", "20261324090807", "2026-11-24T25:00:00", "0", "9" * 14),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", None, True, 1.5, [], {}, b"x"),
]


def sent(client: MeshClient, **options: Any) -> str:
    return client.send(b"abcdef", recipient=TWO, workflow_id="TEST_WORKFLOW", **options).message_id


def test_version_2(double: Double, client: MeshClient) -> None:
    double.clock.freeze(datetime.now(UTC).replace(microsecond=5))
    known = sent(client, local_id="mine", file_name="a.pdf", subject="s")
    found = client.track(known)
    assert (found.message_id, found.status, found.status_success) == (known, "accepted", True)
    assert (found.local_id, found.file_name, found.workflow_id) == ("mine", "a.pdf", "TEST_WORKFLOW")
    assert (found.recipient, found.recipient_name, found.recipient_ods_code) == (TWO, f"Mailbox {TWO}", "X26")
    assert (found.recipient_org_code, found.recipient_org_name) == ("X26", f"Mailbox {TWO}")
    assert (found.uploaded_at, found.acknowledged_at, found.size) == (double.clock.now(), None, None)
    assert found.expires_at == double.clock.now() + timedelta(days=30)
    assert found.raw["message_id"] == known
    double.withdraw(known)
    failed = client.track(known)
    assert (failed.status, failed.status_code, failed.status_event) == ("undeliverable", "14", "SEND")
    assert failed.status_success is True  # as the sandbox has it: decide on the status


def test_version_1(double: Double, client: MeshClient, other: MeshClient) -> None:
    double.clock.freeze(datetime.now(UTC).replace(microsecond=0))
    known = sent(client, local_id="mine", subject="about", chunk_size=3)
    other.acknowledge(known)
    found = client.track(known, version=1)
    assert (found.message_id, found.status, found.status_success) == (known, "acknowledged", True)
    assert (found.acknowledged_at, found.uploaded_at) == (double.clock.now(), double.clock.now())
    assert (found.size, found.chunk_count, found.subject, found.sender) == (6, 2, "about", "X26ABC1")
    assert (found.failed_at, found.failure_diagnostic, found.linked_message_id) == (None, "", "")


def test_a_failure_in_version_1(double: Double, client: MeshClient) -> None:
    known = sent(client)
    double.withdraw(known, status="error", code="17")
    found = client.track(known, version=1)
    assert (found.status, found.status_success, found.status_code) == ("error", False, "17")
    assert found.failure_diagnostic == "Withdrawn"
    assert found.failed_at is not None and abs(found.failed_at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.faults
def test_while_uploading(double: Double, client: MeshClient) -> None:
    double.faults.add(match={"route": "send_chunk"}, action=faults.status(503), times=None)
    with pytest.raises(errors.Unavailable) as caught:
        sent(client, chunk_size=3)
    assert client.track(caught.value.message_id).status == "uploading"
    assert client.track(caught.value.message_id, version=1).status == "uploading"


def test_by_local_id(double: Double, client: MeshClient) -> None:
    for local_id in ("mine", "a/b?c", "with space", ";&=+", "é"):
        known = sent(client, local_id=local_id)
        assert client.track_by_local_id(local_id).message_id == known
    sent(client, local_id="mine")
    with pytest.raises(errors.NotUnique) as several:
        client.track_by_local_id("mine")
    assert (several.value.status, several.value.retryable) == (300, False)
    with pytest.raises(errors.NotFound):
        client.track_by_local_id("unknown")
    for hostile in ("..", "", "x" * 301, "a\nb"):
        with pytest.raises(errors.InvalidRequest):
            client.track_by_local_id(hostile)


def test_only_the_sender_may_ask(client: MeshClient, other: MeshClient) -> None:
    known = sent(client)
    for version in (1, 2):
        with pytest.raises(errors.NotFound) as caught:
            other.track(known, version=version)
        assert caught.value.message_id == known


def test_an_id_is_quoted_in_the_query(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(200, b'{"message_id": "a&b=c d#e"}'))
    as_client(server.url).track("a&b=c d#e")
    assert b"/outbox/tracking?messageID=a%26b%3Dc+d%23e HTTP/1.1" in server.requests[0]
    with pytest.raises(errors.InvalidRequest):
        as_client(server.url).track("x" * 100_000)
    assert len(server.requests) == 1


@pytest.mark.faults
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'"x"', b'{"message_id": ""}', b"<html></html>", b'{"status": 1}'])
def test_what_is_no_tracking_record(raw: Raw, as_client: AsClient, body: bytes) -> None:
    client = as_client(raw(answer(200, body)).url)
    for ask in (client.track, client.track_by_local_id):
        with pytest.raises(errors.UnexpectedAnswer):
            ask("M1")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("20261124090807", AT),
        (20261124090807, AT),
        ("2026-11-24T09:08:07", AT),
        ("2026-11-24T09:08:07Z", AT),
        ("2026-11-24T09:08:07.000", AT),
        ("2026-11-24T10:08:07+01:00", AT),
        (" 2026-11-24 09:08:07 ", AT),
        ("20261124T090807", AT),
        ("20261124090807123456", AT),
        ("202611240908", AT.replace(second=0)),
        ("20261124", AT.replace(hour=0, minute=0, second=0)),
        ("2026-11-24T09:08:07.123456", AT.replace(microsecond=123456)),
        *((junk, None) for junk in JUNK),
        pytest.param(10**5000, None, id="thousands of digits"),
    ],
)
def test_timestamps(said: Any, read: datetime | None) -> None:
    found = timestamp(said)
    assert found == read
    assert found is None or found.utcoffset() == timedelta(0)


def test_flags_and_numbers() -> None:
    for yes in ("Y", "y", "TRUE", "True", " yes ", "1", "SUCCESS", True):
        assert flag(yes) is True
    for no in ("N", "FALSE", "no", "0", "ERROR", False):
        assert flag(no) is False
    neithers: list[Any] = ["", "maybe", None, 1, 0, [], "NULL"]
    for neither in neithers:
        assert flag(neither) is None
    assert [whole_number(one) for one in (7, "7", " 07 ", "0", 0)] == [7, 7, 7, 0, 0]
    assert [whole_number(one) for one in (-1, "-1", "1.0", 1.0, True, None, "", "x", "9" * 19, "7 7")] == [None] * 10


def test_lookup(double: Double, client: MeshClient) -> None:
    assert client.lookup("X99", "TEST_WORKFLOW") == ()
    assert client.lookup("X26", "NOTHING") == ()
    assert client.lookup("X27", "TEST_WORKFLOW") == (EndpointMatch(mailbox_id="X26ABC3", mailbox_name="Mailbox X26ABC3"),)
    several = client.lookup("x26", "TEST_WORKFLOW")
    assert [match.mailbox_id for match in several] == ["X26ABC1", "X26ABC2"]
    assert double.recorder.records()[-1].path == "/messageexchange/endpointlookup/X26/TEST_WORKFLOW"
    client.lookup("a/b", "W/..?x#y")
    assert double.recorder.records()[-1].path == "/messageexchange/endpointlookup/A%2FB/W%2F..%3Fx%23y"


def test_search(client: MeshClient) -> None:
    assert [match.mailbox_id for match in client.search("TEST_WORKFLOW")] == ["X26ABC1", "X26ABC2", "X26ABC3"]
    assert [match.mailbox_id for match in client.search("OTHER")] == ["X26ABC2"]
    assert client.search("NOTHING") == ()


def test_results_of_version_1_and_oddities(raw: Raw, as_client: AsClient) -> None:
    results = [
        {"address": "OLD1", "description": "old", "endpoint_type": "MESH"},
        {"mailbox_id": "NEW1"},
        {"mailbox_id": None, "mailbox_name": "nameless"},
        {},
        "words",
        None,
        {"mailbox_id": "NEW2", "mailbox_name": None, "surprise": []},
    ]
    client = as_client(raw(answer(200, json.dumps({"results": results}).encode())).url)
    assert client.lookup("X26", "W") == (
        *(EndpointMatch(mailbox_id="OLD1", mailbox_name="old"), EndpointMatch(mailbox_id="NEW1")),
        EndpointMatch(mailbox_id="NEW2"),
    )


@pytest.mark.faults
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"results": null}', b'{"results": {}}', b"<html></html>"])
def test_what_is_no_result(raw: Raw, as_client: AsClient, body: bytes) -> None:
    client = as_client(raw(answer(200, body)).url)
    asks: list[Callable[[], object]] = [lambda: client.lookup("X26", "W"), lambda: client.search("W")]
    for ask in asks:
        with pytest.raises(errors.UnexpectedAnswer):
            ask()


def test_ping(double: Double, client: MeshClient, raw: Raw, as_client: AsClient) -> None:
    client.ping()
    assert double.recorder.records()[-1].path == "/messageexchange/_ping"
    with pytest.raises(errors.UnexpectedAnswer):
        as_client(raw(answer(200, b"<html>It works!</html>")).url).ping()
    double.down()
    with pytest.raises(errors.ConnectionRefused):
        client.ping()


def test_what_a_record_shows_of_itself() -> None:
    names = ("local_id", "filename", "subject", "recipient", "recipient_name", "status_description")
    record = dict.fromkeys(names, "SECRET")
    shown = repr(Tracking.parse({"message_id": "M1", "status": "accepted", **record, "failureDiagnostic": "SECRET"}))
    assert "M1" in shown and "accepted" in shown
    assert "SECRET" not in shown


def test_zones_are_utc() -> None:
    assert timestamp("2026-06-30T23:30:00-01:00") == datetime(2026, 7, 1, 0, 30, tzinfo=UTC)
    assert timestamp("2026-07-01T01:30:00+01:00") == datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=1)))
