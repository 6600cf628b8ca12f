"""A fleet of mailboxes under two workers and two schedulers: one at a time, never too often, nobody held up (P4, P5)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double import faults
from tests.double.process import DoubleProcess
from tests.fleet.portal import Portal, wait_until

pytestmark = [pytest.mark.simulation, pytest.mark.xdist_group("fleet-simulation")]

GOOD = [f"X26HC{number:03d}" for number in range(1, 51)]
HANGING, POISONED, WATCHED = "X26HC901", "X26HC902", "X26HC903"
INTERVAL = 4
PER_MAILBOX = 6


@pytest.fixture(scope="module")
def pki() -> Pki:
    return create_pki([(GOOD[0], "X26")])


@pytest.fixture
def double(tmp_path: Path, pki: Pki) -> Iterator[DoubleProcess]:
    with DoubleProcess(tmp_path / "double", pki) as server:
        for box in [*GOOD, HANGING, POISONED, WATCHED]:
            server.add_mailbox(box)
        yield server


@pytest.fixture
def portal(tmp_path: Path, pki: Pki, redis: RedisServer, double: DoubleProcess) -> Iterator[Portal]:
    settings = {
        "MESHPORTAL_LEASE_SECONDS": "60",
        "MESHPORTAL_SHARD_SECONDS": "10",
        "MESHPORTAL_READ_TIMEOUT": "4",
        "MESHPORTAL_MAX_ATTEMPTS": "2",
    }
    with Portal(tmp_path / "portal", url=double.base_url, redis_url=redis.url, settings=settings) as portal:
        boxes = [{"mailbox_id": box, "poll_interval_seconds": INTERVAL} for box in [*GOOD, HANGING, POISONED]]
        boxes.append({"mailbox_id": WATCHED, "poll_interval_seconds": INTERVAL, "mode": "watch"})
        portal.seed(pki, boxes, identity=GOOD[0])
        yield portal


def test_one_hangs_and_one_is_poisoned_and_fifty_do_not_notice(portal: Portal, double: DoubleProcess) -> None:
    double.add_fault(match={"mailbox": HANGING}, action=faults.hang(30), times=None)
    poison = [double.put(POISONED, b"poison", gzip=True, corrupt="cut").message_id for _ in range(600)]
    good_of_poisoned = [one.message_id for one in double.put_many(POISONED, 3)]
    sent: dict[str, str] = {}
    for box in GOOD:
        for number in range(PER_MAILBOX):
            done = double.put(box, f"{box} {number}".encode() * 50, chunks=1 + number % 3, gzip=bool(number % 2))
            sent[done.message_id] = done.sha256
    watched = [one.message_id for one in double.put_many(WATCHED, 5)]

    for name in ("beat-one", "beat-two"):
        portal.start_beat(name)
    for name in ("one", "two"):
        portal.start_worker(name, pool="prefork", concurrency=2)
    began = time.monotonic()

    def drained() -> bool:
        return all(not double.inbox(box) for box in GOOD) and not set(good_of_poisoned) & set(double.inbox(POISONED))

    wait_until(drained, seconds=120, what="the good mailboxes drained", portal=portal)
    # Long enough for the hanging mailbox to be tried again and for many listings of every good one.
    time.sleep(max(0.0, began + 40 - time.monotonic()))
    late = double.put(GOOD[7], b"a late letter")
    sent[late.message_id] = late.sha256
    # Killed between MESH's answer and its own commit, a worker would leave the last one as stored: rightly, and not here.
    wait_until(
        lambda: sent.keys() <= {row["mesh_id"] for row in portal.ask("history") if row["state"] == "acknowledged"},
        seconds=30,
        what="all acknowledged, the late message too",
        portal=portal,
    )
    for name in ("beat-one", "beat-two", "one", "two"):
        portal.kill(name)
    lasted = time.monotonic() - began

    history = {row["mesh_id"]: row for row in portal.ask("history")}
    for mesh_id, digest in sent.items():
        assert (history[mesh_id]["state"], history[mesh_id]["read_sha256"]) == ("acknowledged", digest)
        assert history[mesh_id]["stored_events"] == 1
    assert all(history[mesh_id]["state"] == "acknowledged" for mesh_id in good_of_poisoned)
    assert not any(history[mesh_id]["state"] in ("stored", "acknowledged") for mesh_id in poison if mesh_id in history)
    assert {record.message_id for record in double.acks(POISONED)} == set(good_of_poisoned)

    # One at a time, and never more often than the rule allows: a good inbox never held a full page, so there was no
    # reason to list again at once. The tolerance is one second of clock and scheduling.
    for box in [*GOOD, WATCHED, POISONED]:
        assert double.overlaps(box) == [], box
        starts = [record.started for record in double.listings(box) if "continue_from" not in record.query]
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        if box != POISONED:
            assert all(gap > INTERVAL - 1 for gap in gaps), (box, gaps)
    # On time: each good mailbox had at least half of the listings that the time allows.
    expected = lasted / INTERVAL
    fewest = min(len(double.listings(box)) for box in GOOD)
    assert fewest > expected / 2, f"{fewest} listings of {expected:.0f} possible"
    assert len(double.records(mailbox=HANGING)) > 1

    # A watched mailbox is never downloaded from and never acknowledged.
    assert double.gets(WATCHED) == []
    assert double.acks(WATCHED) == []
    assert [history[mesh_id]["state"] for mesh_id in watched] == ["watched"] * 5
    assert double.inbox(WATCHED) == watched
    boxes = {box["mailbox_id"]: box for box in portal.ask("mailboxes")}
    assert boxes[HANGING]["problem"] == "timeout"
    assert boxes[HANGING]["slow"]
    assert [box for name, box in boxes.items() if name != HANGING and box["problem"]] == []
    assert double.errors() == []
