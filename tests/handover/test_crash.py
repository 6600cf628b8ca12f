"""The portal dies between any two operations while a message is handed on to a folder: never half, and once (P2).

Which instants there are is no list of ours: a turn names its steps (tests.fleet.dying), and each of them is died at, in a
turn that begins with the message, and in turns that begin with what another one left when it died. Afterwards turns follow
in processes of their own until nothing is due. By the crash table of messages.handing.folder none of the instants hands a
message on twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshportal.demo.pki import Pki, create_pki
from tests.fleet.portal import Portal
from tests.handover.consumer import Consumer

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("fleet-hand-over")]

BOX = "X26HC001"
# Two blocks of the payload's stream, and more messages than there are steps.
SIZE, MESSAGES = 70_000, 150
# What must be among the steps of a turn that found this.
TAKES_PART = {
    "nothing": {"mkdir", "open", "write", "fsync", "rename", "UPDATE", "INSERT", "commit"},
    "prepared": {"unlink", "open", "write", "rename"},
    "half moved": {"rename", "fsync", "INSERT", "commit"},
}


@pytest.fixture
def pki() -> Pki:
    return create_pki([(BOX, "X26")])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "share" / "box"
    for name in ("IN", "OUT", "SENT", "FAILED"):
        (home / name).mkdir(parents=True)
    return home


@pytest.fixture
def portal(home: Path, pki: Pki) -> Iterator[Portal]:
    """One whose MESH and broker nobody calls: turns are done one by one."""
    settings = {"MESHPORTAL_FOLDER_ROOT": str(home.parent)}
    folder = home.parent.parent / "portal"
    with Portal(folder, url="https://127.0.0.1:1", redis_url="redis://127.0.0.1:1/0", settings=settings) as portal:
        portal.seed(pki, [{"mailbox_id": BOX, "poll_interval_seconds": 3600}], identity=BOX)
        portal.ask("wire_hand_over", mailbox_id=BOX, folder="box")
        yield portal


def turn(portal: Portal, mesh_id: str, die_at: int | None = None) -> dict[str, Any] | None:
    """What a turn says of itself; None when it died."""
    try:
        said: dict[str, Any] = portal.ask("hand_over_turn", mesh_id=mesh_id, die_at=die_at)
    except AssertionError as error:
        assert "died" in str(error), error
        return None
    return said


def left_behind(steps: list[str]) -> dict[str, int | None]:
    """The steps at which an earlier turn died, by what it left: nothing, files that are prepared, a pair that is half moved."""
    moves = [at for at, name in enumerate(steps) if name.startswith("before rename")]
    assert [steps[at] for at in moves] == ["before rename .dat", "before rename .ctl"]
    prepared = max(at for at in range(moves[0]) if steps[at] == "after fsync")
    return {"nothing": None, "prepared": prepared + 1, "half moved": moves[1] + 1}


@pytest.mark.parametrize(
    ("takes", "ways"),
    [(True, ["nothing", "half moved"]), (False, ["nothing", "prepared"])],
    ids=["taken at once", "never taken"],
)
def test_a_death_at_every_step_shows_no_half_message_and_hands_on_once(
    portal: Portal, home: Path, takes: bool, ways: list[str]
) -> None:
    digests: dict[str, str] = portal.ask("put_received", mailbox_id=BOX, sizes=[SIZE] * MESSAGES, seed=1, waits=True)
    fresh = iter(digests)
    consumer = Consumer(home, digests, takes=takes)
    handed: list[str] = []

    def done(mesh_id: str) -> None:
        handed.append(mesh_id)
        consumer.look()
        assert (consumer.wrong, sorted(consumer.came)) == ([], sorted(handed))
        # As at the very first message, so that making it is among the steps. It fails when anything is left in it.
        (home / ".handing").rmdir()

    with consumer.polling():
        first = turn(portal, mesh_id := next(fresh))
        assert first is not None and not first["waits"]
        done(mesh_id)
        deaths = left_behind(first["steps"])
        for left in ways:
            step, steps = 0, None
            while steps is None:
                step += 1
                mesh_id, died_at = next(fresh), deaths[left]
                if died_at is not None:
                    assert turn(portal, mesh_id, died_at) is None
                    consumer.look()
                said = turn(portal, mesh_id, step)
                consumer.look()
                steps = said["steps"] if said is not None else None
                while said is None or said["waits"]:
                    said = turn(portal, mesh_id)
                    consumer.look()
                done(mesh_id)
            # The turn that came to its end had no step at which none before it died.
            print(f"after {left} was left: died at each of {len(steps)} steps: {steps}")
            assert len(steps) == step - 1
            assert {name.split()[1] for name in steps} >= TAKES_PART[left]
    proof = portal.ask("hand_over_proof")
    assert {(proof[mesh_id]["state"], proof[mesh_id]["noted"]) for mesh_id in handed} == {("done", 1)}
    print(f"{len(handed)} messages, {consumer.looks} looks")
