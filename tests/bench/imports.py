"""500 mailboxes from a file: the dry run, the import, and the doctor over all of them against the official sandbox."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from meshportal.demo.guard import guarded
from meshportal.demo.pki import create_pki
from meshportal.demo.redis_server import RedisServer
from meshportal.demo.sandbox import Sandbox
from tests import services
from tests.fleet.portal import Portal, wait_until

NUMBER = 500
LONGEST_SECONDS = 120
WHO = "mina.manage@midshire.example"


def run() -> bool:
    """True when every mailbox connects; the time is said."""
    print(f"imports: {NUMBER} mailboxes by CSV, one worker, the official sandbox")
    names = [f"X26BE{number:04d}" for number in range(NUMBER)]
    pki = create_pki([(names[0], "X26")])
    with tempfile.TemporaryDirectory(prefix="meshportal-bench-") as name, guarded():
        folder = Path(name)
        with (
            RedisServer(folder / "redis") as redis,
            Sandbox(services.SANDBOX_PYTHON, folder / "sandbox", pki, mailboxes=names) as sandbox,
            Portal(folder / "portal", url=sandbox.base_url, redis_url=redis.url) as portal,
        ):
            portal.seed(pki, [], identity=names[0])
            portal.ask("add_people", password="a passing sentence", emails={"manager": WHO})
            portal.start_beat("beat")
            portal.start_worker("one", queues="default")
            began = time.monotonic()
            seen = portal.ask("upload_sheet", email=WHO, names=names)
            looked = time.monotonic()
            portal.ask("import_sheet", email=WHO, page=seen["page"], digest=seen["digest"])
            imported = time.monotonic()
            wait_until(lambda: not portal.ask("findings").get("waiting"), seconds=600, what="all examined", portal=portal)
            ended = time.monotonic()
            found = portal.ask("findings")
            for process in ("beat", "one"):
                portal.stop(process)
    total = ended - began
    print(f"  upload and dry run: {looked - began:.1f} s")
    print(f"  import: {imported - looked:.1f} s")
    print(f"  doctor over all: {ended - imported:.1f} s, {NUMBER / (ended - imported):.0f} mailboxes/s, {found}")
    print(f"  in all: {total:.1f} s, {'within' if total < LONGEST_SECONDS else 'MORE THAN'} {LONGEST_SECONDS} s")
    return bool(found == {"good": NUMBER})
