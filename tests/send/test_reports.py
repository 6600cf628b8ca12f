"""The report matrix: every code of the tables, through the receive path, to the state, the words and the lists.

MESH API specification, Numeric codes and EPL codes; the strict double delivers the report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from mailboxes.models import Mailbox
from messages import refusals, selectors, timeline, verdicts, words
from messages.models import Message, Outgoing
from messages.states import State
from tests.double import Double
from tests.receive.conftest import BOX, Poll

pytestmark = pytest.mark.django_db

UNCOLLECTED = "Message not collected by recipient after 5 days"
DEACTIVATED = "Message not delivered: recipient mailbox deactivated"
# Code, text of MESH, what happened, what to do.
CODES = [
    ("02", "Data file is missing or inaccessible.", "The message has no body.", "with the document in it"),
    ("06", "MalformedControlFile", "MESH could not read the message's headers.", "unusual characters"),
    ("07", "Invalid From", "The sending mailbox does not match the sign-in.", "National Service Desk"),
    ("08", "TO_DTS missing", "The message has no recipient.", "with the recipient's mailbox ID"),
    ("09", "Invalid version", "MESH could not read the control file of the message.", "Correct the settings"),
    ("11", "Invalid message type, should be DATA", "MESH does not take this kind of message.", "National Service Desk"),
    ("12", "Unregistered to address", "No mailbox has the recipient's ID, or none that can be sent to.", "present address"),
    ("14", UNCOLLECTED, "Nobody collected the message within 5 days.", "restore it within 30 days"),
    ("14", DEACTIVATED, "The recipient's mailbox is deactivated.", "present address"),
    ("15", "Bad CP-IS file", "MESH could not use the file: it is no valid child protection file.", "Correct the file"),
    ("16", "Not allowed", "This mailbox may not send messages of this workflow.", "to add the workflow"),
    ("17", "Not registered", "The recipient's mailbox does not take messages of this workflow.", "another mailbox"),
    ("18", "Not enabled", "This workflow is not enabled for MESH.", "National Service Desk"),
    ("19", "Chunks", "The recipient's workflow does not take messages in parts, or the expiry is not valid.", "Desk"),
    ("20", "Message does not exist", "MESH does not know the message.", "with the message ID"),
    ("100", "Not NA enabled", "The recipient's mailbox is not enabled for this.", "present address"),
    ("EPL-150", "", "More than one mailbox fits the recipient.", "present address"),
    ("EPL-151", "", "No mailbox fits the recipient.", "present address"),
    ("EPL-152", "", "The NHS number in the address is not valid.", "date of birth and surname"),
    ("EPL-153", "", "The NHS number in the address is not known.", "date of birth and surname"),
    ("EPL-154", "", "The NHS number in the address does not fit the other details of the patient.", "date of birth"),
    ("InvalidHeaderChunks", "", "MESH did not understand how the message was split or compressed.", "until it is mended"),
    ("UnsupportedContentEncoding", "", "MESH did not understand how the message was split or compressed.", "mended"),
    ("Invalid checksum", "", "MESH could not read the checksum that was sent along.", "without one"),
    ("Invalid file format", "File Level Error", "The file is not in the format that the workflow needs.", "Correct the file"),
    ("Message already accepted", "", "The message cannot be collected any more.", "Ask the recipient"),
    ("77", "Something new", "MESH says: code 77, Something new.", "whether the document must be sent again"),
    ("77", "", "MESH says: code 77.", "whether the document must be sent again"),
]
IDS = [f"{code} {text}".strip() for code, text, _, _ in CODES]
# Those that the specification's tables hold, and that nobody has to explain by "MESH says" alone.
KNOWN = {code for code, *_ in CODES} - {"77"}


def said(message: Message) -> str:
    found = selectors.whole().get(pk=message.pk)
    told = verdicts.verdict(found, selectors.events_of(found))
    return " ".join([told.sentence, *(f"{label}: {text}" for label, text in told.facts)])


@pytest.fixture
def sent(put: Callable[..., Message], rounds: Callable[..., None]) -> Message:
    """A message that MESH accepted."""
    message = put()
    rounds()
    message.refresh_from_db()
    assert message.state == State.ACCEPTED
    return message


@pytest.mark.parametrize(("code", "text", "sentence", "advice"), CODES, ids=IDS)
def test_a_report_returns_its_message_and_says_why(
    box: Mailbox, double: Double, sent: Message, poll: Poll, signed_in: Any, code: str, text: str, sentence: str, advice: str
) -> None:
    """Code, text, state of the message that failed, its page, and the report's own."""
    double.put(BOX, report={"code": code, "event": "SEND", "description": text, "linked_message_id": sent.mesh_id})
    assert poll(box).acknowledged == 1
    sent.refresh_from_db()
    report = Message.objects.get(message_type="REPORT")
    assert (sent.state, sent.status_code, sent.status_event, sent.status_description) == (State.RETURNED, code, "SEND", text)
    assert (report.state, report.linked_message) == (State.ACKNOWLEDGED, sent)

    restorable = text == UNCOLLECTED
    assert (Outgoing.objects.get().due_at is not None) == restorable
    assert words.recoverable(sent) == restorable
    told = said(sent)
    assert "Returned by MESH" in told
    assert ("can put it back" in told) == restorable
    about = timeline.report_words(report)
    assert about.sentence.startswith(f"This is a non-delivery report about message {sent.mesh_id}. {sentence.rstrip('.')}")
    browser = signed_in("viewer")
    for row in (sent, report):
        page = browser.get(reverse("messages:detail", kwargs={"team": sent.team.slug, "pk": row.pk}))
        shown = " ".join(page.content.decode().replace("&#x27;", "'").split())
        assert sentence in shown
        assert advice in shown
        assert "delivered" not in shown.lower().replace("non-delivered", "").replace(text.lower(), "")


