"""Killing any process at any instant loses nothing and stores nothing twice (promises P1 and P2)."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double.process import DoubleProcess
from tests.fleet.portal import Portal, wait_until

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-crash")]

KILLS = int(os.environ.get("MESHPORTAL_TEST_KILLS", "110"))
BOXES = [f"X26HC{number:03d}" for number in range(1, 9)]


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOXES[0], "X26")])


@pytest.fixture
def double(tmp_path: Path, pki: Pki) -> Iterator[DoubleProcess]:
    with DoubleProcess(tmp_path / "double", pki) as server:
        for box in BOXES:
            server.add_mailbox(box)
        yield server


@pytest.fixture
def portal(tmp_path: Path, pki: Pki, redis: RedisServer, double: DoubleProcess) -> Iterator[Portal]:
    # A short lease, so that work begun by a killed worker is taken up again within the test.
    settings = {"MESHPORTAL_LEASE_SECONDS": "3", "MESHPORTAL_POLL_THREADS": "4", "MESHPORTAL_SHARD_SECONDS": "2"}
    with Portal(tmp_path / "portal", url=double.base_url, redis_url=redis.url, settings=settings) as portal:
        portal.seed(pki, [{"mailbox_id": box} for box in BOXES], identity=BOXES[0])
        yield portal


def put_one(double: DoubleProcess, sent: dict[str, str], rng: random.Random) -> None:
    kind = rng.random()
    body = rng.randbytes(rng.choice([1, 200, 5_000, 60_000, 400_000]))
    chunks = rng.choice([2, 3, 5]) if kind < 0.3 and len(body) > 100 else 1
    if kind > 0.9:
        linked = rng.choice(list(sent)) if sent else "20200529155357895317_3573F8"
        report = {
            "code": "14",
            "event": "SEND",
            "description": "Message not collected by recipient after 5 days",
            "linked_message_id": linked,
        }
        done = double.put(rng.choice(BOXES), report=report)
    else:
        done = double.put(rng.choice(BOXES), body, chunks=chunks, gzip=rng.random() < 0.5, file_name="letter.dat")
    sent[done.message_id] = done.sha256


def test_a_hundred_kills_lose_nothing_and_store_nothing_twice(portal: Portal, double: DoubleProcess, redis: RedisServer) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    sent: dict[str, str] = {}
    for _ in range(30):
        put_one(double, sent, rng)
    portal.start_beat("beat")
    pools = [("solo", 1), ("solo", 1), ("solo", 1), ("prefork", 1)]
    dies_at: dict[str, float] = {}
    kills = 0
    redis_restarts = 0
    while kills < KILLS:
        for name in ("one", "two"):
            if name not in portal.running:
                pool, concurrency = rng.choice(pools)
                portal.start_worker(name, pool=pool, concurrency=concurrency)
                dies_at[name] = time.monotonic() + rng.uniform(0.3, 2.2)
        put_one(double, sent, rng)
        name = min(dies_at, key=lambda worker: dies_at[worker])
        time.sleep(max(0.0, min(dies_at[name] - time.monotonic(), 0.2)))
        if time.monotonic() >= dies_at[name]:
            portal.kill(name)
            del dies_at[name]
            kills += 1
            if kills % 25 == 0:
                portal.kill("beat")
                portal.start_beat("beat")
            if kills == KILLS // 2:
                redis.restart()
                redis_restarts += 1
    progress_under_fire = portal.ask("counts").get("acknowledged", 0)
    for name in ("one", "two"):
        if name not in portal.running:
            portal.start_worker(name)
    wait_until(
        lambda: portal.ask("counts") == {"acknowledged": len(sent)},
        seconds=90,
        what=f"everything stored and acknowledged ({len(sent)} messages)",
        portal=portal,
    )
    for name in ("beat", "one", "two"):
        portal.stop(name)

    history = portal.ask("history")
    print(f"{kills} kills, {redis_restarts} Redis restart, {len(sent)} messages, {progress_under_fire} done under fire")
    assert {row["mesh_id"]: row["read_sha256"] for row in history} == sent
    assert [row for row in history if row["stored_events"] != 1] == []
    assert [row for row in history if row["sha256"] != row["read_sha256"]] == []
    for row in history:
        acknowledged = [record for record in double.acks(row["mailbox"]) if record.message_id == row["mesh_id"]]
        assert acknowledged, row
        first = min(datetime.fromisoformat(record.at) for record in acknowledged)
        assert datetime.fromisoformat(row["stored_at"]) < first, row
    assert [box for box in portal.ask("mailboxes") if box["leased"]] == []
    assert all(double.inbox(box) == [] for box in BOXES)
    # The kills must have hit work, or the test shows nothing: more than one download of some message, and a good part
    # of the work done between kills.
    downloads = [len({r.number for r in double.gets(box)}) for box in BOXES]
    assert sum(downloads) > len(sent)
    assert progress_under_fire > len(sent) / 4
    assert double.errors() == []


def test_a_warm_stop_finishes_its_message_and_leaves_no_lease(portal: Portal, double: DoubleProcess) -> None:
    double.put_many(BOXES[0], 60, size=20_000)
    portal.start_beat("beat")
    portal.start_worker("one")
    wait_until(lambda: bool(portal.ask("counts")), seconds=30, what="the first message", portal=portal)
    assert portal.stop("one") == 0
    portal.stop("beat")
    assert [box for box in portal.ask("mailboxes") if box["leased"]] == []
    assert set(portal.ask("counts")) <= {"acknowledged", "listed"}
