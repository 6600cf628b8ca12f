"""watch_client dies between any two operations, or is killed at any moment: each record is logged once (promise P2)."""

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

from meshportal.demo.pki import create_pki
from messages import ctl
from tests.clients.test_watching import control, failed, received
from tests.fleet.portal import ROOT, Portal

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-simulation")]

BOX = "X26CL001"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("IN", "OUT", "SENT", "FAILED"):
        (tmp_path / "data" / BOX / name).mkdir(parents=True)
    return tmp_path / "data" / BOX


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    settings = {"MESHPORTAL_FOLDER_SETTLE_SECONDS": "0"}
    with Portal(tmp_path / "portal", url="https://127.0.0.1:1", redis_url="redis://127.0.0.1:1/0", settings=settings) as portal:
        portal.seed(create_pki([(BOX, "X26")]), [{"mailbox_id": BOX, "mode": "watch"}], identity=BOX)
        yield portal


def fill(home: Path, first: int, number: int) -> None:
    """So many records in each folder."""
    for one in range(first, first + number):
        for place, content in (
            ("SENT", control(3 * one)),
            ("FAILED", failed(3 * one + 1)),
            ("IN", received(3 * one + 2)),
        ):
            (home / place / f"{one}.ctl").write_bytes(ctl.render(content))


def once(portal: Portal, number: int, *, unusable: int = 0) -> None:
    found = portal.ask("client_history", mailbox_id=BOX)
    assert (found["messages"], found["records"], found["without"]) == (3 * number, 3 * number + unusable, 0)
    assert set(found["steps"].values()) == {1}


def test_it_dies_at_every_step(portal: Portal, home: Path) -> None:
    step, number, alive = 0, 0, False
    while not alive:
        step += 1
        fill(home, number, 1)
        (home / "SENT" / f"bad-{number}.ctl").write_bytes(b"nothing" * (number + 1))
        number += 1
        try:
            alive = portal.ask("watch_client", mailbox_id=BOX, home=str(home), die_at=step)["steps"] < step
        except AssertionError as error:
            assert "died" in str(error), error
        portal.ask("watch_client", mailbox_id=BOX, home=str(home))
        once(portal, number, unusable=number)
        assert portal.ask("watch_client", mailbox_id=BOX, home=str(home))["logged"] == 0
    print(f"{step} steps")
    assert step > 10


@pytest.mark.faults
def test_it_is_killed_while_the_client_writes(portal: Portal, home: Path) -> None:
    seed = int(os.environ.get("MESHPORTAL_TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed}")
    rng = random.Random(seed)
    command = [sys.executable, "manage.py", "watch_client", str(home), "--every", "1"]
    kills, written = 6, 0
    for _ in range(kills):
        fill(home, written, 30)
        written += 30
        half = home / "SENT" / "half.ctl"
        running = subprocess.Popen(command, env=portal.environment, cwd=ROOT, stdout=subprocess.DEVNULL)
        began = portal.ask("client_history", mailbox_id=BOX)["records"]
        # Until it is amid its work.
        deadline = time.monotonic() + 40
        while portal.ask("client_history", mailbox_id=BOX)["records"] == began and time.monotonic() < deadline:
            time.sleep(0.05)
        until = time.monotonic() + rng.uniform(0.0, 1.0)
        while time.monotonic() < until:
            fill(home, written, 5)
            written += 5
            half.write_bytes(ctl.render(control(900_000))[: rng.randrange(60)])
            time.sleep(0.05)
        half.unlink(missing_ok=True)
        running.send_signal(signal.SIGKILL)
        running.wait()
    first = portal.ask("client_history", mailbox_id=BOX)
    portal.ask("watch_client", mailbox_id=BOX, home=str(home))
    once(portal, written)
    assert first["records"] >= kills
    print(f"{written * 3} records, {first['records']} of them logged by those that were killed")
    assert portal.ask("watch_client", mailbox_id=BOX, home=str(home))["logged"] == 0
