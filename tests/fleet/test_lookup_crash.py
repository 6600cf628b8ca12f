"""A night's questions for an address book, by workers that are killed; one practice among many has moved."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double.process import DoubleProcess
from tests.fleet.portal import Portal, wait_until
from tests.fleet.practices import code_of

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-lookups")]

PRACTICES = int(os.environ.get("MESHPORTAL_TEST_PRACTICES", "300"))
WORKFLOWS = ["TOC_FHIR_IP_DISCH", "PATH_MEDRPT_V3"]
BOX, SHARED, NEW = "X26HC001", "YGM24HC005", "X26HC099"
MOVED = code_of(7)


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOX, "X26")])


@pytest.fixture
def double(tmp_path: Path, pki: Pki) -> Iterator[DoubleProcess]:
    with DoubleProcess(tmp_path / "double", pki) as double:
        double.add_mailbox(BOX)
        double.add_mailbox(SHARED, ods_code="YGM24", workflows=WORKFLOWS)
        double.add_mailbox(NEW, ods_code=MOVED, workflows=WORKFLOWS)
        codes = [code_of(number) for number in range(PRACTICES)]
        double.set_addresses((code, workflow, [NEW if code == MOVED else SHARED]) for code in codes for workflow in WORKFLOWS)
        yield double


@pytest.fixture
def portal(tmp_path: Path, pki: Pki, redis: RedisServer, double: DoubleProcess) -> Iterator[Portal]:
    settings = {
        "MESHPORTAL_LEASE_SECONDS": "3",
        "MESHPORTAL_SANDBOX_LOOKUPS_PER_SECOND": "60",
        # No question is slow here but where the machine stands still.
        "MESHPORTAL_CONNECT_TIMEOUT": "30",
        "MESHPORTAL_READ_TIMEOUT": "30",
    }
    with Portal(tmp_path / "portal", url=double.base_url, redis_url=redis.url, settings=settings) as portal:
        portal.seed(pki, [{"mailbox_id": BOX, "mode": "watch", "poll_interval_seconds": 3600}], identity=BOX)
        portal.ask("stage_book", practices=PRACTICES, workflows=WORKFLOWS, mailbox_id=SHARED)
        yield portal


def test_a_night_survives_a_kill_and_one_move_is_one_alert(portal: Portal, double: DoubleProcess) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    pairs = PRACTICES * len(WORKFLOWS)
    begun = time.monotonic()
    portal.start_beat("beat")
    for share in sorted(rng.uniform(0.05, 0.7) for _ in range(2)):
        portal.start_worker("one", queues="default")
        wait_until(
            lambda share=share: portal.ask("book_answered") >= share * pairs,  # type: ignore[misc]
            seconds=90,
            what=f"{share:.0%} answered",
            portal=portal,
        )
        time.sleep(rng.uniform(0, 0.2))
        portal.kill("one")
    between = portal.ask("book_counts")
    assert between["due"] > 0
    for name in ("one", "two"):
        portal.start_worker(name, queues="default")
    wait_until(lambda: portal.ask("book_counts")["due"] == 0, seconds=90, what="the end", portal=portal)
    for name in ("beat", "one", "two"):
        portal.stop(name)
    found = portal.ask("book_counts")
    seconds = time.monotonic() - begun
    asked = [one for one in double.records(route=["lookup", "search"]) if one.status == 200]
    print(f"{pairs} pairs, {len(asked)} questions in {seconds:.0f} s; {between['answers']} were kept at the last kill")

    # Every pair has its answer; a kill costs the few that were in hand, and nothing is kept twice for one claim.
    assert (found["answered"], found["failed"], found["leased"]) == (pairs, [], 0)
    assert found["answers"] == pairs
    assert pairs <= sum(one.route == "lookup" for one in asked) <= pairs + 2 * 20 * 10
    assert found["searched"] == len(WORKFLOWS)
    # The one that moved, for each of its workflows; all that share a mailbox are as they were.
    assert found["changes"] == [[MOVED, workflow] for workflow in sorted(WORKFLOWS)]
    assert found["drift"] == {"agrees": pairs - len(WORKFLOWS), "changed": len(WORKFLOWS)}
    [alert] = found["alerts"]
    assert alert == f"{MOVED} had the mailbox {SHARED}; MESH answers {NEW} now, for {len(WORKFLOWS)} workflows."
    # No second has more than its share, but for what ten threads of two workers have in hand when a busy machine wakes up.
    by_second = Counter(int(one.started - asked[0].started) for one in asked)
    assert max(by_second.values()) <= 60 + 20, by_second
