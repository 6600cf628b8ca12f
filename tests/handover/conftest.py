"""A mailbox whose messages are handed on, and the means to do one round on whatever is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import outlets
from mailboxes.models import Mailbox, Outlet
from messages.handing import rows, turn
from messages.models import HandOver, Message
from tests.receive.conftest import ACTOR, BOX, box, double, pki, poll, real_identity

__all__ = ["ACTOR", "BOX", "box", "double", "pki", "poll", "real_identity"]

Go = Callable[..., None]
Stored = Callable[..., Message]
SECRET = "a secret of the webhook that is long enough"


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    """The folder of the mailbox, as the MESH client makes it."""
    settings.FOLDER_ROOT = tmp_path / "share"
    home = tmp_path / "share" / "box"
    for name in ("IN", "OUT", "SENT", "FAILED"):
        (home / name).mkdir(parents=True)
    return home


@pytest.fixture
def to_folder(home: Path, mailbox: Any) -> Mailbox:
    """A mailbox that hands on to its folder."""
    return wired(mailbox())


def wired(box: Mailbox) -> Mailbox:
    Mailbox.objects.filter(pk=box.pk).update(folder="box")
    outlets.set_folder(actor=ACTOR, mailbox=box, enabled=True)
    box.refresh_from_db()
    return box


@pytest.fixture
def stored(message: Any) -> Stored:
    """A received message that was stored a moment ago, with its hand-overs."""

    def make(body: bytes = b"a letter", **fields: Any) -> Message:
        fields.setdefault("mailbox", Mailbox.objects.order_by("created_at").first())
        row: Message = message(body=body, **fields)
        rows.plan(row)
        return row

    return make


def make_due() -> None:
    """Whatever waits is due now, and whoever held it has died."""
    past = timezone.now() - timedelta(seconds=1)
    HandOver.objects.update(due_at=past)
    Outlet.objects.update(resume_at=past)
    Outlet.objects.filter(lease_token__isnull=False).update(lease_until=past)


@pytest.fixture
def go() -> Go:
    """Does rounds, as if no time had to pass between."""

    def run(times: int = 1) -> None:
        for _ in range(times):
            make_due()
            claimed = turn.claim_due(slow=False) or turn.claim_due(slow=True)
            assert claimed is not None, "nothing is to be handed on"
            turn.work(claimed)

    return run


def only() -> HandOver:
    return HandOver.objects.get()
