"""Promise P11 while sending: the clear body is in memory alone, and never in a file, a log line or an audit entry."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as portal

from mailboxes.models import Mailbox
from meshportal.audit.models import AuditEvent
from meshportal.core import payloads
from messages import outbox, send
from messages.models import Message, MessageEvent, SendAttempt
from messages.states import State
from tests.double import Double
from tests.receive.conftest import ACTOR
from tests.send.conftest import TO, WORKFLOW, arrived

pytestmark = pytest.mark.django_db

MARK = b"PLANTED letter of a patient; "
GZIP = b"\x1f\x8b\x08"


def clear(content: bytes) -> bool:
    """Whether the letter can be read in ``content``, as it is or compressed."""
    if MARK in content:
        return True
    at = content.find(GZIP)
    while at >= 0:
        try:
            if MARK in zlib.decompressobj(31).decompress(content[at:], 1_000_000):
                return True
        except zlib.error:
            pass
        at = content.find(GZIP, at + 1)
    return False


class Watch:
    """Looks at the data directory, the temporary one and every file that this process holds open, named or not."""

    def __init__(self, scratch: Path, spool: Path) -> None:
        self._scratch, self._spool = scratch, spool
        self.looks = self.files = 0

    def look(self) -> None:
        self.looks += 1
        found = {path for folder in (self._scratch, portal.DATA_DIR) for path in folder.rglob("*")}
        found |= set(Path("/proc/self/fd").iterdir())
        for path in found:
            try:
                if path.is_file() and not path.resolve().is_relative_to(self._spool):
                    self.files += 1
                    assert not clear(path.read_bytes()), f"{path} ({path.resolve()}) holds the letter"
            except OSError:
                continue


@pytest.fixture
def watch(double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    # The double spools what it receives; that is not the portal's.
    assert double._spool is not None
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return Watch(scratch, double._spool.resolve())


def test_the_watch_sees_a_clear_letter(watch: Watch) -> None:
    """A test that cannot fail shows nothing."""
    with tempfile.TemporaryFile() as unnamed:
        unnamed.write(zlib.compress(MARK * 50, wbits=31))
        unnamed.flush()
        with pytest.raises(AssertionError, match="holds the letter"):
            watch.look()


@pytest.mark.parametrize("compress", [False, True])
def test_no_clear_body_is_on_disk_while_a_message_is_put_and_sent(
    double: Double,
    box: Mailbox,
    rounds: Callable[..., None],
    watch: Watch,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    compress: bool,
) -> None:
    settings.SEND_CHUNK_BYTES = 400_000
    body = MARK * 40_000

    def blocks() -> Iterator[bytes]:
        for start in range(0, len(body), 300_000):
            watch.look()
            yield body[start : start + 300_000]
            watch.look()

    draft = outbox.Draft(recipient=TO, workflow_id=WORKFLOW, subject="PLANTED subject", compress=compress)
    message = outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=blocks())
    real_open, real_begin = payloads.open_blocks, send._Sending._begin

    def watched(key: str) -> Iterator[bytes]:
        for number, block in enumerate(real_open(key)):
            if number % 8 == 0:
                watch.look()
            yield block

    def begin(sending: Any, chunk: int) -> None:
        watch.look()
        real_begin(sending, chunk)

    monkeypatch.setattr(payloads, "open_blocks", watched)
    monkeypatch.setattr(send._Sending, "_begin", begin)
    rounds()
    watch.look()
    message.refresh_from_db()
    assert message.state == State.ACCEPTED
    assert arrived(double) == [body]
    assert watch.looks > 10
    assert watch.files > watch.looks
    written = [*AuditEvent.objects.values_list(), *MessageEvent.objects.values_list(), *SendAttempt.objects.values_list()]
    assert "PLANTED" not in str(written)
    assert "PLANTED" not in str(list(Message.objects.values_list("search", "problem", "local_id", "file_name")))
