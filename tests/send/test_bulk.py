"""Sending all messages of a filter again: what is left out and why, the one gesture, and the work row by row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.accounts.models import Team
from meshportal.audit.models import AuditEvent
from meshportal.core import lease, payloads
from meshportal.core.acts import Refused
from messages import bulk, bulk_work, outbox, registry, resend, selectors
from messages.models import BulkResend, BulkResendRow, BulkRowState, Message, Outgoing, Payload, ResendPolicy
from messages.states import Direction, State
from tests.send.conftest import ACTOR, WORKFLOW

pytestmark = pytest.mark.django_db
FILTERS = [("State", "Returned by MESH")]


@pytest.fixture
def returned(message: Any, box: Mailbox) -> Callable[..., Message]:
    """Makes a returned message with a body."""

    def make(**fields: Any) -> Message:
        return message(**{"mailbox": box, "state": "returned", "body": b"a letter", "workflow_id": WORKFLOW, **fields})  # type: ignore[no-any-return]

    return make


def rule(team: Team, policy: ResendPolicy, workflow_id: str = WORKFLOW) -> None:
    registry.change(actor=ACTOR, workflow=registry.known(team.pk, workflow_id), name="Letters", resend_policy=policy)


def sent(team: Team) -> Any:
    return selectors.listed(team, Direction.OUT)


def begin(team: Team, *, asked_by: str = "", reason: str = "the practice was closed", rows: Any = None) -> BulkResend:
    """Begins with whatever the plan says now."""
    rows = sent(team) if rows is None else rows
    digest = bulk.plan(team, rows, asked_by=asked_by).digest
    return bulk.start(actor=ACTOR, team=team, rows=rows, digest=digest, reason=reason, filters=FILTERS, asked_by=asked_by)


def turn(gesture: BulkResend) -> BulkResend:
    """One worker's turn at whatever is due."""
    BulkResend.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
    claimed = bulk_work.claim_due()
    assert claimed is not None and claimed.pk == gesture.pk
    bulk_work.work(claimed)
    gesture.refresh_from_db()
    return gesture


def states(gesture: BulkResend) -> dict[Any, tuple[str, str]]:
    return {row.message_id: (row.state, row.why_not) for row in gesture.rows.all()}


