"""Mailboxes from a file while processes die: none of the rows or all of them, and the doctor goes on (promises P2, P10)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double.process import DoubleProcess
from tests.fleet.importing import sheet
from tests.fleet.portal import ROOT, Portal, wait_until

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-import")]

NUMBER = int(os.environ.get("MESHPORTAL_TEST_IMPORTED", "150"))
BOX = "X26HC001"


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOX, "X26")])


def test_an_import_dies_at_every_step(tmp_path: Path, pki: Pki) -> None:
    with Portal(tmp_path / "portal", url="https://localhost:1", redis_url="redis://127.0.0.1:1/0") as portal:
        portal.seed(pki, [], identity=BOX)
        step, nothing, whole = 0, 0, 0
        alive = False
        while not alive:
            step += 1
            names = [f"X26ST{step:03d}{letter}" for letter in "AB"]
            pk = portal.ask("prepare_import", names=names)
            try:
                alive = portal.ask("apply_import", pk=pk, die_at=step) < step
            except AssertionError as error:
                assert "died" in str(error), error
            stands = portal.ask("import_state", pk=pk, names=names)
            if stands["waits"]:
                assert stands == {"mailboxes": 0, "examined": 0, "events": 0, "waits": True}, f"after dying at step {step}"
                nothing += 1
                portal.ask("apply_import", pk=pk)
                stands = portal.ask("import_state", pk=pk, names=names)
            else:
                whole += 1
            assert stands == {"mailboxes": 2, "examined": 2, "events": 4, "waits": False}, f"after dying at step {step}"
        print(f"{step} steps, none of the rows after {nothing}, all after {whole}")
        assert nothing > 10 and whole >= 1
        assert portal.ask("audit_holds")


@pytest.fixture
def double(tmp_path: Path, pki: Pki) -> Iterator[DoubleProcess]:
    with DoubleProcess(tmp_path / "double", pki) as double:
        yield double


@pytest.mark.faults
def test_commands_and_workers_are_killed(tmp_path: Path, pki: Pki, double: DoubleProcess, redis: RedisServer) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    names = [f"X26KL{number:04d}" for number in range(NUMBER)]
    wrong = set(rng.sample(names, 5))
    for name in names:
        double.add_mailbox(name, "another" if name in wrong else "password")
    path = tmp_path / "boxes.csv"
    path.write_bytes(sheet(names))
    settings = {"MESHPORTAL_LEASE_SECONDS": "2", "MESHPORTAL_SHARD_SECONDS": "3"}
    with Portal(tmp_path / "portal", url=double.base_url, redis_url=redis.url, settings=settings) as portal:
        portal.seed(pki, [], identity=BOX)
        command = [sys.executable, "manage.py", "import_mailboxes", str(path), "--team", "fleet", "--apply"]
        killed = 0
        begun = time.monotonic()
        subprocess.run(command[:-1], env=portal.environment, cwd=ROOT, check=True, capture_output=True)
        dry = time.monotonic() - begun
        for _ in range(4):
            # Amid its work as far as the dry run tells: it takes about twice as long.
            process = subprocess.Popen(command, env=portal.environment, cwd=ROOT, stdout=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.4, 1.6) * dry)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            counts = portal.ask("imported_mailboxes")
            assert counts["mailboxes"] in (0, NUMBER), counts
            assert counts["mailboxes"] == counts["examined"] == counts["added"] == counts["applied"] * NUMBER
            if counts["applied"]:
                break
        if not portal.ask("imported_mailboxes")["applied"]:
            subprocess.run(command, env=portal.environment, cwd=ROOT, check=True, capture_output=True)
        assert portal.ask("imported_mailboxes") == dict.fromkeys(("mailboxes", "examined", "added"), NUMBER) | {"applied": 1}

        portal.start_beat("beat")
        for share in (0.1, 0.35, 0.6):
            portal.start_worker("one", queues="default")
            wait_until(
                lambda share=share: NUMBER - portal.ask("findings").get("waiting", 0) >= share * NUMBER,  # type: ignore[misc]
                seconds=90,
                what=f"{share:.0%} examined",
                portal=portal,
            )
            time.sleep(rng.uniform(0, 0.05))
            portal.kill("one")
        between = portal.ask("findings")
        for name in ("one", "two"):
            portal.start_worker(name, queues="default")
        wait_until(lambda: not portal.ask("findings").get("waiting"), seconds=120, what="all examined", portal=portal)
        for name in ("beat", "one", "two"):
            portal.stop(name)
        print(f"{killed} commands killed, 3 workers killed, {between}, {portal.ask('tries')}")
        assert between.get("waiting", 0) > 0
        assert portal.ask("findings") == {"good": NUMBER - 5, "bad": 5}
        assert portal.ask("audit_holds")
        assert "PLANTED" not in portal.log_tail(100_000)
    assert double.errors() == []
