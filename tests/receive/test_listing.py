"""What a turn asks of the service before it takes a message: every page, the filter, the handshake; and who may work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import polling
from mailboxes.models import Mailbox
from meshportal.core import lease, payloads
from messages.models import Message, Payload
from messages.states import State
from tests.double import Double
from tests.receive.conftest import BOX, Poll

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("waiting", [0, 1, 9, 10, 11, 37])
def test_every_page_of_an_inbox_is_read_and_drained(
    box: Mailbox, double: Double, poll: Poll, settings: Any, waiting: int
) -> None:
    settings.LIST_PAGE_SIZE = 10
    double.put_many(BOX, waiting)
    tally = poll(box)
    assert (tally.stored, tally.acknowledged, tally.listed) == (waiting, waiting, waiting)
    assert double.inbox(BOX) == []
    assert tally.more_waiting == (waiting >= 10)
    assert box.waiting_count == 0


def test_twelve_hundred_waiting_messages_are_listed_in_three_pages(
    box: Mailbox, double: Double, poll: Poll, settings: Any
) -> None:
    settings.TURN_SECONDS = 0
    double.put_many(BOX, 1200)
    tally = poll(box)
    assert tally.listed == 1200
    # Nothing was got out of the way, so there is no reason to list again at once.
    assert not tally.more_waiting
    assert Message.objects.count() == 1200
    assert len(double.recorder.listings(BOX)) == 3


def test_a_workflow_filter_is_asked_of_the_service(box: Mailbox, double: Double, poll: Poll) -> None:
    Mailbox.objects.update(workflow_filter="PATH*")
    box.refresh_from_db()
    wanted = double.put(BOX, b"x", workflow_id="PATH_MEDRPT_V3")
    other = double.put(BOX, b"y", workflow_id="TOC_FHIR_IP_DISCH")
    poll(box)
    assert [row.mesh_id for row in Message.objects.all()] == [wanted.message_id]
    assert double.inbox(BOX) == [other.message_id]


def test_a_handshake_once_in_24_hours(box: Mailbox, double: Double, poll: Poll) -> None:
    def handshakes() -> int:
        return len([record for record in double.recorder.records() if record.route == "handshake"])

    poll(box)
    poll(box)
    assert handshakes() == 1
    Mailbox.objects.update(last_handshake_at=timezone.now() - timedelta(hours=23, minutes=59))
    poll(box)
    assert handshakes() == 1
    Mailbox.objects.update(last_handshake_at=timezone.now() - timedelta(hours=24))
    poll(box)
    assert handshakes() == 2


# --- The lease --------------------------------------------------------------------------------------------------------
def test_a_worker_that_lost_its_lease_commits_nothing_and_acknowledges_nothing(
    box: Mailbox, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    from messages import turn

    double.put(BOX, b"letter")
    claimed = polling.claim_now(box)
    assert claimed is not None
    real = payloads.write

    def overtaken(*args: Any, **kwargs: Any) -> payloads.Stored:
        done = real(*args, **kwargs)
        Mailbox.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert polling.claim_now(box) is not None
        return done

    monkeypatch.setattr(payloads, "write", overtaken)
    tally = turn.work(claimed)
    assert tally.lease_lost
    message = Message.objects.get()
    assert message.state == State.LISTED
    assert double.recorder.acks(BOX) == []
    assert Payload.objects.count() == 0
    # The lease of the other worker stands.
    box.refresh_from_db()
    with pytest.raises(lease.LeaseLost):
        lease.extend(claimed, timedelta(seconds=5))
    assert box.lease_token is not None


def test_a_claimed_mailbox_is_not_claimed_again(box: Mailbox) -> None:
    assert polling.claim_now(box) is not None
    assert polling.claim_now(box) is None
    assert polling.claim_due(slow=False) is None
