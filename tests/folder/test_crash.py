"""The portal dies between any two operations: each pair becomes one message, and its files end in one place, once (P2, P3)."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from messages import ctl
from tests.double.process import DoubleProcess
from tests.fleet.conftest import redis
from tests.fleet.portal import Portal, wait_until
from tests.folder.conftest import BOX, TO, control, outcome, tree

__all__ = ["redis"]

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-simulation")]

PAIRS, KILLS = 60, 25


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOX, "X26")])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("OUT", "SENT", "FAILED"):
        (tmp_path / "share" / "box" / name).mkdir(parents=True)
    return tmp_path / "share" / "box"


def portal_with(home: Path, pki: Pki, *, url: str, redis_url: str, **settings: str) -> Portal:
    given = {
        "MESHPORTAL_FOLDER_ROOT": str(home.parent),
        "MESHPORTAL_FOLDER_SECONDS": "1",
        "MESHPORTAL_FOLDER_SETTLE_SECONDS": "0",
        "MESHPORTAL_SHARD_SECONDS": "2",
        **settings,
    }
    return Portal(home.parent.parent / "portal", url=url, redis_url=redis_url, settings=given)


def wire(portal: Portal, pki: Pki) -> None:
    portal.seed(pki, [{"mailbox_id": BOX, "mode": "watch", "poll_interval_seconds": 3600}], identity=BOX)
    portal.ask("wire_folder", mailbox_id=BOX, folder="box")


@pytest.fixture
def portal(home: Path, pki: Pki) -> Iterator[Portal]:
    """One whose MESH and broker nobody calls: turns are done one by one."""
    with portal_with(home, pki, url="https://127.0.0.1:1", redis_url="redis://127.0.0.1:1/0") as portal:
        wire(portal, pki)
        yield portal


def put(home: Path, name: str, body: bytes, raw: bytes | None = None) -> None:
    (home / "OUT" / f"{name}.dat").write_bytes(body)
    (home / "OUT" / f"{name}.ctl").write_bytes(raw if raw is not None else ctl.render(control()))


def dies(portal: Portal, at: int) -> bool:
    """A turn that dies at a step; False when it had fewer."""
    try:
        return bool(portal.ask("folder_turn", die_at=at) >= at)
    except AssertionError as error:
        assert "died" in str(error), error
        return True


def bodies(home: Path, folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / folder).glob("*.dat")}


def test_a_document_that_is_sent_survives_a_death_at_every_step(portal: Portal, home: Path) -> None:
    step, alive, put_in = 0, 0, {}
    while alive < 2:
        step += 1
        name = f"n{step:03}"
        put_in[f"{name}.dat"] = body = os.urandom(50)
        put(home, name, body)
        taking = dies(portal, step)
        everywhere = [path.read_bytes() for path in home.rglob("*.dat")]
        assert everywhere.count(body) == 1, f"after dying at step {step} of taking"
        portal.ask("folder_turn")
        portal.ask("folder_turn")
        assert len(portal.ask("sent_bodies")) == step, f"after dying at step {step} of taking"
        portal.ask("accept_all")
        placing = dies(portal, step)
        assert [path.read_bytes() for path in home.rglob("*.dat")].count(body) == 1, f"step {step} of placing"
        portal.ask("folder_turn")
        assert "OUT" not in tree(home) and ".taking" not in tree(home), f"after dying at step {step} of placing"
        alive = 0 if taking or placing else alive + 1
    print(f"{step} steps")
    assert step > 40
    digests = [(name, hashlib.sha256(body).hexdigest()) for name, body in sorted(put_in.items())]
    assert [tuple(row) for row in portal.ask("sent_bodies")] == digests
    assert portal.ask("pickups") == {"done": step}
    assert bodies(home, "SENT") == put_in
    names = [path.name for path in (home / "SENT").iterdir()]
    assert sorted(names) == sorted([*put_in, *(name.replace(".dat", ".ctl") for name in put_in)])
    assert {outcome(path).status for path in (home / "SENT").glob("*.ctl")} == {"SUCCESS"}


@pytest.mark.parametrize("raw", [b"no control file", ctl.render(control(from_dts="X26HC999"))], ids=["unreadable", "not ours"])
def test_a_document_that_fails_survives_a_death_at_every_step(portal: Portal, home: Path, raw: bytes) -> None:
    step, put_in = 0, {}
    dying = True
    while dying:
        step += 1
        put_in["same.dat" if step == 1 else f"same-{step}.dat"] = body = f"letter {step}".encode()
        put(home, "same", body, raw)
        dying = dies(portal, step)
        assert [path.read_bytes() for path in home.rglob("*.dat")].count(body) == 1, f"after dying at step {step}"
        portal.ask("folder_turn")
        portal.ask("folder_turn")
        assert set(tree(home)) == {"FAILED"}, f"after dying at step {step}"
    assert step > 25
    assert bodies(home, "FAILED") == put_in
    assert portal.ask("sent_bodies") == [] and portal.ask("pickups") == {"done": step}
    kept = [path.read_bytes() for path in (home / "FAILED").glob("*.original")]
    assert kept == ([raw] * step if raw.startswith(b"no") else [])
    assert {outcome(path).status for path in (home / "FAILED").glob("*.ctl")} == {"ERROR"}
    assert len(list((home / "FAILED").iterdir())) == step * 2 + len(kept)


@pytest.mark.faults
def test_workers_that_are_killed_at_random_send_each_document_once(
    home: Path, pki: Pki, tmp_path: Path, redis: RedisServer
) -> None:
    """Real workers, a real scheduler, and a service that answers: what arrives is what was put into the folder."""
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    with (
        DoubleProcess(tmp_path / "double", pki) as double,
        portal_with(
            home,
            pki,
            url=double.base_url,
            redis_url=redis.url,
            MESHPORTAL_LEASE_SECONDS="3",
            MESHPORTAL_RECONCILE_SECONDS="1",
            MESHPORTAL_TRACK_SECONDS="3600",
            MESHPORTAL_SEND_CHUNK_MB="1",
        ) as portal,
    ):
        double.add_mailbox(BOX)
        double.add_mailbox(TO)
        wire(portal, pki)
        portal.start_beat("beat")
        put_in: dict[str, str] = {}
        for number in range(max(PAIRS, KILLS)):
            for name in ("one", "two"):
                if name not in portal.running:
                    portal.start_worker(name, queues="send,default")
            if number < PAIRS:
                # Never two alike: a twin is refused.
                body = rng.randbytes(rng.choice([30, 3000, 1_200_000]))
                put(home, f"letter {number}", body)
                put_in[f"letter {number}.dat"] = hashlib.sha256(body).hexdigest()
            time.sleep(rng.uniform(0.2, 0.9))
            if number < KILLS:
                portal.kill(rng.choice(["one", "two"]))
        for name in ("one", "two"):
            if name not in portal.running:
                portal.start_worker(name, queues="send,default")
        wait_until(
            lambda: portal.ask("pickups").get("done", 0) >= PAIRS, seconds=120, what="every document in its place", portal=portal
        )
        for name in ("beat", "one", "two"):
            portal.stop(name)
        whole = [message for message in double.sent_by(BOX) if message.status != "uploading"]
        arrived = [double.content_digest(message.message_id) for message in whole]
        assert double.errors() == []
        assert sorted(arrived) == sorted(put_in.values())
        assert dict(tuple(row) for row in portal.ask("sent_bodies")) == put_in
    assert {name: hashlib.sha256(body).hexdigest() for name, body in bodies(home, "SENT").items()} == put_in
    assert set(tree(home)) == {"SENT"} and len(tree(home)["SENT"]) == 2 * PAIRS
