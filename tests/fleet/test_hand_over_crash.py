"""Real workers that hand messages on are killed at random instants: each comes to its consumer once, and none is lost (P2)."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from tests.fleet.portal import Portal, wait_until
from tests.handover.consumer import Consumer

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-simulation")]

MESSAGES = int(os.environ.get("MESHPORTAL_TEST_HAND_OVERS", "200"))
KILLS = int(os.environ.get("MESHPORTAL_TEST_HAND_OVER_KILLS", "30"))
BOXES = ("X26HC001", "X26HC002", "X26HC003")
WORKERS = ("one", "two")
# A report, one block, several blocks, and what takes long enough to be killed within.
SIZES = (0, 1, 70_000, 1_500_000, 6_000_000)


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOXES[0], "X26")])


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Path]:
    homes = {box: tmp_path / "share" / box for box in BOXES}
    for home in homes.values():
        (home / "IN").mkdir(parents=True)
    return homes


@pytest.fixture
def portal(tmp_path: Path, pki: Pki, redis: RedisServer, homes: dict[str, Path]) -> Iterator[Portal]:
    settings = {
        "MESHPORTAL_FOLDER_ROOT": str(tmp_path / "share"),
        "MESHPORTAL_LEASE_SECONDS": "2",
        "MESHPORTAL_SHARD_SECONDS": "2",
    }
    with Portal(tmp_path / "portal", url="https://127.0.0.1:1", redis_url=redis.url, settings=settings) as portal:
        boxes = [{"mailbox_id": box, "mode": "watch", "poll_interval_seconds": 3600} for box in BOXES]
        portal.seed(pki, boxes, identity=BOXES[0])
        for box in BOXES:
            portal.ask("wire_hand_over", mailbox_id=box, folder=box)
        yield portal


def test_each_message_comes_once_whatever_is_killed(portal: Portal, homes: dict[str, Path]) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    digests: dict[str, str] = {}
    consumers = {box: Consumer(home, digests) for box, home in homes.items()}
    with ExitStack() as polling:
        for consumer in consumers.values():
            polling.enter_context(consumer.polling())
        under_fire(portal, rng, digests)
        between = portal.ask("hand_over_counts")
        start_workers(portal)
        wait_until(
            lambda: portal.ask("hand_over_counts").keys() == {"done"}, seconds=120, what="all handed on, none held", portal=portal
        )
        for name in ("beat", *WORKERS):
            portal.stop(name)
    proof = portal.ask("hand_over_proof")
    again = sum(row["tries"] > 1 for row in proof.values())
    print(f"{KILLS} kills, {len(digests)} messages, under fire {between}, {again} tried more than once")
    assert [consumer.wrong for consumer in consumers.values()] == [[]] * len(BOXES)
    assert sorted(one for consumer in consumers.values() for one in consumer.came) == sorted(digests)
    assert proof.keys() == digests.keys()
    assert {(row["state"], row["noted"], row["leased"]) for row in proof.values()} == {("done", 1, False)}
    # Nothing is left of the dead, and the kills must have hit something, or the test shows nothing.
    assert [path for home in homes.values() for path in home.glob("*/*")] == []
    assert [path for home in homes.values() for path in (home / ".handing").iterdir()] == []
    assert again > 0


def start_workers(portal: Portal) -> list[str]:
    """Starts the workers that do not run; their names."""
    missing = [name for name in WORKERS if name not in portal.running]
    for name in missing:
        portal.start_worker(name, queues="hand_over")
    return missing


def under_fire(portal: Portal, rng: random.Random, digests: dict[str, str]) -> None:
    """Puts the messages in while workers are killed, spread over the kills, so that each finds something to interrupt."""
    dies_at: dict[str, float] = {}
    kills = 0
    portal.start_beat("beat")
    while len(digests) < MESSAGES or kills < KILLS:
        for name in start_workers(portal):
            dies_at[name] = time.monotonic() + rng.uniform(0.5, 3.0)
        if len(digests) < MESSAGES and len(digests) * KILLS <= kills * MESSAGES:
            sizes = [rng.choice(SIZES) for _ in range(min(20, MESSAGES - len(digests)))]
            new = portal.ask("put_received", mailbox_id=rng.choice(BOXES), sizes=sizes, seed=rng.randrange(10**9), waits=True)
            # The consumers know of a document before it can come.
            digests |= new
            portal.ask("let_go", mesh_ids=list(new))
            # In the middle of them, or a fast machine is done before anybody dies.
            deadline = time.monotonic() + 6
            while (left := portal.ask("hand_over_counts").get("pending", 0)) == len(new) and time.monotonic() < deadline:
                pass
            if 0 < left < len(new):
                for name in [name for name in WORKERS if name in dies_at]:
                    dies_at[name] = 0.0
        name = min(dies_at, key=lambda worker: dies_at[worker])
        time.sleep(max(0.0, min(dies_at[name] - time.monotonic(), 0.3)))
        if time.monotonic() >= dies_at[name]:
            portal.kill(name)
            del dies_at[name]
            kills += 1
