"""What became of a sent message: looks that thin out, and the states that they find."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from messages import track
from messages.models import Message, Outgoing
from messages.states import State
from tests.double import Double
from tests.send.conftest import Put, Rounds, make_due, state

pytestmark = pytest.mark.django_db


def test_a_collected_message_says_when(double: Double, put: Put, rounds: Rounds) -> None:
    message = put()
    rounds(2)
    assert state(message) == State.ACCEPTED
    with double.state.lock:
        double.state.acknowledge(double.state.messages[message.mesh_id])
    rounds(1)
    assert state(message) == State.COLLECTED
    assert message.acknowledged_at is not None
    assert abs(message.acknowledged_at - timezone.now()) < timedelta(minutes=1)
    assert Outgoing.objects.get().due_at is None


def test_the_looks_thin_out(put: Put) -> None:
    message = put()
    waits = []
    for age in (
        timedelta(0),
        timedelta(minutes=15),
        timedelta(hours=1),
        timedelta(hours=4),
        timedelta(days=2),
        timedelta(days=31),
    ):
        message.sent_at = timezone.now() - age
        waits.append(track._next_look(message))
    minutes = [None if wait is None else round(wait.total_seconds() / 60) for wait in waits]
    assert minutes == [15, 45, 180, 1440, 1440, None]


def test_a_mailbox_has_so_many_looks_and_no_more(double: Double, put: Put, rounds: Rounds, settings: Any) -> None:
    settings.TRACK_PER_MAILBOX = 3
    for number in range(6):
        put(f"letter {number}".encode())
    rounds(6)
    make_due()
    looks = 0
    for _ in range(10):
        claimed = track.claim_due()
        if claimed is not None:
            track.work(claimed)
            looks += 1
    assert looks == 3


def test_a_message_that_nobody_collects_expires_and_can_come_back(double: Double, put: Put, rounds: Rounds) -> None:
    message = put()
    rounds(1)
    Message.objects.update(sent_at=timezone.now() - timedelta(days=5, minutes=1))
    rounds(1)
    assert state(message) == State.EXPIRED
    with double.state.lock:
        double.state.acknowledge(double.state.messages[message.mesh_id])
    rounds(1)
    assert state(message) == State.COLLECTED


def test_an_undeliverable_message_is_returned_with_the_code(double: Double, put: Put, rounds: Rounds) -> None:
    message = put()
    rounds(1)
    assert state(message) == State.ACCEPTED
    double.withdraw(message.mesh_id)
    rounds(1)
    assert (state(message), message.status_code) == (State.RETURNED, "14")
