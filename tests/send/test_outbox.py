"""Putting messages into the outbox and taking them back: what is checked, and what a wrong input gets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.audit.models import AuditEvent
from meshportal.core import payloads
from meshportal.core.acts import Refused
from messages import outbox
from messages.models import Message, Payload
from messages.states import State
from tests.double import Double
from tests.receive.conftest import ACTOR, BOX
from tests.send.conftest import TO, WORKFLOW, Put, Rounds, arrived, state

pytestmark = pytest.mark.django_db


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"recipient": "x26 hc"}, "recipient"),
        ({"recipient": ""}, "recipient"),
        ({"workflow_id": ""}, "workflow_id"),
        ({"workflow_id": "W" * 301}, "workflow_id"),
        ({"subject": "a\r\nMex-To: X"}, "subject"),
        ({"subject": "x" * 501}, "subject"),
        ({"local_id": "patient 999 000 0018"}, "local_id"),
        ({"file_name": "9990000018.pdf"}, "file_name"),
        ({"file_name": "\u202ename"}, "file_name"),
        ({"file_name": " name"}, "file_name"),
        ({"body": b""}, "file"),
    ],
)
def test_bad_input_gets_a_sentence_and_nothing_is_kept(put: Put, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        put(fields.pop("body", b"x"), **fields)
    assert list(refused.value.message_dict) == [field]
    assert not Message.objects.exists()
    assert not Payload.objects.exists()
    folder = Path(payloads.storage().path(f"sandbox/{Mailbox.objects.get().pk}"))
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_twin_within_thirty_days_is_refused_unless_it_is_meant(double: Double, put: Put, rounds: Rounds) -> None:
    put(b"the same", allow_twin=False)
    rounds()
    with pytest.raises(Refused, match="within the last 30 days"):
        put(b"the same", allow_twin=False)
    put(b"another", allow_twin=False)
    put(b"the same", allow_twin=True)
    Message.objects.update(seen_at=timezone.now() - timedelta(days=31))
    put(b"the same", allow_twin=False)
    assert Message.objects.count() == 4


def test_a_body_that_is_kept_already_is_adopted_or_left_to_whoever_kept_it(box: Mailbox) -> None:
    kept = payloads.write("drafts/one", [b"a letter"])
    draft = outbox.Draft(recipient=TO, workflow_id=WORKFLOW)

    def fails(_message: Message) -> None:
        raise RuntimeError("what belongs to it could not be written")

    with pytest.raises(RuntimeError):
        outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=kept, alongside=fails)
    assert payloads.read_all(kept.key, limit=100) == (b"a letter", False)
    assert not Message.objects.exists()

    together: list[str] = []
    message = outbox.put(
        actor=ACTOR, mailbox=box, draft=draft, body=kept, alongside=lambda queued: together.append(queued.local_id)
    )
    assert (message.payload.storage_key, message.payload.sha256, message.size) == (kept.key, kept.sha256, 8)
    assert together == [message.local_id]


def test_cancelled_before_it_was_sent(double: Double, put: Put, rounds: Rounds) -> None:
    message = put()
    with pytest.raises(Refused, match="Say why"):
        outbox.cancel(actor=ACTOR, message=message, reason="")
    outbox.cancel(actor=ACTOR, message=message, reason="wrong document")
    rounds(3)
    assert state(message) == State.CANCELLED
    assert double.sent_by(BOX) == []
    sent = put()
    rounds()
    with pytest.raises(Refused, match="on its way"):
        outbox.cancel(actor=ACTOR, message=sent, reason="too late")


def test_the_send_command(
    box: Mailbox, double: Double, rounds: Rounds, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_bytes(b"a letter")
    call_command("send", BOX, str(letter), "--to", TO.lower(), "--workflow", WORKFLOW)
    assert "Queued 8 bytes" in capsys.readouterr().out
    rounds()
    assert arrived(double) == [b"a letter"]
    assert double.sent_by(BOX)[0].file_name == "letter.txt"
    with pytest.raises(CommandError, match="--again"):
        call_command("send", BOX, str(letter), "--to", TO, "--workflow", WORKFLOW)
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("send", BOX, str(tmp_path / "none"), "--to", TO, "--workflow", WORKFLOW)
    with pytest.raises(CommandError, match="no mailbox"):
        call_command("send", "NOBODY", str(letter), "--to", TO, "--workflow", WORKFLOW)
    assert AuditEvent.objects.filter(action="message.queued").count() == 1
