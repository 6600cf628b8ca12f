"""Sending a document again: one rule per workflow, whatever door it goes through; the new message is linked to the first."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.audit.models import AuditEvent
from meshportal.core import payloads
from meshportal.core.acts import Refused
from messages import outbox, registry, resend
from messages.models import Message, Outgoing, Payload, ResendPolicy, Workflow
from messages.states import State
from tests.send.conftest import ACTOR, BOX, TO, WORKFLOW

pytestmark = pytest.mark.django_db
BODY = b"a letter that came back"


@pytest.fixture
def returned(message: Any, box: Mailbox) -> Message:
    row: Message = message(mailbox=box, state="returned", body=BODY, workflow_id=WORKFLOW, subject="Discharge", file_name="a.xml")
    return row


def rule(policy: ResendPolicy) -> None:
    box = Mailbox.objects.get()
    workflow = registry.known(box.team_id, WORKFLOW)
    registry.change(actor=ACTOR, workflow=workflow, name="Letters", resend_policy=policy)


def test_a_new_message_with_the_same_document_linked_to_the_first(returned: Message) -> None:
    rule(ResendPolicy.ALLOWED)
    new = resend.resend(actor=ACTOR, message=returned, reason="the mailbox was closed", recipient="X26HC777")
    assert (new.state, new.recipient_mailbox, new.subject, new.file_name) == (State.QUEUED, "X26HC777", "Discharge", "a.xml")
    assert new.local_id not in ("", returned.local_id)
    assert payloads.read_all(new.payload.storage_key, limit=100)[0] == BODY
    assert new.payload.storage_key != returned.payload.storage_key
    assert [one.pk for one in resend.chain(returned)] == [returned.pk, new.pk] == [one.pk for one in resend.chain(new)]
    assert list(returned.events.values_list("kind", flat=True)) == ["resent"]
    event = AuditEvent.objects.get(action="message.resent")
    assert (event.reason, event.after["resend_of"]) == ("the mailbox was closed", str(returned.pk))
    assert Message.objects.get(pk=returned.pk).state == State.RETURNED


@pytest.mark.parametrize(
    ("policy", "given", "refusal"),
    [
        (ResendPolicy.NEVER, {"reason": "please", "asked_by": "the practice"}, "never sends"),
        (ResendPolicy.ON_REQUEST, {"reason": "please"}, "say who asked"),
        (ResendPolicy.ON_REQUEST, {"reason": "  ", "asked_by": "the practice"}, "Say why"),
        (ResendPolicy.ALLOWED, {"reason": ""}, "Say why"),
    ],
)
def test_the_rule_holds_for_page_and_command_line_alike(
    box: Mailbox, returned: Message, tmp_path: Any, policy: ResendPolicy, given: dict[str, Any], refusal: str
) -> None:
    rule(policy)
    with pytest.raises(Refused, match=refusal):
        resend.resend(actor=ACTOR, message=returned, **given)
    letter = tmp_path / "letter.txt"
    letter.write_bytes(BODY)
    options = [f"--again={given['reason']}", f"--asked-by={given.get('asked_by', '')}"]
    with pytest.raises(CommandError, match=refusal):
        call_command("send", BOX, str(letter), "--to", TO, "--workflow", WORKFLOW, *options)
    options = [f"--reason={given['reason']}", f"--asked-by={given.get('asked_by', '')}"]
    said = io.StringIO()
    with pytest.raises(CommandError, match="1 of 1 left as they are"):
        call_command("resend", returned.mesh_id, *options, stderr=said)
    assert refusal in said.getvalue()
    assert Message.objects.count() == Payload.objects.count() == 1


def test_the_command_line_sends_several_again_and_names_those_that_it_cannot(returned: Message, message: Any) -> None:
    rule(ResendPolicy.ALLOWED)
    queued = message(mailbox=returned.mailbox, state="queued", body=BODY, workflow_id=WORKFLOW)
    said, refused = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match="2 of 3 left as they are"):
        call_command("resend", returned.mesh_id, queued.local_id, "NO_SUCH", "--reason=lost", stdout=said, stderr=refused)
    new = Outgoing.objects.get(resend_of=returned).message
    assert said.getvalue() == f"{returned.mesh_id}: sent again, local ID {new.local_id}.\n"
    assert f"{queued.local_id}: This message has not come to an end yet." in refused.getvalue()
    assert "NO_SUCH: No sent message has this message ID or local ID." in refused.getvalue()


def test_who_asked_lets_it_go_and_is_kept(returned: Message) -> None:
    new = resend.resend(actor=ACTOR, message=returned, reason="lost", asked_by="reception of the practice")
    assert Outgoing.objects.get(message=new).asked_by == "reception of the practice"


def test_a_twin_under_the_rule_never_does_not_offer_to_say_why(box: Mailbox, returned: Message, tmp_path: Any) -> None:
    rule(ResendPolicy.NEVER)
    letter = tmp_path / "letter.txt"
    letter.write_bytes(BODY)
    with pytest.raises(CommandError, match="never sends"):
        call_command("send", BOX, str(letter), "--to", TO, "--workflow", WORKFLOW)


@pytest.mark.parametrize("state", ["queued", "sending", "uploading", "uncertain", "accepted"])
def test_what_has_not_come_to_an_end_is_not_sent_again(message: Any, box: Mailbox, state: str) -> None:
    row = message(mailbox=box, state=state, body=BODY, workflow_id=WORKFLOW)
    with pytest.raises(Refused, match=r"has not come to an end|waits in the recipient"):
        resend.resend(actor=ACTOR, message=row, reason="hurry", asked_by="them")
    assert Message.objects.count() == 1


def test_what_waits_in_an_old_mailbox_may_go_to_another(message: Any, box: Mailbox) -> None:
    row = message(mailbox=box, state="accepted", body=BODY, workflow_id=WORKFLOW)
    new = resend.resend(actor=ACTOR, message=row, reason="they moved", asked_by="them", recipient="X26HC777")
    assert new.recipient_mailbox == "X26HC777"


def test_a_body_that_is_gone_is_a_sentence(returned: Message) -> None:
    payloads.delete(returned.payload.storage_key)
    with pytest.raises(Refused, match="does not hold the body"):
        resend.resend(actor=ACTOR, message=returned, reason="lost", asked_by="them")
    Payload.objects.update(purged_at=timezone.now())
    again = Message.objects.select_related("payload", "outgoing", "mailbox").get()
    with pytest.raises(Refused, match="does not hold the body"):
        resend.resend(actor=ACTOR, message=again, reason="lost", asked_by="them")
    assert Message.objects.count() == 1


def test_once_while_it_is_under_way_and_again_after(returned: Message) -> None:
    new = resend.resend(actor=ACTOR, message=returned, reason="lost", asked_by="them")
    with pytest.raises(Refused, match="being sent again already"):
        resend.resend(actor=ACTOR, message=returned, reason="lost", asked_by="them")
    outbox.cancel(actor=ACTOR, message=new, reason="wrong")
    resend.resend(actor=ACTOR, message=returned, reason="lost", asked_by="them")


@pytest.mark.django_db(transaction=True)
def test_two_people_in_the_same_moment_send_it_once(returned: Message) -> None:
    gate = threading.Barrier(2)
    refused: list[str] = []

    def press() -> None:
        try:
            row = Message.objects.select_related("payload", "outgoing", "mailbox__team").get(pk=returned.pk)
            gate.wait(10)
            resend.resend(actor=ACTOR, message=row, reason="lost", asked_by="them")
        except Refused as refusal:
            refused.append(str(refusal))
        finally:
            connections.close_all()

    people = [threading.Thread(target=press) for _ in range(2)]
    for one in people:
        one.start()
    for one in people:
        one.join(30)
    connection.close()
    assert len(refused) == 1
    assert Message.objects.count() == Payload.objects.count() == 2


def test_workflows_appear_by_themselves_and_acknowledgements_are_never_sent_again(
    box: Mailbox, put: Callable[..., Message]
) -> None:
    put(workflow_id="MADE_UP_ACK")
    row = Workflow.objects.get(workflow_id="MADE_UP_ACK")
    assert (row.reviewed_at, row.resend_policy) == (None, ResendPolicy.NEVER)
    seeded = registry.of(box.team)
    assert seeded.get(workflow_id="TOC_FHIR_IP_DISCH").ack_workflow_id == "TOC_FHIR_IP_DISCH_ACK"
    before = Workflow.objects.count()
    registry.of(box.team)
    assert Workflow.objects.count() == before


def test_the_request_to_restore_ends_when_mesh_deletes(message: Any, box: Mailbox) -> None:
    from messages import words

    row = message(mailbox=box, state="expired", body=BODY)
    assert row.mesh_id in words.restore_request(row)
    row.sent_at = timezone.now() - timedelta(days=31)
    assert words.restore_request(row) == ""
