"""Killing the notify worker at each step loses no notification, and sends none again once its success was written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshportal.demo.pki import create_pki
from tests.fleet.portal import Portal
from tests.notify import receivers

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("notify-crash")]
STEPS = [
    "before an alert is raised",
    "while an alert is raised",
    "after it was raised",
    "before a message is planned",
    "while a message is planned",
    "after it was planned",
    "after it was claimed",
    "while the try is written",
    "before it is sent",
    "after it was sent",
    "while that is written",
    "after that was written",
]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[receivers.Web]:
    pki = create_pki([])
    (tmp_path / "ca.pem").write_bytes(pki.authority.certificate_pem)
    with receivers.web(pki, tmp_path) as found:
        yield found


@pytest.fixture
def portal(tmp_path: Path, receiver: receivers.Web) -> Iterator[Portal]:
    settings = {
        "MESHPORTAL_LEASE_SECONDS": "2",
        "MESHPORTAL_NOTIFY_CA_FILE": str(tmp_path / "ca.pem"),
        "MESHPORTAL_NOTIFY_NETWORKS": "127.0.0.0/8,::1/128",
    }
    with Portal(tmp_path / "portal", url="https://localhost:1", redis_url="redis://127.0.0.1:1/0", settings=settings) as portal:
        portal.ask("notify", name="set_up", url=receiver.url, secret="PLANTED-a-long-secret")
        yield portal


def work(portal: Portal, step: str, *, holds: bool) -> bool:
    """True when the process lived to the end."""
    try:
        portal.ask("notify", name="work", holds=holds, step=step)
    except AssertionError as error:
        assert "died" in str(error), error
        return False
    return True


def test_a_worker_that_is_killed_at_each_step(portal: Portal, receiver: receivers.Web) -> None:
    assert portal.ask("notify", name="steps") == [*STEPS, "not at all"]
    for number, step in enumerate(STEPS):
        # Each step is died at once while something is raised, and once while it ends.
        for holds in (True, False):
            before = len({post.headers["x-meshportal-delivery"] for post in receiver.posts})
            died = not work(portal, step, holds=holds)
            assert died or (step.endswith("raised") and not holds), step
            time.sleep(2.1)
            for _ in range(3):
                assert work(portal, "not at all", holds=holds)
            found: list[dict[str, Any]] = portal.ask("notify", name="deliveries")
            assert len(found) == 2 * number + 1 + (not holds), (step, holds, found)
            assert {one["status"] for one in found} == {"sent"}, (step, holds, found)
            arrived = [post.headers["x-meshportal-delivery"] for post in receiver.posts]
            assert len(set(arrived)) == before + 1, (step, holds)
            # Twice only where nobody could know that it had arrived.
            often = arrived.count(found[-1]["id"])
            assert often == (2 if step in ("after it was sent", "while that is written") else 1), (step, holds)
    assert "PLANTED" not in portal.log.read_text(errors="replace")
