"""Held, visibly, by whatever way it is sent; released by two people; exactly once; never for ever."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from mailboxes.models import CaseAddress, Mailbox, Release, SwitchCase
from mailboxes.switches import asking, cases, moves, release
from meshportal.accounts.models import User
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from messages import alerts, outbox, resend, send
from messages.models import Hold, Message, Outgoing
from messages.states import State
from tests.conftest import Make
from tests.double import Double
from tests.send.conftest import kinds, state
from tests.switches.conftest import FLOW, NEW, OLD, PRACTICE, MakeCase

pytestmark = pytest.mark.django_db

Put = Callable[..., Message]
Rounds = Callable[..., None]


@pytest.fixture
def to_old(put: Put) -> Put:
    def make(body: bytes = b"a letter", **fields: Any) -> Message:
        return put(body, **{"recipient": OLD, "workflow_id": FLOW, **fields})

    return make


def queued(message: Message) -> bool:
    return message.state == State.QUEUED


def test_every_way_of_sending_is_held(box: Mailbox, make_case: MakeCase, to_old: Put, message: Make, tmp_path: Any) -> None:
    case = make_case("frozen")
    page = to_old(b"by page or folder")
    file = tmp_path / "letter.txt"
    file.write_text("by the command line")
    call_command("send", box.mailbox_id, str(file), "--to", OLD, "--workflow", FLOW, stdout=io.StringIO())
    returned = message(
        mailbox=box, state="returned", recipient_mailbox=OLD, workflow_id=FLOW, body=b"again", outgoing={"recipient_ods": ""}
    )
    again = resend.resend(actor=Actor.command("tests"), message=returned, reason="it came back", asked_by="the practice")
    assert {row.state for row in Message.objects.filter(hold__case=case)} == {State.ON_HOLD}
    assert asking.messages().held(case).number == 3
    assert state(page) == state(again) == State.ON_HOLD
    assert kinds(page) == ["queued", "held"]
    assert not Outgoing.objects.filter(message__hold__case=case, due_at__isnull=False).exists()
    assert send.claim_due() is None
    with pytest.raises(Refused, match="being sent again already"):
        resend.resend(actor=Actor.command("tests"), message=returned, reason="and again", asked_by="the practice")


def test_what_waits_in_the_queue_is_held_when_the_sender_takes_it_up(
    box: Mailbox, double: Double, make_case: MakeCase, to_old: Put, rounds: Rounds
) -> None:
    waiting = to_old()
    assert queued(waiting)
    make_case("frozen")
    rounds(3)
    assert state(waiting) == State.ON_HOLD
    assert double.sent_by(box.mailbox_id) == []
    assert Outgoing.objects.get(message=waiting).due_at is None


@pytest.mark.parametrize("before", ["suspected", "confirmed", "scheduled", "false_alarm"])
def test_nothing_is_held_before_it_is_frozen_or_after_a_false_alarm(before: str, make_case: MakeCase, to_old: Put) -> None:
    make_case(before)
    assert queued(to_old())


@pytest.mark.parametrize(
    ("direction", "shared", "fields", "held"),
    [
        ("to_tpp", False, {}, True),
        # The whole mailbox moves: other workflows too.
        ("to_tpp", False, {"workflow_id": "OTHER"}, True),
        ("third_party", False, {}, True),
        ("third_party", False, {"workflow_id": "OTHER"}, False),
        # A shared mailbox says nothing of the practice; the code does.
        ("from_tpp", False, {}, False),
        ("from_tpp", False, {"ods_code": "A81001"}, False),
        ("from_tpp", False, {"ods_code": PRACTICE}, True),
        ("unknown", True, {}, False),
        ("unknown", True, {"ods_code": PRACTICE}, True),
        # By code while it is frozen, whatever mailbox lookup answered.
        ("to_tpp", False, {"recipient": NEW, "ods_code": PRACTICE}, True),
        ("to_tpp", False, {"recipient": NEW}, False),
        ("to_tpp", False, {"recipient": "SOMEBODY1", "ods_code": "A81001"}, False),
    ],
)
def test_which_messages_belong_to_the_practice(
    direction: str, shared: bool, fields: dict[str, Any], held: bool, make_case: MakeCase, to_old: Put
) -> None:
    case = make_case("frozen", direction=direction)
    case.addresses.update(old_shared=shared)
    assert (to_old(**fields).state == State.ON_HOLD) is held


def test_another_team_and_another_environment_are_not_held(
    make_case: MakeCase, put: Put, mailbox: Make, other_team: Any, message: Make
) -> None:
    make_case("frozen", environment="int")
    assert queued(put(recipient=OLD, workflow_id=FLOW))
    make_case("frozen")
    theirs = mailbox(team=other_team, mailbox_id="RH8HC001")
    draft = outbox.Draft(recipient=OLD, workflow_id=FLOW)
    assert queued(outbox.put(actor=Actor.command("tests"), mailbox=theirs, draft=draft, body=[b"theirs"]))


def test_a_held_workflow_that_nobody_knew_of_must_get_its_new_mailbox(
    make_case: MakeCase, to_old: Put, manager: Actor, operator: Actor
) -> None:
    case = make_case("frozen")
    to_old(workflow_id="NEW_FLOW")
    assert case.addresses.get(workflow_id="NEW_FLOW").old_mailbox == OLD
    with pytest.raises(Refused, match="NEW_FLOW"):
        moves.move(actor=manager, case=case, to="switched")
    cases.set_address(actor=operator, case=case, workflow_id="NEW_FLOW", old_mailbox=OLD, new_mailbox="TPPHC002")
    moves.move(actor=manager, case=case, to="switched", reason="confirmed by telephone")
    late = to_old(workflow_id="LATE_FLOW")
    assert late.state == State.ON_HOLD
    with pytest.raises(Refused, match="LATE_FLOW"):
        release.ask(actor=operator, case=case, to="new", reason="ready")


def test_two_people_release_to_the_new_mailbox_exactly_once(
    box: Mailbox, double: Double, make_case: MakeCase, to_old: Put, rounds: Rounds, manager: Actor, operator: Actor
) -> None:
    double.add_mailbox(NEW, ods_code="TPP")
    case = make_case("frozen")
    rows = [to_old(f"letter {number}".encode()) for number in range(3)]
    moves.move(actor=manager, case=case, to="switched")
    asked = release.ask(actor=operator, case=case, to="new", reason="TPP is live")
    assert asked.addresses == {FLOW: NEW}
    with pytest.raises(Refused, match="asked for already"):
        release.ask(actor=manager, case=case, to="new", reason="TPP is live")
    assert double.sent_by(box.mailbox_id) == []
    assert release.agree(actor=manager, case=case) == 3
    with pytest.raises(Refused, match="No release"):
        release.agree(actor=manager, case=case)
    rounds(12)
    assert [double.content(one.message_id) for one in double.sent_by(box.mailbox_id) if one.recipient == NEW] == [
        b"letter 0",
        b"letter 1",
        b"letter 2",
    ]
    assert all(one.recipient == NEW for one in double.sent_by(box.mailbox_id))
    assert {state(row) for row in rows} == {State.ACCEPTED}
    assert kinds(rows[0])[:3] == ["queued", "held", "released"]
    assert {hold.release_id for hold in Hold.objects.all()} == {asked.pk}
    # What is still sent to the old one is held; what is sent to the new one goes.
    assert to_old(b"late").state == State.ON_HOLD
    assert queued(to_old(b"later", recipient=NEW, ods_code=PRACTICE))


def test_nobody_agrees_with_themselves(make_case: MakeCase, to_old: Put, manager: Actor, operator: Actor, client: Any) -> None:
    case = make_case("frozen")
    held = to_old()
    moves.move(actor=manager, case=case, to="switched")
    for nobody in (Actor.command("tests"), Actor.system("tests")):
        with pytest.raises(Refused, match="signed-in"):
            release.ask(actor=nobody, case=case, to="new", reason="because")
    asked = release.ask(actor=manager, case=case, to="new", reason="TPP is live")
    with pytest.raises(Refused, match="yourself"):
        release.agree(actor=manager, case=case)
    client.force_login(User.objects.get(pk=manager.id))
    url = reverse("switches:release-agree", kwargs={"team": case.team.slug, "pk": case.pk})
    assert "You asked for this release yourself" in client.post(url, follow=True).content.decode()
    refused = AuditEvent.objects.filter(action="switch.refused", after__asked="agree to the release")
    assert [event.reason for event in refused] == [release.SAME_PERSON] * 2
    # Nor behind the service's back.
    with pytest.raises(IntegrityError), transaction.atomic():
        Release.objects.filter(pk=asked.pk).update(agreed_by_id=manager.id, agreed_at=timezone.now())
    assert state(held) == State.ON_HOLD
    release.withdraw(actor=operator, case=case)
    assert state(held) == State.ON_HOLD


def test_the_second_person_agrees_to_what_the_first_one_saw(
    make_case: MakeCase, to_old: Put, manager: Actor, operator: Actor
) -> None:
    case = make_case("frozen")
    held = to_old()
    moves.move(actor=manager, case=case, to="switched")
    release.ask(actor=operator, case=case, to="new", reason="TPP is live")
    CaseAddress.objects.filter(case=case).update(new_mailbox="WRONG1")
    with pytest.raises(Refused, match="changed since"):
        release.agree(actor=manager, case=case)
    assert state(held) == State.ON_HOLD


def test_a_release_that_does_not_fit_the_state_is_refused(
    make_case: MakeCase, to_old: Put, manager: Actor, operator: Actor
) -> None:
    case = make_case("frozen")
    with pytest.raises(Refused, match="Nothing is held"):
        release.ask(actor=operator, case=case, to="new", reason="ready")
    to_old()
    with pytest.raises(Refused, match="only once the case is switched"):
        release.ask(actor=operator, case=case, to="new", reason="ready")
    with pytest.raises(Refused, match="Choose"):
        release.ask(actor=operator, case=case, to="elsewhere", reason="ready")
    with pytest.raises(Refused, match="Say why"):
        release.ask(actor=operator, case=case, to="old", reason=" ")
    moves.move(actor=manager, case=case, to="switched")
    with pytest.raises(Refused, match="nobody reads"):
        release.ask(actor=operator, case=case, to="old", reason="ready")


def test_a_switch_that_is_put_off_lets_them_go_to_the_old_mailbox(
    box: Mailbox, double: Double, make_case: MakeCase, to_old: Put, rounds: Rounds, manager: Actor, operator: Actor
) -> None:
    case = make_case("frozen")
    to_old()
    with pytest.raises(Refused, match="still held"):
        moves.move(actor=manager, case=case, to="false_alarm", reason="none after all")
    release.ask(actor=operator, case=case, to="old", reason="put off by a month")
    release.agree(actor=manager, case=case)
    # Released while the case is still frozen: it is not held a second time.
    rounds(2)
    assert [one.recipient for one in double.sent_by(box.mailbox_id)] == [OLD]


def test_nothing_is_proven_closed_or_forgotten_while_messages_are_held(
    make_case: MakeCase, to_old: Put, manager: Actor, operator: Actor
) -> None:
    case = make_case("frozen")
    held = to_old()
    moves.move(actor=manager, case=case, to="switched")
    with pytest.raises(Refused, match="1 message is still held"):
        moves.move(actor=manager, case=case, to="proving")
    outbox.cancel(actor=operator, message=held, reason="sent by post")
    assert state(held) == State.CANCELLED
    moves.move(actor=manager, case=case, to="proving")
    late = to_old(b"late")
    assert late.state == State.ON_HOLD
    with time_machine.travel(timezone.now() + timedelta(days=6), tick=False), pytest.raises(Refused, match="still held"):
        moves.move(actor=manager, case=case, to="closed")


def test_a_held_message_has_its_own_clock_and_alert(make_case: MakeCase, to_old: Put) -> None:
    case = make_case("frozen")
    to_old()
    now = timezone.now()
    assert list(alerts.held(now + timedelta(hours=23))) == []
    [told] = alerts.held(now + timedelta(hours=25))
    assert (told.level, told.key) == (1, str(case.pk))
    assert "holds 1 message, the oldest since" in told.sentence
    assert next(alerts.held(now + timedelta(hours=49))).level == 2


def test_a_late_answer_of_mesh_ends_the_hold(make_case: MakeCase, to_old: Put) -> None:
    case: SwitchCase = make_case("frozen")
    held = to_old()
    send.accepted(held, "20261125000000000001_ABCDEF", chunks=1, next_chunk=2)
    assert state(held) == State.ACCEPTED
    assert asking.messages().held(case).number == 0
    assert Hold.objects.get(message=held).ended_at is not None
