"""Round trips with the official mesh-client through the official mesh-sandbox, both ways, byte for byte."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from meshportal.core import payloads
from meshportal.demo.pki import PkiFiles
from meshportal.demo.processes import plain_environment
from meshportal.demo.sandbox import PASSWORD, Sandbox
from meshportal.mesh import MeshClient, errors
from messages.models import Message
from messages.states import State
from messages.tally import Tally
from tests import services
from tests.peer.conftest import OURS, THEIRS

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("sandbox")]

MB = 1_000_000
CHUNK = 200_000
# Name, size, chunk size.
SIZES = [
    ("one byte", 1, CHUNK),
    ("one kilobyte", 1024, CHUNK),
    ("exactly one chunk", CHUNK, CHUNK),
    ("three chunks", 2 * CHUNK + 7, CHUNK),
    ("150 MB in 20 MB chunks", 150 * MB, 20 * MB),
]
NAMES = [name for name, _, _ in SIZES]


class Official(Protocol):
    def __call__(self, do: str, mailbox: str, **given: Any) -> dict[str, Any]: ...


@pytest.fixture
def official(sandbox: Sandbox, files: PkiFiles, tmp_path: Path) -> Official:
    """Runs the official client; its answer as a dictionary."""

    def run(do: str, mailbox: str, **given: Any) -> dict[str, Any]:
        request = {
            "do": do,
            "url": sandbox.base_url,
            "ca": str(files.ca),
            "cert": str(files.client(mailbox)),
            "key": str(files.client_key(mailbox)),
            "mailbox": mailbox,
            "password": PASSWORD,
            "shared_key": sandbox.shared_key,
            **given,
        }
        done = subprocess.run(
            [services.SANDBOX_PYTHON, Path(__file__).with_name("official.py")],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            env=plain_environment({"PYTHONWARNINGS": "ignore"}),
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


def write_body(path: Path, size: int) -> str:
    """A file that compresses a little, as documents do; its SHA-256."""
    rng = random.Random(size)
    block = rng.randbytes(min(size, 600_000)) + b"the same words over and over " * 13_000
    digest, left = hashlib.sha256(), size
    with path.open("wb") as file:
        while left:
            part = block[:left]
            file.write(part)
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.django_db
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("name", "size", "chunk"), SIZES, ids=NAMES)
def test_what_the_official_client_sends_the_portal_keeps(
    official: Official, poll: Callable[[], Tally], tmp_path: Path, name: str, size: int, chunk: int, compress: bool
) -> None:
    sent = write_body(tmp_path / "sent", size)
    options = {"subject": "A letter", "filename": "letter.pdf", "local_id": "L-1", "content_type": "application/pdf"}
    answer = official(
        "send",
        THEIRS,
        path=str(tmp_path / "sent"),
        recipient=OURS,
        workflow="TEST_WORKFLOW",
        options=options,
        chunk=chunk,
        compress=compress,
    )
    tally = poll()
    assert (tally.stored, tally.acknowledged, tally.failed) == (1, 1, 0), tally.problem
    message = Message.objects.get(mesh_id=answer["message_id"])
    assert message.state == State.ACKNOWLEDGED
    digest = hashlib.sha256()
    for block in payloads.open_blocks(message.payload.storage_key):
        digest.update(block)
    assert digest.hexdigest() == message.payload.sha256 == sent
    assert (message.size, message.chunk_count) == (size, max(1, -(-size // chunk)))
    assert (message.sender, message.subject, message.file_name, message.local_id) == (
        THEIRS,
        "A letter",
        "letter.pdf",
        "L-1",
    )
    assert message.content_type == "application/pdf"
    payloads.delete(message.payload.storage_key)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("name", "size", "chunk"), SIZES, ids=NAMES)
def test_what_our_client_sends_the_official_one_reads(
    official: Official, client: MeshClient, tmp_path: Path, name: str, size: int, chunk: int, compress: bool
) -> None:
    sent = write_body(tmp_path / "sent", size)
    with (tmp_path / "sent").open("rb") as file:
        receipt = client.send(
            file,
            recipient=THEIRS,
            workflow_id="TEST_WORKFLOW",
            subject="A letter",
            file_name="letter.pdf",
            local_id="L-2",
            content_type="application/pdf",
            chunk_size=chunk,
            compress=compress,
        )
    assert client.track(receipt.message_id).status == "accepted"
    answer = official("read", THEIRS, message_id=receipt.message_id, path=str(tmp_path / "read"))
    assert sha256_of(tmp_path / "read") == sent
    headers = answer["headers"]
    assert (headers["subject"], headers["filename"], headers["localid"], headers["workflowid"]) == (
        "A letter",
        "letter.pdf",
        "L-2",
        "TEST_WORKFLOW",
    )
    assert client.track(receipt.message_id, version=1).status == "acknowledged"


def test_an_empty_body_is_refused_as_the_service_refuses_it(official: Official, client: MeshClient, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    theirs = official("send", THEIRS, path=str(tmp_path / "empty"), recipient=OURS, workflow="TEST_WORKFLOW")
    with pytest.raises(errors.Refused) as ours:
        client.send(b"", recipient=THEIRS, workflow_id="TEST_WORKFLOW")
    assert (ours.value.status, ours.value.code) == (417, "02")
    assert ours.value.description in theirs["refused"]
