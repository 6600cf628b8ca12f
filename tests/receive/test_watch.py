"""Watching: a mailbox whose real consumer is another client is never downloaded from and never acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from mailboxes import services
from mailboxes.models import Mailbox, Mode
from messages.models import Message, MessageEvent
from messages.states import State
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX, Poll

pytestmark = pytest.mark.django_db


@pytest.fixture
def watched(box: Mailbox) -> Mailbox:
    Mailbox.objects.update(mode=Mode.WATCH)
    box.refresh_from_db()
    return box


def test_it_lists_and_reads_headers_and_touches_nothing(watched: Mailbox, double: Double, poll: Poll) -> None:
    put = double.put(BOX, b"letter", subject="A subject", workflow_id="TOC_FHIR_IP_DISCH", sender="YGM24HC001")
    poll(watched)
    poll(watched)
    message = Message.objects.get()
    assert (message.state, message.workflow_id, message.sender, message.subject) == (
        State.WATCHED,
        "TOC_FHIR_IP_DISCH",
        "YGM24HC001",
        "A subject",
    )
    assert double.recorder.gets(BOX) == []
    assert double.recorder.acks(BOX) == []
    assert len([record for record in double.recorder.records() if record.route == "head"]) == 1
    assert double.inbox(BOX) == [put.message_id]
    assert watched.waiting_count == 1


def test_what_its_client_collected_has_left(watched: Mailbox, double: Double, poll: Poll) -> None:
    put = double.put(BOX, b"letter")
    stays = double.put(BOX, b"another")
    poll(watched)
    with double.state.lock:
        double.state.acknowledge(double.state.messages[put.message_id])
    tally = poll(watched)
    assert tally.left == 1
    states = dict(Message.objects.values_list("mesh_id", "state"))
    assert states == {put.message_id: State.LEFT, stays.message_id: State.WATCHED}
    kinds = MessageEvent.objects.filter(message__mesh_id=put.message_id).order_by("id").values_list("kind", flat=True)
    assert list(kinds) == ["seen", "left"]


def test_a_listing_that_fails_halfway_marks_nothing_as_left(watched: Mailbox, double: Double, poll: Poll, settings: Any) -> None:
    settings.LIST_PAGE_SIZE = 10
    double.put_many(BOX, 25)
    poll(watched)
    double.faults.add(match={"route": "list", "nth": 2}, action=faults.status(500), times=None)
    double.faults.add(match={"route": "list", "nth": 3}, action=faults.status(500), times=None)
    poll(watched)
    assert watched.problem_code == "server_error"
    assert set(Message.objects.values_list("state", flat=True)) == {State.WATCHED}


def test_a_header_that_cannot_be_read_is_that_messages_trouble_alone(watched: Mailbox, double: Double, poll: Poll) -> None:
    bad, good = double.put(BOX, b"a"), double.put(BOX, b"b")
    double.faults.add(match={"route": "head", "message_id": bad.message_id}, action=faults.status(400), times=None)
    poll(watched)
    assert Message.objects.get(mesh_id=bad.message_id).problem_code == "bad_request"
    assert Message.objects.get(mesh_id=good.message_id).workflow_id == "TEST_WORKFLOW"
    assert watched.problem_code == ""


def test_from_watch_to_collect_and_back(watched: Mailbox, double: Double, poll: Poll) -> None:
    double.put(BOX, b"letter")
    poll(watched)
    collecting = services.change_mailbox(actor=ACTOR, mailbox=watched, mode=Mode.COLLECT, reason="cut-over")
    poll(collecting)
    assert Message.objects.get().state == State.ACKNOWLEDGED
    double.put(BOX, b"another")
    again = services.change_mailbox(actor=ACTOR, mailbox=collecting, mode=Mode.WATCH)
    poll(again)
    assert sorted(Message.objects.values_list("state", flat=True)) == [State.ACKNOWLEDGED, State.WATCHED]
    assert len(double.inbox(BOX)) == 1


def test_a_collected_message_that_is_still_listed_is_not_acknowledged_in_watch_mode(
    box: Mailbox, double: Double, poll: Poll
) -> None:
    double.put(BOX, b"letter")
    double.faults.add(match={"route": "acknowledge"}, action=faults.status(500), times=2)
    poll(box)
    assert Message.objects.get().state == State.STORED
    watching = services.change_mailbox(actor=ACTOR, mailbox=box, mode=Mode.WATCH)
    attempts = len(double.recorder.acks(BOX))
    poll(watching)
    assert len(double.recorder.acks(BOX)) == attempts
    assert Message.objects.get().state == State.STORED
