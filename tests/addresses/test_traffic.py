"""What messages show of the address book, and what their reports ask it to look at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.addresses import services
from mailboxes.models import AddressAnswer, AddressEntry, AddressPair, Mailbox
from mailboxes.models.address import Drift, Source
from messages import book, recipients, track
from messages.models import Outgoing
from tests.addresses.conftest import NEW, OLD, WORKFLOW, Asked, added, seen
from tests.conftest import Make
from tests.double import Double
from tests.receive.conftest import Poll

pytestmark = pytest.mark.django_db


def entries() -> list[tuple[str, str, str, str]]:
    rows = AddressEntry.objects.select_related("pair").order_by("pair__ods_code", "pair__workflow_id")
    return [(one.pair.ods_code, one.pair.workflow_id, one.mailbox_id, one.source) for one in rows]


def test_a_lookup_for_a_message_comes_into_the_book_with_its_answer(box: Mailbox, practice: Double) -> None:
    assert recipients.the_one(box, "g81086", WORKFLOW).mailbox_id == OLD
    [entry] = AddressEntry.objects.select_related("pair")
    assert (entry.mailbox_id, entry.source, entry.drift) == (OLD, Source.LOOKUP, Drift.AGREES)
    assert entry.mailbox_name == "Seaside Surgery"
    assert entry.pair.next_lookup_at is not None and entry.pair.next_lookup_at > timezone.now()
    [answer] = AddressAnswer.objects.all()
    assert answer.results == [{"id": OLD, "name": "Seaside Surgery"}]


def test_a_lookup_for_a_message_notices_a_move(box: Mailbox, practice: Double) -> None:
    recipients.the_one(box, "G81086", WORKFLOW)
    practice.update_mailbox(OLD, active=False)
    practice.add_mailbox(NEW, ods_code="G81086", workflows=(WORKFLOW,))
    # The person who writes has what MESH answers now; the book waits for somebody to confirm it.
    assert recipients.the_one(box, "G81086", WORKFLOW).mailbox_id == NEW
    [entry] = AddressEntry.objects.all()
    assert (entry.mailbox_id, entry.drift) == (OLD, Drift.CHANGED)


def test_of_several_the_chosen_one_comes_into_the_book(box: Mailbox, practice: Double, asked: Asked) -> None:
    practice.add_mailbox(NEW, ods_code="G81086", workflows=(WORKFLOW,))
    with pytest.raises(recipients.ToChoose):
        recipients.the_one(box, "G81086", WORKFLOW)
    assert not AddressEntry.objects.exists()
    recipients.the_one(box, "G81086", WORKFLOW, chosen=NEW)
    [entry] = AddressEntry.objects.all()
    assert (entry.mailbox_id, entry.drift, entry.accepted) == (NEW, Drift.AGREES, sorted([OLD, NEW]))
    asked()
    assert seen(entry).drift == Drift.AGREES


def test_tracking_tells_whose_mailbox_it_is(box: Mailbox, practice: Double, message: Make) -> None:
    practice.add_mailbox("X26HC050")
    sent = message(mailbox=box, state="accepted", recipient_mailbox=OLD, workflow_id=WORKFLOW, body=b"a letter")
    kept = practice.put(OLD, b"a letter", sender=box.mailbox_id, workflow_id=WORKFLOW)
    type(sent).objects.filter(pk=sent.pk).update(mesh_id=kept.message_id)
    Outgoing.objects.filter(message=sent).update(due_at=timezone.now())
    outgoing = track.claim_due()
    assert outgoing is not None
    track.work(outgoing)
    assert entries() == [("G81086", WORKFLOW, OLD, "traffic")]
    # Another mailbox of the same organisation replaces nothing.
    services.note_seen(team_id=box.team_id, environment="sandbox", ods_code="G81086", workflow_id=WORKFLOW, mailbox_id="X26HC050")
    assert entries() == [("G81086", WORKFLOW, OLD, "traffic")]


def test_an_acknowledgement_comes_from_where_its_workflow_is_taken(box: Mailbox, practice: Double, poll: Poll) -> None:
    headers = {"mex-from-ods": "G81086"}
    practice.put(box.mailbox_id, b"ack", sender=OLD, workflow_id=f"{WORKFLOW}_ACK", headers=headers)
    practice.put(box.mailbox_id, b"letter", sender=OLD, workflow_id="PATH_MEDRPT_V3", headers=headers)
    practice.put(box.mailbox_id, b"ack", sender=OLD, workflow_id="NO_ODS_ACK")
    practice.put(box.mailbox_id, b"ack", sender="no mailbox", workflow_id="BAD_ACK", headers={"mex-from-ods": "../x"})
    poll(box)
    assert entries() == [("G81086", WORKFLOW, OLD, "traffic")]


@pytest.mark.parametrize(
    ("code", "description", "asks"),
    [
        ("12", "Unregistered to address", {"TOC_FHIR_IP_DISCH", "PATH_MEDRPT_V3"}),
        ("14", "Message not collected as the mailbox is deactivated", {"TOC_FHIR_IP_DISCH", "PATH_MEDRPT_V3"}),
        ("14", "Message not collected by recipient after 5 days", set()),
        ("17", "Message recipient unable to accept", {"TOC_FHIR_IP_DISCH"}),
        ("EPL-150", "", {"TOC_FHIR_IP_DISCH"}),
        ("epl-151", "", {"TOC_FHIR_IP_DISCH"}),
        ("EPL-153", "", set()),
        ("06", "", set()),
        ("", "", set()),
    ],
)
def test_a_report_that_speaks_of_the_address_is_followed(
    team: Any, box: Mailbox, practice: Double, message: Make, asked: Asked, code: str, description: str, asks: set[str]
) -> None:
    for workflow in (WORKFLOW, "PATH_MEDRPT_V3"):
        added(team, workflow=workflow)
    asked()
    AddressPair.objects.update(asked_at=timezone.now() - timedelta(hours=1))
    sent = message(mailbox=box, state="accepted", recipient_mailbox=OLD, workflow_id=WORKFLOW)
    book.returned(sent, code, description)
    assert set(AddressPair.objects.filter(urgent=True).values_list("workflow_id", flat=True)) == asks


def test_a_report_in_the_inbox_leads_to_a_question(
    team: Any, box: Mailbox, practice: Double, message: Make, poll: Poll, asked: Asked
) -> None:
    added(team)
    asked()
    AddressPair.objects.update(asked_at=timezone.now() - timedelta(hours=1))
    sent = message(mailbox=box, state="accepted", recipient_mailbox=OLD, workflow_id=WORKFLOW)
    report = {"code": "12", "event": "SEND", "description": "gone", "linked_message_id": sent.mesh_id}
    practice.put(box.mailbox_id, workflow_id=WORKFLOW, report=report)
    poll(box)
    assert AddressPair.objects.get().urgent


def test_a_message_by_demographics_asks_for_nothing(box: Mailbox, message: Make) -> None:
    sent = message(mailbox=box, state="accepted", recipient_mailbox="", workflow_id=WORKFLOW)
    book.returned(sent, "EPL-151", "")
    assert not AddressPair.objects.exists()
