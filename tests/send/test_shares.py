"""Mailboxes that fail or have much to send leave room to the others, and nothing is hammered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.mesh import errors
from messages import dispatch, outbox, send, shares, track
from messages.models import Message, Outgoing
from messages.states import State
from tests.conftest import Make
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX
from tests.send.conftest import Put, Rounds, make_due, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def other_box(double: Double, mailbox: Make, real_identity: Any) -> Mailbox:
    double.add_mailbox("X26HC002")
    made: Mailbox = mailbox(mailbox_id="X26HC002", identity=real_identity)
    return made


def queue(mailbox: Mailbox, number: int) -> list[Message]:
    draft = outbox.Draft(recipient="YGM24HC001", workflow_id="TEST_WORKFLOW")
    return [
        outbox.put(
            actor=ACTOR,
            mailbox=mailbox,
            draft=draft,
            body=[b"%d" % one],
            again=outbox.Again(reason="a test", asked_by="the recipient"),
        )
        for one in range(number)
    ]


def test_a_mailbox_with_much_to_send_leaves_threads_to_the_others(box: Mailbox, other_box: Mailbox, settings: Any) -> None:
    settings.SEND_THREADS = 4
    queue(box, 10)
    late = queue(other_box, 1)[0]
    claimed = [send.claim_due() for _ in range(3)]
    assert [one.message.mailbox for one in claimed if one is not None] == [box, box, other_box]
    assert claimed[2] is not None and claimed[2].message_id == late.pk
    assert send.claim_due() is None


def test_a_refused_sign_in_is_not_hammered(double: Double, box: Mailbox, other_box: Mailbox, settings: Any) -> None:
    settings.RETRY_BASE_SECONDS = 60
    double.update_mailbox(BOX, password="another")
    queue(box, 5)
    others = queue(other_box, 2)
    while (claimed := send.claim_due()) is not None:
        dispatch.work(claimed)
    assert [state(message) for message in others] == [State.ACCEPTED] * 2
    assert len([one for one in double.recorder.records() if one.mailbox == BOX]) == 1
    assert Outgoing.objects.filter(due_at__gt=timezone.now() + timedelta(seconds=30), message__mailbox=box).count() == 5
    double.update_mailbox(BOX, password="password")
    make_due()
    while (claimed := send.claim_due()) is not None:
        dispatch.work(claimed)
    assert Message.objects.filter(mailbox=box, state=State.ACCEPTED).count() == 5


def test_a_wait_that_mesh_asks_for_is_kept(double: Double, box: Mailbox) -> None:
    double.faults.add(match={"route": "send"}, action=faults.status(429, retry_after=1800))
    queue(box, 2)
    claimed = send.claim_due()
    assert claimed is not None
    dispatch.work(claimed)
    assert send.claim_due() is None
    assert Outgoing.objects.filter(due_at__gt=timezone.now() + timedelta(minutes=29)).count() == 2


@pytest.mark.parametrize("status", [404, 410])
def test_a_wrong_address_refuses_no_message_for_good(double: Double, put: Put, rounds: Rounds, status: int) -> None:
    double.faults.add(match={"route": "send"}, action=faults.status(status))
    message = put()
    rounds()
    assert state(message) == State.QUEUED
    rounds()
    assert state(message) == State.ACCEPTED


def test_a_request_that_is_too_large_for_what_stands_before_mesh_is_refused(double: Double, put: Put, rounds: Rounds) -> None:
    double.configure(max_body=5)
    message = put()
    rounds(3)
    assert (state(message), message.problem_code) == (State.REFUSED, "too_large")


def test_columns_that_the_keys_do_not_open_are_a_sentence(put: Put, rounds: Rounds, settings: Any) -> None:
    message = put(subject="S")
    kept = settings.MESHPORTAL_KEYS
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    rounds()
    found = Message.objects.values("state", "problem_code").get()
    assert found == {"state": State.QUEUED, "problem_code": "secret_unreadable"}
    assert Outgoing.objects.get().lease_token is None
    settings.MESHPORTAL_KEYS = kept
    rounds()
    assert state(message) == State.ACCEPTED
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    rounds()
    assert Outgoing.objects.get().lease_token is None


def test_an_uncertain_message_is_looked_for_before_the_others(double: Double, box: Mailbox, put: Put, rounds: Rounds) -> None:
    for number in range(3):
        put(b"%d" % number)
    rounds(3)
    Outgoing.objects.update(due_at=timezone.now() - timedelta(hours=1))
    double.faults.add(match={"route": "send"}, action=faults.drop("after"))
    message = put()
    claimed = send.claim_due()
    assert claimed is not None
    dispatch.work(claimed)
    Outgoing.objects.filter(message=message).update(due_at=timezone.now())
    looked = track.claim_due()
    assert looked is not None
    assert looked.message_id == message.pk


def test_what_concerns_the_whole_mailbox() -> None:
    lost = errors.SendUncertain("?")
    lost.__cause__ = errors.ResponseTimeout("?")
    broken = errors.SendUncertain("?")
    broken.__cause__ = errors.ServerError("?")
    found = {
        type(error).__name__: shares.concerns_mailbox(error)
        for error in (
            errors.AuthenticationFailed(),
            errors.HostUnknown(),
            errors.Refused(),
            errors.ServerError(),
            errors.Unavailable(),
        )
    }
    assert found == {
        "AuthenticationFailed": True,
        "HostUnknown": True,
        "Refused": False,
        "ServerError": False,
        "Unavailable": False,
    }
    assert (shares.concerns_mailbox(lost), shares.concerns_mailbox(broken)) == (True, False)


def test_chunks_stay_below_the_limit_of_their_environment(box: Mailbox, put: Put, settings: Any) -> None:
    settings.SEND_CHUNK_BYTES = 90_000
    settings.MESH_MAX_REQUEST_BYTES = {**settings.MESH_MAX_REQUEST_BYTES, "sandbox": 50_000}
    message = put(b"x" * 100_000)
    assert Outgoing.objects.get().chunk_size == 49_500
    assert message.chunk_count == Outgoing.objects.get().chunk_total == 3