# --- What would happen --------------------------------------------------------------------------------------------------
def test_each_message_that_cannot_go_is_left_with_its_reason(team: Team, message: Any, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    rule(team, ResendPolicy.NEVER, "NEVER_AGAIN")
    rule(team, ResendPolicy.ON_REQUEST, "ASKED_FOR")
    good = returned()
    expected = {
        returned(workflow_id="NEVER_AGAIN").pk: "never sent again",
        returned(workflow_id="ASKED_FOR").pk: "not said who asked",
        returned(state="queued").pk: "not come to an end",
        returned(state="uncertain").pk: "not come to an end",
        returned(state="accepted").pk: "not come to an end",
        returned(state="collected").pk: "has collected it",
        returned(body=None).pk: "does not hold its body",
    }
    purged = returned()
    Payload.objects.filter(message=purged).update(purged_at=timezone.now())
    expected[purged.pk] = "does not hold its body"
    again = returned()
    newer = resend.resend(actor=ACTOR, message=again, reason="lost")
    outbox.cancel(actor=ACTOR, message=newer, reason="wrong")
    expected[again.pk] = "sent again before"
    planned = bulk.plan(team, sent(team))
    assert [row.pk for row in planned.go] == [newer.pk, good.pk]
    left = {row.pk: why for row, why in planned.left}
    assert left.keys() == expected.keys()
    assert [part for key, part in expected.items() if part not in left[key]] == []
    assert (planned.total, planned.on_request, sum(number for _, number in planned.reasons)) == (11, 1, 9)

    gesture = turn(begin(team))
    assert gesture.finished_at is not None and gesture.due_at is None
    done = states(gesture)
    assert {key for key, (state, _) in done.items() if state == BulkRowState.SENT} == {newer.pk, good.pk}
    assert {key: why for key, (state, why) in done.items() if state == BulkRowState.LEFT} == left
    assert set(Outgoing.objects.exclude(resend_of=None).values_list("resend_of", flat=True)) == {newer.pk, good.pk, again.pk}


def test_who_asked_lets_those_go_that_wait_for_it_and_never_the_others(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ON_REQUEST)
    rule(team, ResendPolicy.NEVER, "NEVER_AGAIN")
    asked, never = returned(), returned(workflow_id="NEVER_AGAIN")
    assert bulk.plan(team, sent(team)).go == []
    gesture = turn(begin(team, asked_by="reception of the practice"))
    assert states(gesture)[asked.pk] == (BulkRowState.SENT, "")
    assert states(gesture)[never.pk][0] == BulkRowState.LEFT
    assert Outgoing.objects.get(resend_of=asked).asked_by == "reception of the practice"


def test_too_many_mixed_or_nothing_is_a_sentence_and_begins_nothing(
    team: Team, returned: Any, mailbox: Any, settings: Any
) -> None:
    rule(team, ResendPolicy.ALLOWED)
    with pytest.raises(Refused, match="Look at the numbers again"):
        begin(team)
    for _ in range(3):
        returned()
    settings.RESEND_MOST = 2
    with pytest.raises(Refused, match="Narrow the filter"):
        begin(team)
    settings.RESEND_MOST = 10
    other = mailbox(mailbox_id="X26HC900", environment="int", identity=None)
    returned(mailbox=other)
    with pytest.raises(Refused, match="integration and sandbox"):
        begin(team)
    with pytest.raises(Refused, match="Say why"):
        begin(team, reason="  ", rows=sent(team).exclude(mailbox=other))
    assert BulkResend.objects.count() == BulkResendRow.objects.count() == 0
    assert not AuditEvent.objects.filter(action__startswith="bulk_resend").exists()


def test_what_changed_since_the_person_looked_is_shown_anew(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    returned()
    digest = bulk.plan(team, sent(team)).digest
    returned()
    with pytest.raises(Refused, match="than those that you looked at"):
        bulk.start(actor=ACTOR, team=team, rows=sent(team), digest=digest, reason="lost", filters=FILTERS)
    assert BulkResend.objects.count() == 0


# --- One gesture --------------------------------------------------------------------------------------------------------
def test_one_gesture_in_the_audit_with_a_row_for_each_message(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    rows = [returned() for _ in range(5)]
    gesture = turn(begin(team))
    events = AuditEvent.objects.filter(request_id=gesture.request_id).order_by("id")
    assert [event.action for event in events] == ["bulk_resend.begun", *["message.resent"] * 5]
    assert events[0].after == {
        "messages": 5,
        "left": 0,
        "environment": "sandbox",
        "filters": {"State": "Returned by MESH"},
        "asked_by": "",
    }
    # Oldest first, each by the person and with the person's reason.
    assert [event.after["resend_of"] for event in events[1:]] == [str(row.pk) for row in rows]
    assert {(event.actor_label, event.reason) for event in events} == {(ACTOR.label, "the practice was closed")}


@pytest.mark.django_db(transaction=True)
def test_two_people_with_the_same_filter_in_the_same_moment_begin_once(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    rows = [returned() for _ in range(5)]
    digest = bulk.plan(team, sent(team)).digest
    gate = threading.Barrier(2)
    refused: list[str] = []

    def confirm() -> None:
        try:
            gate.wait(10)
            bulk.start(actor=ACTOR, team=team, rows=sent(team), digest=digest, reason="lost", filters=FILTERS)
        except Refused as refusal:
            refused.append(str(refusal))
        finally:
            connections.close_all()

    people = [threading.Thread(target=confirm) for _ in range(2)]
    for one in people:
        one.start()
    for one in people:
        one.join(30)
    connection.close()
    assert refused == [bulk.CHANGED]
    turn(BulkResend.objects.get())
    assert Outgoing.objects.filter(resend_of__in=rows).count() == 5


def test_what_another_gesture_holds_or_did_is_left(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    row = returned()
    gesture = begin(team)
    assert dict(bulk.plan(team, sent(team)).reasons) == {bulk.WAITS_ELSEWHERE: 1}
    # Somebody sends it again from its own page, and it comes to an end, before the worker is there.
    new = resend.resend(actor=ACTOR, message=selectors.to_resend(team, [row.pk]).get(), reason="by hand")
    Message.objects.filter(pk=new.pk).update(state=State.ACCEPTED, mesh_id="20261125000000000001_ABCDEF")
    turn(gesture)
    assert states(gesture)[row.pk] == (BulkRowState.LEFT, outbox.SENT_AGAIN)
    assert Outgoing.objects.filter(resend_of=row).count() == 1


@pytest.mark.parametrize("policy", [ResendPolicy.NEVER, ResendPolicy.ON_REQUEST])
def test_a_rule_that_changes_meanwhile_holds_for_the_rest(team: Team, returned: Any, policy: ResendPolicy) -> None:
    rule(team, ResendPolicy.ALLOWED)
    row = returned()
    gesture = begin(team)
    rule(team, policy)
    turn(gesture)
    assert states(gesture)[row.pk][0] == BulkRowState.LEFT
    assert Message.objects.count() == 1


def test_a_message_that_was_collected_meanwhile_is_left(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    row = returned()
    gesture = begin(team)
    Message.objects.filter(pk=row.pk).update(state=State.COLLECTED)
    turn(gesture)
    assert "has collected it" in states(gesture)[row.pk][1]


# --- The work -----------------------------------------------------------------------------------------------------------
def test_one_that_breaks_does_not_stop_the_others(team: Team, returned: Any, monkeypatch: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    gone, sealed, composed, good = returned(), returned(subject="Letter"), returned(file_name="ünlesbar\n.xml"), returned()
    payloads.delete(gone.payload.storage_key)
    gesture = begin(team)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE mesh_messages_message SET subject = %s WHERE subject IS NOT NULL", [b"nothing that a key opens"])
    turn(gesture)
    found = states(gesture)
    assert found[good.pk] == (BulkRowState.SENT, "")
    for row, why in ((gone, "does not hold the body"), (sealed, "cannot be opened"), (composed, "as it was composed")):
        assert found[row.pk][0] == BulkRowState.LEFT
        assert why in found[row.pk][1]
    assert gesture.finished_at is not None


def test_what_nobody_foresaw_is_one_row_alone(team: Team, returned: Any, monkeypatch: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    bad, good = returned(), returned()
    gesture = begin(team)
    original = resend.resend

    def breaks(**given: Any) -> Message:
        if given["message"].pk == bad.pk:
            raise ZeroDivisionError
        return original(**given)

    monkeypatch.setattr(resend, "resend", breaks)
    turn(gesture)
    assert states(gesture)[good.pk][0] == BulkRowState.SENT
    assert "unforeseen" in states(gesture)[bad.pk][1]


def test_storage_that_fails_is_tried_again_and_the_others_go(team: Team, returned: Any, settings: Any, monkeypatch: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    settings.MAX_ATTEMPTS, settings.RETRY_BASE_SECONDS = 3, 60
    unlucky, never, good = returned(body=b"unlucky"), returned(body=b"never"), returned(body=b"good")
    gesture = begin(team)
    write, failures = payloads.write, {b"unlucky": 1, b"never": 99}

    def full(key: str, blocks: Any) -> Any:
        body = b"".join(blocks)
        if failures.get(body, 0) > 0:
            failures[body] -= 1
            raise payloads.StorageFailed("no space left")
        return write(key, [body])

    monkeypatch.setattr(payloads, "write", full)
    turn(gesture)
    assert (states(gesture)[good.pk][0], gesture.finished_at) == (BulkRowState.SENT, None)
    assert gesture.due_at is not None and gesture.due_at > timezone.now() + timedelta(seconds=settings.RETRY_BASE_SECONDS / 2)
    for _ in range(2):
        gesture.rows.filter(state=BulkRowState.WAITING).update(try_at=timezone.now())
        turn(gesture)
    assert states(gesture)[unlucky.pk] == (BulkRowState.SENT, "")
    assert "storage failed" in states(gesture)[never.pk][1]
    assert gesture.finished_at is not None


def test_a_message_that_kills_its_worker_each_time_is_left(team: Team, returned: Any, settings: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    row = returned()
    gesture = begin(team)
    gesture.rows.update(tries=settings.MAX_ATTEMPTS)
    turn(gesture)
    assert "stopped each time" in states(gesture)[row.pk][1]
    assert Message.objects.count() == 1


def test_a_lease_that_was_lost_queues_nothing(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    returned()
    gesture = begin(team)
    claimed = bulk_work.claim_due()
    assert claimed is not None
    assert bulk_work.claim_due() is None
    row = bulk_work._next(claimed)
    assert row is not None
    BulkResend.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    with pytest.raises(lease.LeaseLost):
        bulk_work._try(claimed, row)
    assert Message.objects.count() == Payload.objects.count() == 1
    turn(gesture)
    assert Message.objects.count() == 2


def test_a_turn_that_is_over_goes_on_later(team: Team, returned: Any, settings: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    returned()
    gesture = begin(team)
    settings.SHARD_SECONDS = 0
    turn(gesture)
    assert gesture.finished_at is None and gesture.due_at is not None and gesture.lease_token is None
    settings.SHARD_SECONDS = 30
    assert turn(gesture).finished_at is not None


def test_stopped_is_stopped_and_what_is_done_is_done(team: Team, returned: Any) -> None:
    rule(team, ResendPolicy.ALLOWED)
    first, second = returned(), returned()
    gesture = begin(team)
    claimed = bulk_work.claim_due()
    assert claimed is not None
    row = bulk_work._next(claimed)
    assert row is not None
    bulk_work._try(claimed, row)
    held = bulk_work._next(claimed)
    assert held is not None
    assert bulk.stop(actor=ACTOR, gesture=gesture) == 1
    # The worker had the row in its hands already.
    bulk_work._try(claimed, held)
    bulk_work._give_back(claimed)
    gesture.refresh_from_db()
    assert states(gesture) == {first.pk: (BulkRowState.SENT, ""), second.pk: (BulkRowState.LEFT, bulk.STOPPED)}
    assert gesture.stopped_by == ACTOR.label and gesture.lease_token is None
    assert Message.objects.count() == 3
    with pytest.raises(Refused, match="come to its end"):
        bulk.stop(actor=ACTOR, gesture=gesture)
    assert bulk_work.claim_due() is None
    assert [event.after for event in AuditEvent.objects.filter(action="bulk_resend.stopped")] == [{"left": 1}]
