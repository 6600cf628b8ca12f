"""A mailbox with a watched folder, whose MESH is the strict double, and the means to do one turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox, WatchedFolder
from messages import ctl
from messages.folder import turn
from messages.models import FolderPickup, Message
from tests.send.conftest import ACTOR, BOX, TO, WORKFLOW, box, double, pki, real_identity, rounds

__all__ = ["ACTOR", "BOX", "TO", "WORKFLOW", "box", "double", "pki", "real_identity", "rounds"]

Drop = Callable[..., None]
Look = Callable[..., None]


def control(**fields: Any) -> ctl.Control:
    """A control file as a supplier's system writes it."""
    return ctl.Control(**{"from_dts": BOX, "to_dts": TO, "workflow_id": WORKFLOW, "subject": "A letter", **fields})


def age(path: Path, seconds: float) -> None:
    """Makes a file look as if it was written so long ago."""
    past = time.time() - seconds
    os.utime(path, (past, past), follow_symlinks=False)


@pytest.fixture
def root(tmp_path: Path, settings: Any) -> Path:
    """The folder of the mailbox, as the MESH client makes it; nothing waits for files to settle."""
    settings.FOLDER_ROOT = tmp_path / "share"
    settings.FOLDER_SETTLE_SECONDS = 0
    home = tmp_path / "share" / "box"
    for name in ("IN", "OUT", "SENT", "FAILED"):
        (home / name).mkdir(parents=True)
    return home


@pytest.fixture
def sending(root: Path, box: Mailbox) -> Mailbox:
    """The mailbox, which sends from its folder."""
    return wired(box)


def wired(box: Mailbox) -> Mailbox:
    Mailbox.objects.filter(pk=box.pk).update(folder="box", send_from_folder=True)
    WatchedFolder.objects.create(mailbox=box)
    box.refresh_from_db()
    return box


@pytest.fixture
def drop(root: Path) -> Drop:
    """Puts a pair into OUT; ``ctl_bytes`` or fields of the control file may be given, None leaves a part out."""

    def put(name: str = "one", body: bytes | None = b"a letter", *, raw: bytes | None = b"", **fields: Any) -> None:
        if body is not None:
            (root / "OUT" / f"{name}.dat").write_bytes(body)
        if raw is not None:
            (root / "OUT" / f"{name}.ctl").write_bytes(raw or ctl.render(control(**fields)))

    return put


@pytest.fixture
def look() -> Look:
    """Looks into the folder so often, as if no time had to pass between."""

    def go(times: int = 1) -> None:
        for _ in range(times):
            WatchedFolder.objects.update(due_at=timezone.now() - timedelta(seconds=1))
            FolderPickup.objects.update(due_at=timezone.now() - timedelta(seconds=1))
            claimed = turn.claim_due()
            assert claimed is not None, "nobody looks into the folder"
            turn.work(claimed)

    return go


def tree(root: Path) -> dict[str, list[str]]:
    """The names of what stands in each folder, but for those that stand empty."""
    found = {folder.name: sorted(os.listdir(folder)) for folder in root.iterdir()}  # noqa: PTH208  names are what is asked
    return {name: names for name, names in found.items() if names}


def outcome(path: Path) -> ctl.StatusRecord:
    record = ctl.parse(path.read_bytes()).status_record
    assert record is not None
    return record


def only() -> Message:
    return Message.objects.get()
