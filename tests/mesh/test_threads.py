"""One connection, many threads: no token twice, no answer for another, no connection lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from meshportal.mesh import MeshClient, errors
from tests.double import Double, faults

from .conftest import ONE, TWO, Connect, read_all

THREADS, CALLS = 8, 25


def client_on(connect: Connect, double: Double, mailbox: str = ONE) -> Callable[[], MeshClient]:
    connection = connect(double.base_url)
    return lambda: MeshClient(connection, mailbox_id=mailbox, password="password", shared_key="TestKey")


def together(work: Callable[[int], int]) -> list[int]:
    """Runs ``work`` in all threads at once; an exception in any is raised here."""
    start = threading.Barrier(THREADS)

    def begin(number: int) -> int:
        start.wait(10)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result(60) for future in [pool.submit(begin, number) for number in range(THREADS)]]


def test_receiving_together(double: Double, connect: Connect) -> None:
    puts = [double.put(ONE, bytes([number]) * (1000 + 977 * number), chunks=1 + number % 3) for number in range(24)]
    make = client_on(connect, double)

    def work(number: int) -> int:
        client = make()
        for turn in range(CALLS):
            put = puts[(number * 7 + turn) % len(puts)]
            if turn % 5 == 0:
                assert len(client.inbox_page().message_ids) == len(puts)
            elif turn % 5 == 1:
                assert client.head(put.message_id).message_id == put.message_id
            else:
                body = read_all(client, put.message_id)
                assert body == body[:1] * put.size
                assert body[0] == puts.index(put)
        return CALLS

    assert together(work) == [CALLS] * THREADS
    used = [record.nonce for record in double.recorder.records()]
    assert len(used) == len(set(used)) >= THREADS * CALLS
    assert {record.reason for record in double.recorder.records()} == {""}
    # Connections are kept and shared, never one for each call.
    assert len({record.connection for record in double.recorder.records()}) <= THREADS + 2


@pytest.mark.faults
def test_sending_together_while_some_fail(double: Double, connect: Connect) -> None:
    """Every message is there exactly once, or is known to be uncertain."""
    make = client_on(connect, double)
    double.faults.add(match={"route": "send", "nth": list(range(5, 200, 9))}, action=faults.drop("after"), times=None)
    double.faults.add(match={"route": "send_chunk", "nth": list(range(3, 200, 7))}, action=faults.drop("after"), times=None)
    uncertain: list[str] = []
    receipts: list[str] = []

    def work(number: int) -> int:
        client = make()
        for turn in range(CALLS):
            body = f"{number}-{turn} ".encode() * 50
            try:
                receipt = client.send(
                    body,
                    recipient=TWO,
                    workflow_id="TEST_WORKFLOW",
                    local_id=f"{number}-{turn}",
                    chunk_size=150 if turn % 2 else 10_000,
                    compress=turn % 3 == 0,
                )
                receipts.append(receipt.message_id)
                assert double.content(receipt.message_id) == body
            except errors.SendUncertain:
                uncertain.append(f"{number}-{turn}")
        return CALLS

    together(work)
    sent = double.sent_by(ONE)
    locals_sent = [info.local_id for info in sent]
    assert len(locals_sent) == len(set(locals_sent)) == THREADS * CALLS
    assert len(receipts) + len(uncertain) == THREADS * CALLS
    assert uncertain
    used = [record.nonce for record in double.recorder.records()]
    assert len(used) == len(set(used))
    assert {info.message_id for info in sent if info.local_id not in uncertain} == set(receipts)


def test_two_mailboxes_on_one_connection(double: Double, connect: Connect) -> None:
    connection = connect(double.base_url)
    makers = [MeshClient(connection, mailbox_id=one, password="password", shared_key="TestKey") for one in (ONE, TWO)]
    for mailbox in (ONE, TWO):
        double.put(mailbox, mailbox.encode())

    def work(number: int) -> int:
        client = MeshClient(connection, mailbox_id=makers[number % 2].mailbox_id, password="password", shared_key="TestKey")
        for _ in range(CALLS):
            [known] = client.inbox_page().message_ids
            assert read_all(client, known) == client.mailbox_id.encode()
        return CALLS

    assert together(work) == [CALLS] * THREADS
    assert {record.reason for record in double.recorder.records()} == {""}
