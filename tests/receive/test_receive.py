"""Receiving: stored whole before it is acknowledged, once, whatever happens in between (promises P1, P2, P4)."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.core import payloads
from meshportal.mesh import MeshClient
from messages import receive
from messages.models import Message, MessageEvent, Payload
from messages.states import State
from tests.double import Double, faults
from tests.receive.conftest import BOX, Poll

pytestmark = pytest.mark.django_db


def body_of(message: Message) -> bytes:
    return b"".join(payloads.open_blocks(message.payload.storage_key))


def kinds(message: Message) -> list[str]:
    return list(MessageEvent.objects.filter(message=message).order_by("id").values_list("kind", flat=True))


@pytest.mark.parametrize(
    ("size", "chunks", "gzip"),
    [(1, 1, False), (1, 1, True), (1_000, 1, True), (300_000, 3, False), (300_000, 3, True), (2_000_000, 7, True)],
)
def test_a_message_is_kept_byte_for_byte_and_then_acknowledged(
    box: Mailbox, double: Double, poll: Poll, size: int, chunks: int, gzip: bool
) -> None:
    body = bytes((number * 31 + number // 7) % 256 for number in range(size))
    put = double.put(
        BOX,
        body,
        chunks=chunks,
        gzip=gzip,
        sender="YGM24HC001",
        workflow_id="TOC_FHIR_IP_DISCH",
        subject="A subject",
        local_id="L1",
        file_name="letter.xml",
        content_type="application/xml",
    )
    tally = poll(box)
    assert (tally.stored, tally.acknowledged, tally.failed, tally.problem) == (1, 1, 0, None)
    message = Message.objects.get()
    assert body_of(message) == body
    assert (message.payload.sha256, message.payload.size, message.size) == (put.sha256, size, size)
    assert (message.state, message.mesh_id, message.sender, message.workflow_id) == (
        State.ACKNOWLEDGED,
        put.message_id,
        "YGM24HC001",
        "TOC_FHIR_IP_DISCH",
    )
    assert (message.subject, message.local_id, message.file_name, message.chunk_count) == (
        "A subject",
        "L1",
        "letter.xml",
        chunks,
    )
    assert message.headers["mex-workflowid"] == "TOC_FHIR_IP_DISCH"
    assert message.sent_at is not None
    assert message.stored_at is not None
    assert message.acknowledged_at is not None
    assert kinds(message) == ["seen", "stored", "acknowledged"]
    assert double.inbox(BOX) == []
    assert message.stored_at < message.acknowledged_at


def test_the_acknowledge_comes_after_the_commit(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.put(BOX, b"letter")
    real = MeshClient.acknowledge

    def checked(client: MeshClient, message_id: str) -> None:
        row = Message.objects.get(mesh_id=message_id)
        assert row.state == State.STORED
        assert hashlib.sha256(body_of(row)).hexdigest() == row.payload.sha256
        real(client, message_id)

    monkeypatch.setattr(MeshClient, "acknowledge", checked)
    assert poll(box).acknowledged == 1


@pytest.mark.crash
@pytest.mark.parametrize("where", ["before_file", "after_file", "after_commit", "after_acknowledge"])
def test_dying_at_each_step_loses_nothing_and_stores_once(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The crash table of messages.receive, step by step: a KeyboardInterrupt passes every handler, as death does."""
    put = double.put(BOX, b"letter" * 1000, chunks=3)

    def die(*_args: Any, **_kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        if where == "before_file":
            broken.setattr(payloads, "storage", die)
        elif where == "after_file":
            broken.setattr(receive, "_commit", die)
        elif where == "after_commit":
            broken.setattr(MeshClient, "acknowledge", die)
        else:
            real = MeshClient.acknowledge

            def answered_too_late(client: MeshClient, message_id: str) -> None:
                real(client, message_id)
                die()

            broken.setattr(MeshClient, "acknowledge", answered_too_late)
        with pytest.raises(KeyboardInterrupt):
            poll(box)
    # The lease of a dead worker runs out by itself.
    Mailbox.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    gets_before = len(double.recorder.gets(BOX))
    poll(box)
    message = Message.objects.get()
    assert (message.state, body_of(message)) == (State.ACKNOWLEDGED, b"letter" * 1000)
    assert kinds(message).count("stored") == 1
    assert Payload.objects.count() == 1
    assert double.inbox(BOX) == []
    downloads_again = len(double.recorder.gets(BOX)) - gets_before
    assert downloads_again == (3 if where in ("before_file", "after_file") else 0)
    assert double.message(put.message_id) is not None


@pytest.mark.faults
@pytest.mark.parametrize(
    "action",
    [
        faults.status(500),
        faults.status(503, processed=True),
        faults.drop("before_body"),
        faults.drop("after"),
        faults.status(200, body="html"),
    ],
    ids=["500", "503 after it was done", "dropped before", "dropped after it was done", "a web page with 200"],
)
def test_an_acknowledge_that_fails_is_repeated_without_another_download(
    box: Mailbox, double: Double, poll: Poll, action: faults.Action
) -> None:
    double.put(BOX, b"letter")
    # What may pass is tried twice in one call, a web page is not.
    times = 1 if action.get("body") == "html" else 2
    double.faults.add(match={"route": "acknowledge"}, action=action, times=times)
    tally = poll(box)
    assert (tally.stored, tally.acknowledged) == (1, 0)
    message = Message.objects.get()
    assert message.state == State.STORED
    assert "acknowledge_failed" in kinds(message)
    assert poll(box).acknowledged == 1
    message.refresh_from_db()
    assert message.state == State.ACKNOWLEDGED
    assert len(double.recorder.gets(BOX)) == 1
    assert kinds(message).count("stored") == 1


def test_a_message_that_is_listed_again_after_its_acknowledge_is_acknowledged_again(
    box: Mailbox, double: Double, poll: Poll
) -> None:
    put = double.put(BOX, b"letter")
    poll(box)
    with double.state.lock:
        # As when the service desk puts a message back.
        restored = double.state.messages[put.message_id]
        restored.status, restored.acknowledged_at = "accepted", None
        double.state.deliver(restored)
    assert double.inbox(BOX) == [put.message_id]
    poll(box)
    assert double.inbox(BOX) == []
    assert Message.objects.get().state == State.ACKNOWLEDGED
    assert len(double.recorder.gets(BOX)) == 1


@pytest.mark.faults
@pytest.mark.parametrize("corrupt", ["cut", "garbage", "trailing", "crc", "missing_chunk"])
def test_a_message_that_is_not_whole_is_neither_kept_nor_acknowledged_and_holds_up_nobody(
    box: Mailbox, double: Double, poll: Poll, settings: Any, corrupt: str
) -> None:
    settings.MAX_ATTEMPTS = 3
    bad = double.put(BOX, b"poison" * 100, chunks=2, corrupt=corrupt)
    good = double.put(BOX, b"good")
    for _ in range(5):
        poll(box)
    poisoned, healthy = Message.objects.get(mesh_id=bad.message_id), Message.objects.get(mesh_id=good.message_id)
    assert healthy.state == State.ACKNOWLEDGED
    assert poisoned.state in (State.QUARANTINED, State.GONE)
    assert not Payload.objects.filter(message=poisoned).exists()
    assert poisoned.problem
    assert poisoned.problem_advice
    assert [record for record in double.recorder.acks(BOX) if record.message_id == bad.message_id] == []
    if corrupt != "missing_chunk":
        assert poisoned.state == State.QUARANTINED
        assert poisoned.attempts == 3
    box.refresh_from_db()
    assert box.problem_code == ""


@pytest.mark.faults
def test_a_failed_download_waits_longer_each_time(box: Mailbox, double: Double, poll: Poll) -> None:
    double.put(BOX, b"poison", corrupt="cut")
    waits = []
    for _ in range(3):
        poll(box)
        message = Message.objects.get()
        assert message.next_attempt_at is not None
        waits.append((message.next_attempt_at - timezone.now()).total_seconds())
    assert waits == sorted(waits)
    gets = len(double.recorder.gets(BOX))
    poll(box, skip_waits=False)
    assert len(double.recorder.gets(BOX)) == gets


def test_a_body_that_is_larger_than_allowed_is_put_aside_with_what_to_do(
    box: Mailbox, double: Double, poll: Poll, settings: Any
) -> None:
    settings.MAX_ATTEMPTS, settings.MESH_MAX_MESSAGE_BYTES = 1, 1000
    double.put(BOX, b"x" * 1001)
    poll(box)
    message = Message.objects.get()
    assert (message.state, message.problem_code) == (State.QUARANTINED, "too_large")
    assert "MESHPORTAL_MAX_MESSAGE_MB" in message.problem_advice


@pytest.mark.parametrize("status", [404, 410])
def test_a_message_that_is_gone_before_it_was_stored_says_so(box: Mailbox, double: Double, poll: Poll, status: int) -> None:
    double.put(BOX, b"x")
    double.faults.add(match={"route": "get"}, action=faults.status(status), times=None)
    poll(box)
    message = Message.objects.get()
    assert (message.state, message.problem_code) == (State.GONE, "gone")
    assert "National Service Desk" in message.problem_advice


def test_a_message_that_comes_back_is_taken_up_again(box: Mailbox, double: Double, poll: Poll) -> None:
    double.put(BOX, b"x")
    number = double.faults.add(match={"route": "get"}, action=faults.status(410), times=None)
    poll(box)
    double.faults.remove(number)
    poll(box)
    assert Message.objects.get().state == State.ACKNOWLEDGED


@pytest.mark.faults
def test_a_full_disk_is_the_portals_problem_and_counts_against_no_message(
    box: Mailbox, double: Double, poll: Poll, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_ATTEMPTS = 2
    double.put(BOX, b"x")

    def full(*_args: Any) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("meshportal.core.storage.DurableFileSystemStorage._save", full)
        for _ in range(4):
            assert poll(box).problem is not None
            assert box.problem_code == "storage"
    message = Message.objects.get()
    assert (message.state, message.attempts) == (State.LISTED, 0)
    assert double.recorder.acks(BOX) == []
    assert poll(box).acknowledged == 1
    assert box.problem_code == ""


@pytest.mark.faults
def test_three_network_failures_in_a_row_end_the_turn_and_are_the_mailboxs_problem(
    box: Mailbox, double: Double, poll: Poll
) -> None:
    double.put_many(BOX, 6)
    double.faults.add(match={"route": "get"}, action=faults.drop("before_body"), times=None)
    tally = poll(box)
    assert tally.failed == 3
    assert box.problem_code == "connection_lost"
    assert Message.objects.filter(state=State.QUARANTINED).count() == 0


# --- Reports ---------------------------------------------------------------------------------------------------------
REPORT = {"code": "14", "event": "SEND", "description": "Message not collected by recipient after 5 days"}


def test_a_report_is_stored_linked_and_acknowledged(box: Mailbox, double: Double, poll: Poll) -> None:
    original = double.put(BOX, b"a letter")
    poll(box)
    double.put(BOX, report={**REPORT, "linked_message_id": original.message_id}, subject="NDR")
    tally = poll(box)
    assert (tally.stored, tally.acknowledged) == (1, 1)
    failed = Message.objects.get(mesh_id=original.message_id)
    report = Message.objects.exclude(pk=failed.pk).get()
    assert (report.message_type, report.state, report.status_code, report.size) == ("REPORT", State.ACKNOWLEDGED, "14", 0)
    assert report.linked_message == failed
    assert "report_received" in kinds(failed)


def test_a_report_about_an_unknown_message_is_kept_unlinked(box: Mailbox, double: Double, poll: Poll) -> None:
    double.put(BOX, report={**REPORT, "linked_message_id": "20200529155357895317_3573F8"})
    poll(box)
    report = Message.objects.get()
    assert (report.state, report.linked_message, report.linked_mesh_id) == (
        State.ACKNOWLEDGED,
        None,
        "20200529155357895317_3573F8",
    )


def test_another_teams_message_is_never_linked(
    box: Mailbox, double: Double, poll: Poll, message: Any, mailbox: Any, other_team: Any
) -> None:
    theirs = mailbox(team=other_team, mailbox_id="RH8HC001")
    foreign = message(mailbox=theirs, body=b"x", mesh_id="20200529155357895317_3573F8")
    double.put(BOX, report={**REPORT, "linked_message_id": foreign.mesh_id})
    poll(box)
    assert Message.objects.get(mailbox=box).linked_message is None
    assert kinds(foreign) == []
