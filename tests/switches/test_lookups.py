"""Asking MESH for the addresses of a case, while a person waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailboxes.addresses import askers
from mailboxes.models import CaseEvent, Mailbox
from mailboxes.switches import lookups
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from tests.conftest import Make
from tests.double import Double, faults
from tests.switches.conftest import FLOW, NEW, PRACTICE, MakeCase

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_left_out() -> Iterator[None]:
    askers.forget()
    yield
    askers.forget()


def test_it_keeps_what_mesh_answers(box: Mailbox, double: Double, make_case: MakeCase, manager: Actor) -> None:
    double.add_mailbox(NEW, ods_code=PRACTICE, workflows=[FLOW])
    case = make_case("frozen")
    case.addresses.update(answer="", answers=0, asked_at=None)
    assert lookups.look_up(actor=manager, case=case) == f"MESH answers: {FLOW}: {NEW}."
    address = case.addresses.get()
    assert (address.answer, address.answers) == (NEW, 1)
    assert address.asked_at is not None


def test_a_mailbox_that_cannot_sign_in_keeps_no_answer_away(
    box: Mailbox, mailbox: Make, double: Double, make_case: MakeCase, manager: Actor
) -> None:
    first = min([box, mailbox(mailbox_id="X26HC002", identity=box.identity)], key=lambda one: one.pk)
    double.add_mailbox("X26HC002")
    double.add_mailbox(NEW, ods_code=PRACTICE, workflows=[FLOW])
    Mailbox.objects.filter(pk=first.pk).update(password="wrong")
    assert NEW in lookups.look_up(actor=manager, case=make_case("frozen"))


@pytest.mark.faults
@pytest.mark.parametrize("action", [faults.status(503), faults.drop("after"), faults.status(200, body="html")])
def test_a_failure_is_a_sentence_and_leaves_the_case(
    box: Mailbox, double: Double, make_case: MakeCase, manager: Actor, action: Any
) -> None:
    case = make_case("frozen")
    case.addresses.update(answer="", answers=0, asked_at=None)
    double.faults.add(match={"route": "lookup"}, action=action, times=None)
    with pytest.raises(Refused, match="MESH could not be asked"):
        lookups.look_up(actor=manager, case=case)
    assert case.addresses.get().asked_at is None
    assert not CaseEvent.objects.filter(kind="looked_up").exists()


def test_nobody_who_can_ask_is_a_sentence(make_case: MakeCase, manager: Actor) -> None:
    with pytest.raises(Refused, match="No mailbox of the team in this environment can ask MESH"):
        lookups.look_up(actor=manager, case=make_case("frozen"))
