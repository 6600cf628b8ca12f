"""A sender that is killed at random instants while the service drops, delays and refuses: once, or uncertain (P2, P3)."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double import faults
from tests.double.process import DoubleProcess
from tests.fleet.portal import Portal, wait_until

pytestmark = [pytest.mark.crash, pytest.mark.faults, pytest.mark.xdist_group("fleet-simulation")]

MESSAGES = int(os.environ.get("MESHPORTAL_TEST_SENDS", "200"))
KILLS = 40
BOX, TO = "X26HC001", "YGM24HC001"
CHUNK = 1_000_000


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOX, "X26")])


@pytest.fixture
def redis(tmp_path: Path, need: Any) -> Iterator[RedisServer]:
    need("redis")
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def double(tmp_path: Path, pki: Pki) -> Iterator[DoubleProcess]:
    with DoubleProcess(tmp_path / "double", pki) as server:
        server.add_mailbox(BOX)
        server.add_mailbox(TO)
        yield server


@pytest.fixture
def portal(tmp_path: Path, pki: Pki, redis: RedisServer, double: DoubleProcess) -> Iterator[Portal]:
    settings = {
        "MESHPORTAL_LEASE_SECONDS": "3",
        "MESHPORTAL_SEND_CHUNK_MB": "1",
        "MESHPORTAL_RECONCILE_SECONDS": "1",
        "MESHPORTAL_SHARD_SECONDS": "2",
        "MESHPORTAL_TRACK_SECONDS": "3600",
        "MESHPORTAL_TRACK_PER_MAILBOX": "10000",
        "MESHPORTAL_READ_TIMEOUT": "2",
    }
    with Portal(tmp_path / "portal", url=double.base_url, redis_url=redis.url, settings=settings) as portal:
        portal.seed(pki, [{"mailbox_id": BOX, "mode": "watch", "poll_interval_seconds": 3600}], identity=BOX)
        yield portal


def spoil(double: DoubleProcess, rng: random.Random) -> None:
    """A fault somewhere on the way out."""
    when: Any = rng.choice(["before_body", "during_body", "after", "during_answer"])
    action = rng.choice(
        [
            faults.drop(when),
            faults.drop(when, reset=True),
            faults.status(503),
            faults.status(500, processed=rng.random() < 0.5),
            faults.delay(0.3),
            faults.hang(3, when=rng.choice(["before_body", "after"])),
        ]
    )
    route = rng.choice(["send", "send", "send_chunk", "track_local"])
    double.add_fault(match={"route": route, "nth": rng.randint(1, 4)}, action=action)


def test_every_message_is_accepted_once_whatever_dies_and_whatever_breaks(portal: Portal, double: DoubleProcess) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    put: dict[str, str] = {}
    portal.start_beat("beat")
    dies_at: dict[str, float] = {}
    kills = batch = 0
    while len(put) < MESSAGES or kills < KILLS:
        for name in ("one", "two"):
            if name not in portal.running:
                portal.start_worker(name, queues="send,default")
                dies_at[name] = time.monotonic() + rng.uniform(0.3, 2.0)
        if len(put) < MESSAGES:
            sizes = [rng.choice([1, 300, 20_000, CHUNK, CHUNK + 1, 2 * CHUNK + 500_000]) for _ in range(5)]
            put |= portal.ask("put_outgoing", mailbox_id=BOX, recipient=TO, sizes=sizes, seed=seed + batch)
            batch += 1
        spoil(double, rng)
        name = min(dies_at, key=lambda worker: dies_at[worker])
        time.sleep(max(0.0, min(dies_at[name] - time.monotonic(), 0.3)))
        if time.monotonic() >= dies_at[name]:
            portal.kill(name)
            del dies_at[name]
            kills += 1
    double.clear_faults()
    under_fire = portal.ask("outgoing_counts")
    for name in ("one", "two"):
        if name not in portal.running:
            portal.start_worker(name, queues="send,default")
    # What a killed worker held is taken over once its lease has run out: it is not enough that all are accepted.
    wait_until(
        lambda: (
            portal.ask("outgoing_counts") == {"accepted": len(put)}
            and not any(row["leased"] for row in portal.ask("outgoing").values())
        ),
        seconds=150,
        what=f"all {len(put)} accepted, none uncertain, none held",
        portal=portal,
    )
    for name in ("beat", "one", "two"):
        portal.stop(name)

    sent = double.sent_by(BOX)
    whole = [message for message in sent if message.status != "uploading"]
    print(f"{kills} kills, {len(put)} messages, under fire {under_fire}, {len(sent) - len(whole)} uploads left unfinished")
    assert sorted(message.local_id for message in whole) == sorted(put)
    assert {message.local_id: double.content_digest(message.message_id) for message in whole} == put
    rows = portal.ask("outgoing")
    assert {message.local_id: message.message_id for message in whole} == {
        local_id: row["mesh_id"] for local_id, row in rows.items()
    }
    assert not [local_id for local_id, row in rows.items() if row["leased"]]
    # The fire must have hit something, or the test shows nothing.
    assert len([record for record in double.records() if record.route == "track_local"]) > 0
    assert under_fire.get("accepted", 0) > 0
    assert double.errors() == []
