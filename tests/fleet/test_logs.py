"""What real workers, schedulers and pages write into their logs at the noisiest level holds nothing that was planted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshportal.demo.pki import create_pki
from meshportal.demo.redis_server import RedisServer
from tests.double import faults
from tests.double.process import DoubleProcess
from tests.fleet.portal import Portal, wait_until

pytestmark = [pytest.mark.simulation, pytest.mark.xdist_group("fleet-simulation")]

GOOD, REFUSED, POISONED = "X26HC001", "X26HC002", "X26HC003"
PLANTED = {
    "password": "PLANTED-MAILBOX-PASSWORD",
    "wrong password": "PLANTED-WRONG-PASSWORD",
    "shared key": "PLANTED-SHARED-KEY",
    "body": "PLANTED-BODY-OF-A-LETTER",
    "subject": "PLANTED-SUBJECT-MRS-JONES",
    "sign-in": "PLANTED-sign-in-9f3",
    "reason": "PLANTED reason for looking",
    "patient": "9990000018",
}


def test_nothing_that_was_planted_is_in_any_log(tmp_path: Path, redis: RedisServer) -> None:
    pki = create_pki([(GOOD, "X26")])
    settings = {
        "LOG_LEVEL": "DEBUG",
        "MESHPORTAL_SANDBOX_SHARED_KEY": PLANTED["shared key"],
        "MESHPORTAL_SECURE": "0",
        "MESHPORTAL_MAX_ATTEMPTS": "2",
        "ALLOWED_HOSTS": "testserver",
    }
    with (
        DoubleProcess(tmp_path / "double", pki, shared_key=PLANTED["shared key"]) as double,
        Portal(tmp_path / "portal", url=double.base_url, redis_url=redis.url, settings=settings) as portal,
    ):
        for box in (GOOD, REFUSED, POISONED):
            double.add_mailbox(box, PLANTED["password"])
        portal.seed(
            pki,
            [
                {"mailbox_id": GOOD, "password": PLANTED["password"]},
                {"mailbox_id": REFUSED, "password": PLANTED["wrong password"]},
                {"mailbox_id": POISONED, "password": PLANTED["password"]},
            ],
            identity=GOOD,
        )
        hostile = {"subject": PLANTED["subject"], "local_id": f"NHS {PLANTED['patient']}", "file_name": "letter.txt"}
        for _ in range(3):
            double.put(GOOD, PLANTED["body"] * 100, **hostile)
        double.put(POISONED, PLANTED["body"], corrupt="garbage", **hostile)
        address = f"GPPROVIDER_{PLANTED['patient']}_01011950_Jones"
        double.put(GOOD, PLANTED["body"], headers={"mex-to": address}, **hostile)
        double.add_fault(match={"route": "list", "mailbox": GOOD, "nth": 2}, action=faults.status(500, body="soap"))
        portal.start_beat("beat")
        portal.start_worker("one", pool="prefork", concurrency=2)
        wait_until(lambda: not double.inbox(GOOD), seconds=60, what="the letters collected", portal=portal)
        wait_until(
            lambda: {box["mailbox_id"]: box["problem"] for box in portal.ask("mailboxes")}[REFUSED] == "sign_in_refused",
            seconds=30,
            what="the refusal shown",
            portal=portal,
        )
        wait_until(
            lambda: portal.ask("counts").get("quarantined", 0) == 1, seconds=60, what="the poison put aside", portal=portal
        )
        statuses = portal.ask("visit", email="p@example.org", password=PLANTED["sign-in"], reason=PLANTED["reason"])
        assert statuses[1] == 302
        assert set(statuses[2:-1]) == {200}
        portal.stop("one")
        portal.kill("beat")
        token = re.compile(r"NHSMESH\s+X26|AGE-SECRET-KEY-1|PRIVATE KEY")
        logs = [portal.log, *tmp_path.rglob("*.log")]
        written = "\n".join(path.read_text(errors="replace") for path in set(logs))
    assert len(written.splitlines()) > 100
    assert "download_failed" in written
    found = [name for name, marker in PLANTED.items() if marker in written]
    assert found == []
    assert token.search(written) is None
    # Nor in clear in any file that the portal wrote, its database among them.
    sealed = {name: PLANTED[name].encode() for name in ("password", "wrong password", "body", "subject", "sign-in")}
    files = [path for path in (tmp_path / "portal").rglob("*") if path.is_file()]
    assert files
    assert [(path.name, name) for path in files for name, marker in sealed.items() if marker in path.read_bytes()] == []
