"""A mailbox that sends, and the means to do one round of the sender or the tracker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox
from messages import dispatch, outbox, send, track
from messages.models import Message, MessageEvent, Outgoing
from messages.states import State
from tests.double import Double
from tests.receive.conftest import ACTOR, BOX, box, double, pki, poll, real_identity

__all__ = ["ACTOR", "BOX", "box", "double", "pki", "poll", "real_identity"]

TO = "YGM24HC001"
WORKFLOW = "TEST_WORKFLOW"
REPORT = {"code": "14", "event": "SEND", "description": "Message not collected by recipient after 5 days"}

Put = Callable[..., Message]
Rounds = Callable[..., None]


def state(message: Message) -> str:
    message.refresh_from_db()
    return message.state


def arrived(double: Double) -> list[bytes]:
    """The bodies of what the double accepted whole, in order."""
    bodies = [double.content(one.message_id) for one in double.sent_by(BOX) if one.status != "uploading"]
    return [body for body in bodies if body != b"an earlier letter"]


def kinds(message: Message) -> list[str]:
    return list(MessageEvent.objects.filter(message=message).order_by("id").values_list("kind", flat=True))


@pytest.fixture
def small_chunks(settings: Any) -> None:
    settings.SEND_CHUNK_BYTES = 1000


@pytest.fixture
def put(box: Mailbox) -> Callable[..., Message]:
    """Queues a message from the mailbox; fields of outbox.Draft may be given."""

    def make(body: bytes = b"a letter", **fields: Any) -> Message:
        again = outbox.Again(reason="a test", asked_by="the recipient") if fields.pop("allow_twin", True) else None
        draft = outbox.Draft(**{"recipient": TO, "workflow_id": WORKFLOW, **fields})
        return outbox.put(actor=ACTOR, mailbox=box, draft=draft, body=[body], again=again)

    return make


@pytest.fixture
def earlier(double: Double, put: Callable[..., Message]) -> Message:
    """A message that MESH has, and finds by its local id: without one, "not found" proves nothing."""
    message = put(b"an earlier letter")
    claimed = send.claim_due()
    assert claimed is not None
    dispatch.work(claimed)
    Outgoing.objects.update(due_at=None)
    message.refresh_from_db()
    assert message.state == State.ACCEPTED
    double.recorder.clear()
    return message


def make_due() -> None:
    """Whatever waits is due now, and whoever held it has died."""
    Outgoing.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
    Outgoing.objects.filter(lease_token__isnull=False).update(lease_until=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def rounds() -> Callable[..., None]:
    """Does rounds of sending and looking until nothing is due, at most so many."""

    def run(most: int = 1) -> None:
        for _ in range(most):
            make_due()
            claimed = send.claim_due() or track.claim_due()
            if claimed is None:
                return
            dispatch.work(claimed)

    return run
