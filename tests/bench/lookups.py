"""A night of the address book: 7,000 practices, 5 workflows, one practice that moved, a worker that is killed in the middle.

First with the pace raised, for what the machine bears; then for a minute at the pace that is set by default.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from meshportal.demo.pki import create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double.process import DoubleProcess
from tests.fleet.portal import Portal, wait_until
from tests.fleet.practices import code_of

PRACTICES = int(os.environ.get("MESHPORTAL_BENCH_PRACTICES", "7000"))
WORKFLOWS = ["TOC_FHIR_IP_DISCH", "TOC_FHIR_OP_ATTEN", "PATH_MEDRPT_V3", "GPCONNECT_SEND_DOCUMENT", "SCRN_BCS_MEDRPT_V4"]
BOX, SHARED, NEW = "X26HC001", "YGM24HC005", "X26HC099"
PACE, AT_PACE_SECONDS, PROMISE_MINUTES = 25, 60, 30


def run() -> bool:
    """True when a night at 25 a second stays within the promise, and the one move is found, once."""
    pairs = PRACTICES * len(WORKFLOWS)
    print(f"lookups: {PRACTICES:,} practices, {len(WORKFLOWS)} workflows, {pairs:,} questions over mutual TLS")
    moved = code_of(PRACTICES // 2)
    with tempfile.TemporaryDirectory(prefix="meshportal-bench-") as name:
        folder = Path(name)
        pki = create_pki([(BOX, "X26")])
        with RedisServer(folder / "redis") as redis, DoubleProcess(folder / "double", pki) as double:
            for box, code in ((BOX, "X26"), (SHARED, "YGM24"), (NEW, moved)):
                double.add_mailbox(box, ods_code=code, workflows=WORKFLOWS)
            codes = [code_of(number) for number in range(PRACTICES)]
            for workflow in WORKFLOWS:
                double.set_addresses((code, workflow, [NEW if code == moved else SHARED]) for code in codes)
            raised = {"MESHPORTAL_SANDBOX_LOOKUPS_PER_SECOND": "10000", "MESHPORTAL_LEASE_SECONDS": "10", "LOG_LEVEL": "WARNING"}
            with Portal(folder / "raised", url=double.base_url, redis_url=redis.url, settings=raised) as portal:
                _seed(portal, pki)
                seconds = _whole(portal, pairs)
                found = portal.ask("book_counts")
            set_so = {"MESHPORTAL_SANDBOX_LOOKUPS_PER_SECOND": str(PACE), "LOG_LEVEL": "WARNING"}
            with Portal(folder / "paced", url=double.base_url, redis_url=redis.url, settings=set_so) as portal:
                _seed(portal, pki)
                paced = _at_pace(portal)
    print(f"  pace raised: {pairs:,} in {seconds:.0f} s with one kill, {pairs / seconds:.0f} lookups/s")
    minutes = pairs / paced / 60
    print(f"  pace of {PACE}/s: {paced:.1f} lookups/s, a night of {minutes:.1f} minutes (promise: {PROMISE_MINUTES})")
    print(f"  found: {len(found['changes'])} changes of {moved}, alerts: {found['alerts']}")
    right = found["changes"] == [[moved, workflow] for workflow in sorted(WORKFLOWS)] and len(found["alerts"]) == 1
    whole = found["answers"] == found["answered"] == pairs and found["failed"] == 0
    return right and whole and minutes < PROMISE_MINUTES and paced <= PACE * 1.05


def _seed(portal: Portal, pki: object) -> None:
    portal.seed(pki, [{"mailbox_id": BOX, "mode": "watch", "poll_interval_seconds": 3600}], identity=BOX)  # type: ignore[arg-type]
    portal.ask("stage_book", practices=PRACTICES, workflows=WORKFLOWS, mailbox_id=SHARED)
    portal.start_beat("beat")


def _whole(portal: Portal, pairs: int) -> float:
    portal.start_worker("one", queues="default")
    began = time.monotonic()
    wait_until(lambda: portal.ask("book_answered") >= pairs / 3, seconds=1800, what="a third", portal=portal)
    portal.kill("one")
    portal.start_worker("one", queues="default")
    wait_until(lambda: portal.ask("book_answered") >= pairs, seconds=3600, what="the night", portal=portal)
    return time.monotonic() - began


def _at_pace(portal: Portal) -> float:
    portal.start_worker("one", queues="default")
    wait_until(lambda: portal.ask("book_answered") > 0, seconds=60, what="the first answers", portal=portal)
    before, began = portal.ask("book_answered"), time.monotonic()
    time.sleep(AT_PACE_SECONDS)
    answered, seconds = portal.ask("book_answered") - before, time.monotonic() - began
    return float(answered / seconds)
