"""The client against the official sandbox, over mutual TLS: what the double promises, somebody else confirms."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshportal.demo.sandbox import PASSWORD, Sandbox
from meshportal.mesh import Connection, MeshClient, RetryPolicy, Timeouts, errors, tls_context

from .conftest import blocks_of, read_all

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("sandbox")]

ONE, TWO = "X26MESH1", "X26MESH2"
CHUNK = 50_000
DATA = random.Random(4).randbytes(CHUNK) + b"same words " * 8000
AT_ONCE = RetryPolicy(sleep=lambda _: None)
Pair = tuple[MeshClient, MeshClient]


@pytest.fixture(scope="module")
def connection(sandbox: Sandbox) -> Iterator[Connection]:
    """One connection, whose mailboxes are of these tests alone."""
    for mailbox in (ONE, TWO):
        sandbox.add_mailbox(mailbox)
    ours = sandbox.pki.authority.client(ONE, "X26")
    context = tls_context(ours.certificate_pem, ours.key_pem, sandbox.pki.authority.certificate_pem, strict_x509=True)
    with Connection(sandbox.base_url, ssl_context=context, timeouts=Timeouts(read=20.0), retry=AT_ONCE) as made:
        yield made


@pytest.fixture
def pair(sandbox: Sandbox, connection: Connection) -> Pair:
    """Sender and recipient, whose inboxes are empty."""
    made = [
        MeshClient(connection, mailbox_id=mailbox, password=PASSWORD, shared_key=sandbox.shared_key) for mailbox in (ONE, TWO)
    ]
    for client in made:
        for page in list(client.iter_inbox_pages()):
            for message_id in page.message_ids:
                client.acknowledge(message_id)
    return made[0], made[1]


def waiting(client: MeshClient, max_results: int = 500) -> list[str]:
    return [one for page in client.iter_inbox_pages(max_results=max_results) for one in page.message_ids]


def test_handshake_and_ping(pair: Pair) -> None:
    pair[0].handshake()
    pair[0].ping()
    assert pair[0].clock_skew is not None


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1], ids=str)
def test_round_trip(pair: Pair, size: int, compress: bool) -> None:
    one, two = pair
    facts: dict[str, Any] = {"subject": "Réponse", "local_id": "our-1", "file_name": "été.pdf", "content_type": "application/pdf"}
    receipt = one.send(
        blocks_of(DATA[:size], 999),
        recipient=TWO,
        workflow_id="TEST_WORKFLOW",
        size=size,
        chunk_size=CHUNK,
        compress=compress,
        **facts,
    )
    assert waiting(two) == [receipt.message_id]
    headers = two.head(receipt.message_id)
    assert (headers.sender, headers.recipient, headers.workflow_id) == (ONE, TWO, "TEST_WORKFLOW")
    assert (headers.subject, headers.local_id, headers.file_name) == ("Réponse", "our-1", "été.pdf")
    assert headers.chunk_total == -(-size // CHUNK)
    assert "application/pdf" in (headers.content_type, headers.mex_content_type)
    assert read_all(two, receipt.message_id) == DATA[:size]
    assert one.track(receipt.message_id).status == "accepted"
    two.acknowledge(receipt.message_id)
    two.acknowledge(receipt.message_id)
    assert waiting(two) == []
    assert one.track(receipt.message_id).status == "acknowledged"
    old = one.track(receipt.message_id, version=1)
    assert (old.status, old.chunk_count) == ("acknowledged", headers.chunk_total)
    assert old.acknowledged_at is not None


def test_a_gz_file_stays_one(pair: Pair) -> None:
    one, two = pair
    packed = gzip.compress(DATA)
    for compress in (False, True):
        receipt = one.send(packed, recipient=TWO, workflow_id="TEST_WORKFLOW", compress=compress, compressed=True)
        assert read_all(two, receipt.message_id) == packed


def test_pages(pair: Pair) -> None:
    one, two = pair
    sent = [one.send(b"x", recipient=TWO, workflow_id="TEST_WORKFLOW").message_id for _ in range(23)]
    assert waiting(two, 10) == sent
    first = two.inbox_page(max_results=10)
    assert len(first.message_ids) == 10 and first.continue_from and first.approx_count == 23
    two.acknowledge(first.message_ids[-1])
    # The sandbox starts over here; each id still comes once.
    again = two.inbox_page(max_results=10, continue_from=first.continue_from)
    assert again.message_ids[0] in (sent[0], sent[10])
    assert waiting(two, 10) == [known for known in sent if known != first.message_ids[-1]]


def test_a_resumed_upload(pair: Pair) -> None:
    one, two = pair
    seen: list[str] = []

    def stop(message_id: str) -> None:
        seen.append(message_id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.send(DATA, recipient=TWO, workflow_id="TEST_WORKFLOW", chunk_size=CHUNK, compress=True, on_accepted=stop)
    assert one.track(seen[0]).status == "uploading"
    with pytest.raises(errors.Gone):
        read_all(two, seen[0])
    receipt = one.resume(seen[0], DATA, next_chunk=2, chunk_size=CHUNK, compress=True)
    assert read_all(two, seen[0]) == DATA
    # The last chunk once more: 423, which tracking explains.
    assert one.resume(seen[0], DATA, next_chunk=receipt.chunk_total, chunk_size=CHUNK, compress=True).message_id == seen[0]


def test_a_report(sandbox: Sandbox, pair: Pair) -> None:
    one, two = pair
    receipt = one.send(b"x", recipient=TWO, workflow_id="TEST_WORKFLOW", local_id="loc9", subject="about")
    sandbox.report(ONE, linked_message_id=receipt.message_id)
    [known] = waiting(one)
    with one.download(known) as download:
        assert list(download) == []
        assert download.complete
    assert download.headers.is_report
    assert download.headers.linked_message_id == receipt.message_id
    assert (download.headers.chunk_number, download.headers.chunk_total) == (1, 0)
    assert download.headers.status_success == "ERROR"
    one.acknowledge(known)
    two.acknowledge(receipt.message_id)


REFUSALS: dict[str, tuple[Callable[[MeshClient], object], type[errors.MeshError], str]] = {
    "unknown recipient": (lambda one: one.send(b"x", recipient="NOBODY", workflow_id="W"), errors.Refused, "12"),
    "no body": (lambda one: one.send(b"", recipient=TWO, workflow_id="W"), errors.Refused, "02"),
    "an address as recipient": (
        lambda one: one.send(b"x", recipient="https://x", workflow_id="W"),
        errors.BadRequest,
        "06",
    ),
    "unknown message": (lambda one: read_all(one, "NOSUCH"), errors.NotFound, "20"),
    "unknown acknowledgement": (lambda one: one.acknowledge("NOSUCH"), errors.NotFound, "20"),
    "small page": (lambda one: one.inbox_page(max_results=9), errors.BadRequest, "validation"),
    "unknown tracking": (lambda one: one.track("NOSUCH"), errors.NotFound, ""),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(pair: Pair, what: str) -> None:
    ask, kind, code = REFUSALS[what]
    with pytest.raises(kind) as caught:
        ask(pair[0])
    assert type(caught.value) is kind
    assert caught.value.code in (code, "") if what == "unknown tracking" else caught.value.code == code


def test_local_ids(pair: Pair) -> None:
    one, _ = pair
    unique = f"local-{random.SystemRandom().randrange(10**9)}"
    first = one.send(b"x", recipient=TWO, workflow_id="TEST_WORKFLOW", local_id=unique)
    assert one.track_by_local_id(unique).message_id == first.message_id
    one.send(b"x", recipient=TWO, workflow_id="TEST_WORKFLOW", local_id=unique)
    with pytest.raises(errors.NotUnique):
        one.track_by_local_id(unique)


def test_lookup_and_search(pair: Pair) -> None:
    one, _ = pair
    assert one.lookup("x26", "TEST_WORKFLOW")[0].mailbox_id.startswith("X26ABC")
    assert one.lookup("X99", "TEST_WORKFLOW") == ()
    assert one.search("TEST_WORKFLOW")


def test_wrong_secrets(sandbox: Sandbox, connection: Connection) -> None:
    for mailbox, password, key, code in (
        (ONE, "wrong", sandbox.shared_key, ""),
        (ONE, PASSWORD, "wrong", ""),
        ("X26NOBODY", PASSWORD, sandbox.shared_key, "EPL-151"),
    ):
        client = MeshClient(connection, mailbox_id=mailbox, password=password, shared_key=key)
        with pytest.raises(errors.AuthenticationFailed) as caught:
            client.handshake()
        assert caught.value.code == code
