"""The authorization header: the published vectors, and one token for one request."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from meshportal.mesh import MeshClient, errors
from meshportal.mesh.auth import Signer, token
from tests.double import Double, caller, faults

from .conftest import AsClient, read_all

VECTORS = [
    # mailbox, password, key, nonce, count, time, hash
    (
        *("X26ABC1", "password", "TestKey", "00000000-0000-4000-8000-000000000001", 0),
        datetime(2026, 1, 2, 15, 30, tzinfo=UTC),
        "0fa9d5cce7f431f8c21c313736a45e734affbd5a2222b95efdfa49f1131a691f",
    ),
    (
        *("X26ABC1", "password", "TestKey", "00000000-0000-4000-8000-000000000001", 1),
        datetime(2026, 1, 2, 15, 30, tzinfo=UTC),
        "21a0b722e20fe248a3d39ee49f026eb4801a0a74a7877d1174ba1b027b9292b5",
    ),
    (
        *("X26ABC2", "password", "Banana", "00000000-0000-4000-8000-0000000000ff", 10),
        datetime(2026, 2, 28, 23, 59, tzinfo=UTC),
        "65bf9f00dddb191a1b3611a22fd79dffb48a1128cbc124ed5471fb694f182abd",
    ),
]


@pytest.mark.parametrize(("mailbox", "password", "key", "nonce", "count", "at", "digest"), VECTORS)
def test_published_vectors(mailbox: str, password: str, key: str, nonce: str, count: int, at: datetime, digest: str) -> None:
    made = token(mailbox, password, key, timestamp=at, nonce=nonce, nonce_count=count)
    assert made == f"NHSMESH {mailbox}:{nonce}:{count}:{at:%Y%m%d%H%M}:{digest}"


def test_a_client_that_was_written_apart_makes_the_same_token() -> None:
    at, nonce = datetime.now(UTC), "00000000-0000-4000-8000-000000000001"
    assert caller.token("X26ABC1", at=at, nonce=nonce) == token("X26ABC1", "password", "TestKey", timestamp=at, nonce=nonce)


def test_the_time_is_utc_wherever_we_are() -> None:
    """British summer time once cost a client half of the tolerance."""
    summer = datetime(2026, 7, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    made = token("X26ABC1", "password", "TestKey", timestamp=summer)
    assert made.split(":")[3] == "202606302330"
    assert made == token("X26ABC1", "password", "TestKey", timestamp=summer.astimezone(UTC), nonce=made.split(":")[1])


def test_every_token_has_a_nonce_of_its_own() -> None:
    signer = Signer("X26ABC1", "password", "TestKey")
    made = [signer.token(datetime.now(UTC)) for _ in range(500)]
    found = {one.split(":")[1] for one in made}
    assert len(found) == 500
    assert all(uuid.UUID(nonce).version == 4 for nonce in found)
    assert all(re.fullmatch(r"NHSMESH X26ABC1:[0-9a-f-]{36}:0:[0-9]{12}:[0-9a-f]{64}", one) for one in made)


def test_odd_passwords_are_hashed_as_utf8(double: Double, as_client: AsClient) -> None:
    for number, password in enumerate(["with:colons:in", "pässwörd ☂", " ", "x" * 1000]):
        double.add_mailbox(f"ODD{number}", password)
        as_client(double.base_url, f"ODD{number}", password=password).handshake()


def test_the_mailbox_is_upper_case_in_token_and_path(double: Double, as_client: AsClient) -> None:
    client = as_client(double.base_url, "x26abc1")
    client.handshake()
    assert client.mailbox_id == "X26ABC1"
    assert double.recorder.records()[-1].path == "/messageexchange/X26ABC1"


@pytest.mark.parametrize("mailbox_id", ["", "..", ".", "X\n1", "X" * 101, "X\x00"])
def test_a_mailbox_id_that_is_no_address_is_refused(as_client: AsClient, mailbox_id: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        as_client("http://localhost:9", mailbox_id)


@pytest.mark.faults
@pytest.mark.parametrize("fault", [faults.drop(), faults.drop("after"), faults.status(503), faults.status(403)])
def test_no_attempt_of_any_operation_reuses_a_token(double: Double, client: MeshClient, fault: dict[str, Any]) -> None:
    """The double burns the token of a request that it drops; with it, every repeat would be a 403."""
    put = double.put("X26ABC1", b"abcdefghi", chunks=3)
    routes = ("handshake", "list", "head", "get", "get_chunk", "track", "lookup", "search", "acknowledge")
    for route in routes:
        double.faults.add(match={"route": route, "method": ["GET", "POST", "HEAD", "PUT"]}, action=fault)
    client.handshake()
    assert client.inbox_page().message_ids == (put.message_id,)
    client.head(put.message_id)
    assert read_all(client, put.message_id) == b"abcdefghi"
    with pytest.raises(errors.NotFound):
        client.track("unknown")
    client.lookup("X26", "TEST_WORKFLOW")
    client.search("TEST_WORKFLOW")
    double.configure(after_acknowledge=200)
    client.acknowledge(put.message_id)
    used = [record.nonce for record in double.recorder.records()]
    assert len(used) == len(set(used)) == 2 * len(routes) + 1  # chunk 3 went through at once


def test_lookup_and_search_are_signed_and_ping_is_not(double: Double, client: MeshClient) -> None:
    client.lookup("X26", "TEST_WORKFLOW")
    client.search("TEST_WORKFLOW")
    client.ping()
    assert [bool(record.nonce) for record in double.recorder.records()] == [True, True, False]
