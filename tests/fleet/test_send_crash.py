"""A sender that is killed at random instants while the service drops, delays and refuses: once, or uncertain (P2, P3).

Where MESH finds a message by its local ID, none stays uncertain. Where it does not, what is left uncertain is all that a
person must look at. Both are killed 50 times on each database: 200 times in all.
"""

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
KILLS = int(os.environ.get("MESHPORTAL_TEST_SEND_KILLS", "50"))
BOX, TO = "X26HC001", "YGM24HC001"
WORKERS = ("one", "two")
CHUNK = 1_000_000


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOX, "X26")])


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
            faults.hang(2.5, when=rng.choice(["before_body", "after"])),
        ]
    )
    route = rng.choice(["send", "send", "send_chunk", "track_local"])
    double.add_fault(match={"route": route, "nth": rng.randint(1, 4)}, action=action)


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "not_tracked"])
def test_every_message_is_accepted_once_whatever_dies_and_whatever_breaks(
    portal: Portal, double: DoubleProcess, tracked: bool
) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    put = under_fire(portal, double, rng, tracked=tracked)
    double.clear_faults()
    if not tracked:
        untracked(double)
    counts = portal.ask("outgoing_counts")
    start_workers(portal)
    # What a killed worker held is taken over once its lease has run out: it is not enough that all are settled.
    ends = {"accepted"} if tracked else {"accepted", "uncertain"}
    wait_until(
        lambda: (
            portal.ask("outgoing_counts").keys() <= ends and not any(row["leased"] for row in portal.ask("outgoing").values())
        ),
        seconds=150,
        what=f"all {len(put)} {' or '.join(sorted(ends))}, none held",
        portal=portal,
    )
    for name in ("beat", *WORKERS):
        portal.stop(name)

    sent = double.sent_by(BOX)
    whole = {message.message_id: message.local_id for message in sent if message.status != "uploading"}
    rows = portal.ask("outgoing")
    accepted = {row["mesh_id"]: local_id for local_id, row in rows.items() if row["state"] == "accepted"}
    uncertain = {local_id for local_id, row in rows.items() if row["state"] == "uncertain"}
    print(
        f"{KILLS} kills, {len(put)} messages, under fire {counts}, {len(sent) - len(whole)} uploads left unfinished, "
        f"{len(accepted)} accepted, {len(uncertain)} uncertain"
    )
    assert rows.keys() == put.keys()
    # Never silently twice, never lost: what MESH has whole is known as such, or a person is asked.
    assert len(set(whole.values())) == len(whole)
    assert accepted.items() <= whole.items()
    assert set(whole.values()) - set(accepted.values()) <= uncertain
    assert {local_id: double.content_digest(mesh_id) for mesh_id, local_id in whole.items()}.items() <= put.items()
    assert bool(uncertain) is not tracked
    assert not [local_id for local_id, row in rows.items() if row["leased"]]
    # The fire must have hit something, or the test shows nothing.
    assert len([record for record in double.records() if record.route == "track_local"]) > 0
    assert counts.get("accepted", 0) > 0
    assert double.errors() == []


def untracked(double: DoubleProcess) -> None:
    """MESH finds no message by its local ID from now on."""
    double.add_fault(match={"route": "track_local"}, action=faults.status(404), times=None)


def start_workers(portal: Portal) -> list[str]:
    """Starts the workers that do not run; their names."""
    missing = [name for name in WORKERS if name not in portal.running]
    for name in missing:
        portal.start_worker(name, queues="send,default")
    return missing


def under_fire(portal: Portal, double: DoubleProcess, rng: random.Random, *, tracked: bool) -> dict[str, str]:
    """Queues the messages while faults are injected and workers killed; the digest of each, by its local ID."""
    put: dict[str, str] = {}
    dies_at: dict[str, float] = {}
    kills = 0
    if not tracked:
        untracked(double)
    portal.start_beat("beat")
    while len(put) < MESSAGES or kills < KILLS:
        for name in start_workers(portal):
            dies_at[name] = time.monotonic() + rng.uniform(0.5, 3.0)
        # Spread over the kills, so that each finds something to interrupt.
        if len(put) < MESSAGES and len(put) * KILLS <= kills * MESSAGES:
            sizes = [rng.choice([1, 300, 20_000, CHUNK, CHUNK + 1, 2 * CHUNK + 500_000]) for _ in range(5)]
            put |= portal.ask("put_outgoing", mailbox_id=BOX, recipient=TO, sizes=sizes, seed=rng.randrange(10**9))
        spoil(double, rng)
        name = min(dies_at, key=lambda worker: dies_at[worker])
        time.sleep(max(0.0, min(dies_at[name] - time.monotonic(), 0.3)))
        if time.monotonic() >= dies_at[name]:
            portal.kill(name)
            del dies_at[name]
            kills += 1
    return put
