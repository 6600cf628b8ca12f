"""What is put into a watched folder in the MESH client's layout, the official mesh-client reads: byte for byte."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox, WatchedFolder
from messages import ctl
from messages.folder import turn
from messages.models import Message
from tests.peer.conftest import OURS, THEIRS
from tests.peer.test_mesh_client import Official, official, sha256_of
from tests.peer.test_sender import send_and_read

__all__ = ["official"]

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("sandbox"), pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("compress", [True, False, None], ids=["gzip", "plain", "not said"])
def test_what_is_put_into_the_folder_the_official_client_reads(
    official: Official, box: Mailbox, tmp_path: Path, settings: Any, compress: bool | None
) -> None:
    settings.SEND_CHUNK_BYTES = 200_000
    settings.FOLDER_SETTLE_SECONDS = 0
    settings.FOLDER_ROOT = tmp_path
    out = tmp_path / "box" / "OUT"
    out.mkdir(parents=True)
    Mailbox.objects.filter(pk=box.pk).update(folder="box", send_from_folder=True)
    WatchedFolder.objects.create(mailbox=box)
    body = random.Random(str(compress)).randbytes(450_000)
    control = ctl.Control(
        from_dts=OURS.lower(),
        to_dts=THEIRS,
        workflow_id="TEST_WORKFLOW",
        subject="Café & enclosure",
        local_id=f"folder-{compress}",
        compress=compress,
    )
    (out / "letter 1.dat").write_bytes(body)
    (out / "letter 1.ctl").write_bytes(ctl.render(control))
    look()
    headers = send_and_read(official, Message.objects.get(), tmp_path / "read")
    assert sha256_of(tmp_path / "read") == hashlib.sha256(body).hexdigest()
    assert headers == {
        "subject": control.subject,
        "localid": control.local_id,
        "filename": "letter 1.dat",
        "workflowid": control.workflow_id,
        "content_type": "application/octet-stream",
    }
    look()
    assert (tmp_path / "box" / "SENT" / "letter 1.dat").read_bytes() == body
    said = ctl.parse((tmp_path / "box" / "SENT" / "letter 1.ctl").read_bytes())
    assert said.dts_id == Message.objects.get().mesh_id
    assert said.status_record is not None and said.status_record.status == "SUCCESS"


def look() -> None:
    WatchedFolder.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    claimed = turn.claim_due()
    assert claimed is not None
    turn.work(claimed)