def test_every_code_of_the_tables_has_words() -> None:
    for code in KNOWN:
        assert refusals.said_of(code, "") is not None
        assert refusals.said_of(f" {code.lower()} ", "") == refusals.said_of(code, "")
    # No two codes share their words, but where the tables give them one meaning.
    told = [refusals.said_of(code, text) for code, text, *_ in CODES if code != "77"]
    assert len(set(told)) == len(told) - 1


@pytest.mark.parametrize("linked", ["20261101000000000001_FFFFFF", ""])
def test_a_report_about_an_unknown_message_is_in_a_list_of_its_own(
    box: Mailbox, double: Double, sent: Message, poll: Poll, signed_in: Any, linked: str
) -> None:
    double.put(BOX, report={"code": "12", "description": "Unregistered to address", "linked_message_id": linked})
    double.put(BOX, report={"code": "14", "description": UNCOLLECTED, "linked_message_id": sent.mesh_id})
    poll(box)
    matched, unmatched = (Message.objects.get(message_type="REPORT", linked_message__isnull=empty) for empty in (False, True))
    sent.refresh_from_db()
    assert (sent.state, sent.status_code) == (State.RETURNED, "14")
    browser = signed_in("viewer")
    address = reverse("messages:list", kwargs={"team": sent.team.slug})
    assert f'href="{address}?type=unmatched"' in browser.get(address).content.decode()
    for path in (address, reverse("messages:inbox", kwargs={"team": sent.team.slug, "pk": box.pk})):
        page = browser.get(path, {"type": "unmatched"}).content.decode()
        assert unmatched.mesh_id in page
        assert matched.mesh_id not in page
    page = browser.get(reverse("messages:detail", kwargs={"team": sent.team.slug, "pk": unmatched.pk})).content.decode()
    assert ("Unmatched" if linked else "does not say which message it is about") in page


def test_a_report_about_a_message_of_another_team_is_unmatched(
    box: Mailbox, double: Double, poll: Poll, message: Any, mailbox: Any, other_team: Any
) -> None:
    theirs = message(mailbox=mailbox(team=other_team), state="accepted")
    double.put(BOX, report={"code": "12", "linked_message_id": theirs.mesh_id})
    poll(box)
    theirs.refresh_from_db()
    assert theirs.state == State.ACCEPTED
    assert Message.objects.get(message_type="REPORT").linked_message is None


@pytest.mark.parametrize("before", [State.COLLECTED, State.REFUSED, State.RETURNED])
def test_a_report_about_a_settled_message_is_told_and_changes_nothing(
    box: Mailbox, double: Double, sent: Message, poll: Poll, before: State
) -> None:
    Message.objects.filter(pk=sent.pk).update(state=before, status_code="17")
    double.put(BOX, report={"code": "14", "description": UNCOLLECTED, "linked_message_id": sent.mesh_id})
    poll(box)
    sent.refresh_from_db()
    assert (sent.state, sent.status_code) == (before, "17")
    assert Message.objects.get(message_type="REPORT").linked_message == sent
    assert next(event.kind for event in selectors.events_of(sent)) == "report_received"
