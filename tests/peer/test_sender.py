"""What the portal's own sender sends, the official mesh-client reads: byte for byte, with its headers as composed."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from mailboxes.models import Mailbox
from meshportal.audit.actors import Actor
from meshportal.core import payloads
from messages import dispatch, outbox, track
from messages.models import Message, Outgoing
from messages.states import State
from tests.peer.conftest import THEIRS
from tests.peer.test_mesh_client import Official, official, sha256_of, write_body

__all__ = ["official"]

# The sender's threads have connections of their own, which see what is committed.
pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("sandbox"), pytest.mark.django_db(transaction=True)]

ACTOR = Actor.command("tests")
CHUNK = 200_000
SIZES = [1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]


def body_of(size: int, kind: str) -> bytes:
    if kind == "random":
        return random.Random(size).randbytes(size)
    return (b"the same words over and over " * (size // 29 + 1))[:size]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", ["random", "words"])
@pytest.mark.parametrize("size", SIZES)
def test_what_the_sender_sends_the_official_client_reads(
    official: Official, box: Mailbox, tmp_path: Path, settings: Any, size: int, kind: str, compress: bool
) -> None:
    settings.SEND_CHUNK_BYTES = CHUNK
    body = body_of(size, kind)
    draft = outbox.Draft(
        recipient=THEIRS,
        workflow_id="TEST_WORKFLOW",
        subject=f"Letter {size} of {kind}",
        local_id=f"L-{size}-{kind}-{compress}",
        file_name="letter 1.pdf",
        content_type="application/pdf",
        compress=compress,
    )
    message = outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=[body])
    headers = send_and_read(official, message, tmp_path / "read")
    assert sha256_of(tmp_path / "read") == hashlib.sha256(body).hexdigest()
    assert headers == {
        "subject": draft.subject,
        "localid": draft.local_id,
        "filename": draft.file_name,
        "workflowid": draft.workflow_id,
        "content_type": draft.content_type,
    }
    # The official client acknowledged it: the next look finds that out, and by whom it was not read.
    Outgoing.objects.filter(message=message).update(due_at=message.seen_at)
    looked = track.claim_due()
    assert looked is not None
    track.work(looked)
    message.refresh_from_db()
    assert message.state == State.COLLECTED
    assert message.acknowledged_at is not None


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_a_large_message_arrives_in_chunks_as_large_as_the_portal_makes_them(
    official: Official, box: Mailbox, tmp_path: Path, compress: bool
) -> None:
    """150 MB in chunks of 20 MB, as the settings have them."""
    sent = write_body(tmp_path / "sent", 150_000_000)
    draft = outbox.Draft(recipient=THEIRS, workflow_id="TEST_WORKFLOW", file_name="large.bin", compress=compress)
    with (tmp_path / "sent").open("rb") as file:
        message = outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=iter(lambda: file.read(1024 * 1024), b""))
    assert message.chunk_count == 8
    send_and_read(official, message, tmp_path / "read")
    assert sha256_of(tmp_path / "read") == sent
    payloads.delete(message.payload.storage_key)


HEADERS: dict[str, dict[str, Any]] = {
    "letters beyond ASCII": {"subject": "Prüfung über £5 für Zoë - nein", "file_name": "Bjørk à gauche.pdf"},
    "all that is no letter": {"subject": "a;b, c=\"d\" 'e' <f> & %2F \\ ~`|^{}[]()", "file_name": "a;b,c=\"d\"'e'%2F\\.txt"},
    "as long as they may be": {"subject": "s" * 500, "file_name": "f" * 300, "local_id": "l" * 300},
    "no-break spaces within": {"subject": "a\u00a0b", "file_name": "c\u00a0d.txt"},
    "none": {},
}


@pytest.mark.parametrize("chunk", [CHUNK, 10], ids=["whole", "chunks"])
@pytest.mark.parametrize("kind", HEADERS)
def test_headers_arrive_as_they_were_composed(
    official: Official, box: Mailbox, tmp_path: Path, settings: Any, kind: str, chunk: int
) -> None:
    settings.SEND_CHUNK_BYTES = chunk
    given = HEADERS[kind]
    draft = outbox.Draft(recipient=THEIRS, workflow_id="TEST_WORKFLOW", content_type="text/csv", **given)
    message = outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=[b"some twenty-five bytes..."])
    headers = send_and_read(official, message, tmp_path / "read")
    message.refresh_from_db()
    assert (tmp_path / "read").read_bytes() == b"some twenty-five bytes..."
    assert headers.pop("content_type") in ("text/csv", "text/csv; charset=utf-8")
    expected = {"localid": message.local_id, "filename": f"{message.mesh_id}.dat", "workflowid": "TEST_WORKFLOW"}
    if given:
        expected |= {"subject": given["subject"], "filename": given["file_name"]}
    assert headers == expected


@pytest.mark.parametrize(("field", "value"), [("subject", "– a dash"), ("file_name", "名.pdf"), ("local_id", "a\tb")])
def test_what_headers_cannot_carry_is_refused_before_anything_is_kept(box: Mailbox, field: str, value: str) -> None:
    given: dict[str, Any] = {field: value}
    draft = outbox.Draft(recipient=THEIRS, workflow_id="TEST_WORKFLOW", **given)
    with pytest.raises(ValidationError) as refused:
        outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=[b"x"])
    assert list(refused.value.message_dict) == [field]
    assert not Message.objects.exists()


def test_an_empty_body_is_refused_before_it_is_sent(box: Mailbox) -> None:
    draft = outbox.Draft(recipient=THEIRS, workflow_id="TEST_WORKFLOW")
    with pytest.raises(ValidationError, match="empty"):
        outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=[])
    assert not Message.objects.exists()


def send_and_read(official: Official, message: Message, path: Path) -> dict[str, str]:
    """Sends what is due as a worker does, reads it as its recipient; the headers that were composed."""
    assert dispatch.run_due() == 1
    message.refresh_from_db()
    assert message.state == State.ACCEPTED, message.problem
    answer = official("read", THEIRS, message_id=message.mesh_id, path=str(path))
    names = ("subject", "localid", "filename", "workflowid")
    found = {name: answer["headers"][name] for name in names if name in answer["headers"]}
    return {**found, "content_type": answer["content_type"]}
