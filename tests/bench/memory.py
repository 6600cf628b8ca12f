"""Receiving a 1 GB message in 50 chunks: how far a real worker's resident memory rises above its idle figure."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from meshportal.demo.pki import create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double import Synthetic
from tests.double.process import DoubleProcess
from tests.fleet.portal import Portal, wait_until

SIZE, CHUNKS = 1_000_000_000, 50
PROMISE_MB = 150
BOX = "X26HC001"


def resident(pid: int, field: str = "VmRSS") -> float:
    """Megabytes that a process and its children hold in memory; ``VmHWM`` for the most they ever held."""
    pids = [pid]
    for one in pids:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
    total = 0.0
    for one in pids:
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{one}/status").read_text())
        total += int(found[1]) / 1000 if found else 0
    return total


def run() -> bool:
    """True when the rise stays within the promise."""
    print(f"memory: a worker receives {SIZE / 1e9:g} GB in {CHUNKS} chunks")
    with tempfile.TemporaryDirectory(prefix="meshportal-bench-") as name:
        folder = Path(name)
        pki = create_pki([(BOX, "X26")])
        with (
            RedisServer(folder / "redis") as redis,
            DoubleProcess(folder / "double", pki) as double,
            Portal(folder / "portal", url=double.base_url, redis_url=redis.url) as portal,
        ):
            double.configure(compress_downloads=False)
            double.add_mailbox(BOX)
            portal.seed(pki, [{"mailbox_id": BOX}], identity=BOX)
            # One small message first: what the first poll of a process loads is not what a message costs.
            double.put(BOX, b"warm")
            portal.start_beat("beat")
            pid = portal.start_worker("one")
            wait_until(lambda: not double.inbox(BOX), seconds=60, what="the first message", portal=portal)
            idle = resident(pid)
            double.put(BOX, Synthetic(SIZE, 7), chunks=CHUNKS)
            began = time.monotonic()
            wait_until(lambda: not double.inbox(BOX), seconds=600, what="the large message", portal=portal)
            seconds = time.monotonic() - began
            peak = resident(pid, "VmHWM")
            counts = portal.ask("counts")
    rise = peak - idle
    print(f"  idle {idle:.0f} MB, peak {peak:.0f} MB, rise {rise:.0f} MB (promise: at most {PROMISE_MB} MB)")
    print(f"  {SIZE / 1e6 / seconds:.0f} MB/s, downloaded, hashed, encrypted and synced; states {counts}")
    return rise <= PROMISE_MB and counts == {"acknowledged": 2}
