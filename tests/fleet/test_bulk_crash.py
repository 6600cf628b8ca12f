"""A thousand messages are sent again at one word, by workers that are killed (promises P2, P10)."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from tests.fleet.portal import Portal, wait_until

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-bulk")]

NUMBER = int(os.environ.get("MESHPORTAL_TEST_BULK", "1000"))
BOX, TO, WHO = "X26HC001", "YGM24HC001", "omar.ops@midshire.example"


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOX, "X26")])


@pytest.fixture
def portal(tmp_path: Path, pki: Pki, redis: RedisServer) -> Iterator[Portal]:
    # Nothing is sent to MESH here: what the sender does with a queued message has its own harness.
    settings = {"MESHPORTAL_LEASE_SECONDS": "2", "MESHPORTAL_SHARD_SECONDS": "3", "MESHPORTAL_MAX_ATTEMPTS": "20"}
    with Portal(tmp_path / "portal", url="https://localhost:1", redis_url=redis.url, settings=settings) as portal:
        portal.seed(pki, [{"mailbox_id": BOX, "mode": "watch", "poll_interval_seconds": 3600}], identity=BOX)
        portal.ask("add_people", password="a passing sentence", emails={"operator": WHO})
        portal.ask("stage_returned", mailbox_id=BOX, recipient=TO, number=NUMBER, workflow_id="LETTERS")
        yield portal


def test_each_is_sent_again_once_whatever_dies(portal: Portal) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    begun = time.monotonic()
    confirmed = portal.ask("confirm_resend", email=WHO, query="state=returned&workflow=LETTERS", reason="they were closed")
    assert confirmed["status"] == 302
    assert f"Send {NUMBER:,} messages again" in confirmed["heading"]
    page = confirmed["to"]
    assert f"0 of {NUMBER:,} dealt with" in portal.ask("look", email=WHO, address=page)

    portal.start_beat("beat")
    kills = 0
    # At shares of the work that leave something to do, so that each kill interrupts; the instant within a row is chance.
    for share in sorted(rng.uniform(0.02, 0.85) for _ in range(5)):
        portal.start_worker("one", queues="default")
        wait_until(
            lambda share=share: portal.ask("bulk_counts").get("sent", 0) >= share * NUMBER,  # type: ignore[misc]
            seconds=120,
            what=f"{share:.0%} sent again",
            portal=portal,
        )
        time.sleep(rng.uniform(0, 0.05))
        portal.kill("one")
        kills += 1
    between = portal.ask("bulk_counts")
    for name in ("one", "two"):
        portal.start_worker(name, queues="default")
    wait_until(lambda: portal.ask("bulk_counts")["under_way"] == 0, seconds=120, what="the end", portal=portal)
    for name in ("beat", "one", "two"):
        portal.stop(name)

    proof = portal.ask("bulk_proof")
    print(f"{kills} kills, {between}, {proof} in {time.monotonic() - begun:.0f} s")
    assert between.get("waiting", 0) > 0
    assert portal.ask("bulk_counts") == {"sent": NUMBER, "under_way": 0}
    assert (proof["links"], proof["sent_twice"], proof["as_rows_say"]) == (NUMBER, 0, True)
    assert (proof["same_bytes"], proof["readable"], proof["held"]) == (NUMBER, min(NUMBER, 25), False)
    # One gesture with a row for each message, all of them the person's.
    assert proof["events"] == {"bulk_resend.begun": 1, "message.resent": NUMBER}
    assert (proof["gestures"], proof["targets"], len(proof["people"])) == (1, NUMBER, 1)
    said = re.sub(r"\s+", " ", portal.ask("look", email=WHO, address=page))
    assert f"{NUMBER:,} messages sent again, 0 messages left as they are." in said
    assert "data-refresh" not in said.partition("<main")[2]
