"""The tell-tale answers of MESH, by whatever way they come, become signs in the transaction that keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailboxes.models import Evidence, Mailbox, SwitchCase
from messages import suspicions
from messages.models import Message
from messages.states import State
from tests.conftest import Make
from tests.double import Double
from tests.receive.conftest import BOX, Poll
from tests.send.conftest import state
from tests.switches.conftest import FLOW, OLD, PRACTICE

pytestmark = pytest.mark.django_db

DEACTIVATED = "Message not delivered: recipient mailbox deactivated"
UNCOLLECTED = "Message not collected by recipient after 5 days"
Put = Callable[..., Message]
Rounds = Callable[..., None]


@pytest.mark.parametrize(
    ("code", "text", "kind", "opens"),
    [
        ("12", "Unregistered to address", "report_12", True),
        ("14", DEACTIVATED, "report_14_deactivated", True),
        ("14", UNCOLLECTED, "", False),
        ("17", "Not registered", "report_17_first", False),
        ("EPL-150", "", "report_epl_150", False),
        ("EPL-151", "", "report_epl_151", True),
        ("EPL-153", "", "", False),
        ("06", "MalformedControlFile", "", False),
    ],
)
def test_a_report_that_is_joined_is_a_sign(
    code: str, text: str, kind: str, opens: bool, box: Mailbox, double: Double, put: Put, rounds: Rounds, poll: Poll
) -> None:
    sent = put(recipient=OLD, workflow_id=FLOW, ods_code=PRACTICE)
    rounds()
    sent.refresh_from_db()
    double.put(BOX, report={"code": code, "description": text, "linked_message_id": sent.mesh_id, "event": "SEND"})
    poll(box)
    assert state(sent) == State.RETURNED
    found = [(sign.kind, sign.ods_code, sign.mailbox_id, sign.workflow_id) for sign in Evidence.objects.all()]
    assert found == ([(kind, PRACTICE, OLD, FLOW)] if kind else [])
    assert SwitchCase.objects.count() == opens
    # Nothing that MESH wrote is repeated.
    assert all(text not in str(sign.detail) for sign in Evidence.objects.all() if text)


def test_code_17_weighs_more_where_the_workflow_was_taken_before(message: Make, mailbox: Make) -> None:
    box = mailbox()
    message(mailbox=box, state="collected", recipient_mailbox=OLD, workflow_id=FLOW)
    back = message(mailbox=box, state="returned", recipient_mailbox=OLD, workflow_id=FLOW)
    suspicions.of_answer(back, code="17", description="")
    assert Evidence.objects.get().kind == "report_17"
    assert SwitchCase.objects.count() == 1


def test_a_refusal_at_the_door_is_a_sign_too(box: Mailbox, double: Double, put: Put, rounds: Rounds) -> None:
    unknown = put(recipient="NOBODY1", workflow_id=FLOW)
    rounds()
    assert state(unknown) == State.REFUSED
    case = SwitchCase.objects.get()
    assert (case.about_mailbox, case.organisation) == ("NOBODY1", None)


def test_what_tracking_finds_is_a_sign_too(box: Mailbox, double: Double, put: Put, rounds: Rounds) -> None:
    double.update_mailbox(OLD, active=False)
    sent = put(recipient=OLD, workflow_id=FLOW, ods_code=PRACTICE)
    rounds(3)
    assert state(sent) == State.RETURNED
    assert SwitchCase.objects.get().ods_code == PRACTICE


def test_the_sign_goes_with_the_transaction(message: Make, mailbox: Make, monkeypatch: Any) -> None:
    from django.db import transaction

    back = message(mailbox=mailbox(), state="returned", recipient_mailbox=OLD)
    with pytest.raises(RuntimeError), transaction.atomic():
        suspicions.of_answer(back, code="12", description="")
        raise RuntimeError
    assert not Evidence.objects.exists()
    assert not SwitchCase.objects.exists()
