"""What the official mesh-client sends to a mailbox of the portal comes into the folder of its consumer: byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailboxes import outlets
from mailboxes.models import Mailbox
from meshportal.audit.actors import Actor
from messages import ctl
from messages.handing import turn
from messages.models import Handed, HandOver, Message
from messages.states import State
from messages.tally import Tally
from tests.peer.conftest import OURS, THEIRS
from tests.peer.test_mesh_client import Official, official, sha256_of, write_body

__all__ = ["official"]

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("sandbox"), pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("size", "chunk"), [(1, 200_000), (450_007, 200_000)], ids=["one byte", "three chunks"])
def test_what_the_official_client_sends_the_consumer_of_the_folder_gets(
    official: Official,
    box: Mailbox,
    poll: Callable[[], Tally],
    tmp_path: Path,
    settings: Any,
    size: int,
    chunk: int,
    compress: bool,
) -> None:
    settings.FOLDER_ROOT = tmp_path
    inside = tmp_path / "box" / "IN"
    inside.mkdir(parents=True)
    Mailbox.objects.filter(pk=box.pk).update(folder="box")
    outlets.set_folder(actor=Actor.command("tests"), mailbox=box, enabled=True)
    digest = write_body(tmp_path / "sent", size)
    message_id = official(
        "send",
        THEIRS,
        path=str(tmp_path / "sent"),
        recipient=OURS,
        workflow="TEST_WORKFLOW",
        options={"subject": "Results & <others>", "filename": "letter.pdf", "local_id": "L-1"},
        chunk=chunk,
        compress=compress,
    )["message_id"]
    tally = poll()
    assert (tally.stored, tally.acknowledged, tally.failed) == (1, 1, 0), tally.problem
    claimed = turn.claim_due(slow=False)
    assert claimed is not None
    turn.work(claimed)
    message = Message.objects.get()
    assert (message.mesh_id, message.state) == (message_id, State.ACKNOWLEDGED)
    assert HandOver.objects.get().state == Handed.DONE
    assert sorted(path.name for path in inside.iterdir()) == [f"{message_id}.ctl", f"{message_id}.dat"]
    assert sha256_of(inside / f"{message_id}.dat") == digest == message.payload.sha256
    said = ctl.parse((inside / f"{message_id}.ctl").read_bytes())
    assert (said.message_type, said.from_dts, said.to_dts, said.dts_id) == ("Data", THEIRS, OURS, message_id)
    assert (said.workflow_id, said.local_id, said.subject) == ("TEST_WORKFLOW", "L-1", "Results & <others>")
    # It is plain in the folder, however it travelled.
    assert (said.encrypted, said.is_compressed) == (False, False)
    assert said.status_record is not None
    assert (said.status_record.event, said.status_record.status, said.status_record.code) == ("TRANSFER", "SUCCESS", "00")
