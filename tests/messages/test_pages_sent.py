"""The page of a message that the portal sends: what it says, and what a person may still decide."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from meshportal.audit.models import AuditEvent
from messages import selectors, timeline, verdicts, words
from messages.models import MessageEvent, Outgoing, SendAttempt
from messages.states import OUT, State

pytestmark = pytest.mark.django_db

NHS_NUMBER = "9434765919"
HOSTILE = "<script>alert(1)</script>\u202e"


def url_of(message: Any, route: str = "detail") -> str:
    return reverse(f"messages:{route}", kwargs={"team": message.team.slug, "pk": message.pk})


def event(message: Any, kind: str, **fields: Any) -> Any:
    values = {"at": timezone.now(), "actor_label": "meshportal sender", **fields}
    return MessageEvent.objects.create(message=message, kind=kind, **values)


def attempt(message: Any, chunk: int = 1, outcome: str = "accepted", problem: str = "") -> SendAttempt:
    now = timezone.now()
    return SendAttempt.objects.create(message=message, chunk=chunk, began_at=now, ended_at=now, outcome=outcome, problem=problem)


@pytest.fixture
def shown(signed_in: Any) -> Any:
    """The HTML of a message's page for a role, on one line."""
    browsers: dict[str, Any] = {}

    def get(message: Any, role: str = "manager", route: str = "detail") -> str:
        if role not in browsers:
            browsers[role] = signed_in(role)
        answer = browsers[role].get(url_of(message, route))
        assert answer.status_code == 200
        return " ".join(answer.content.decode().split())

    return get


# --- What the page says -------------------------------------------------------------------------------------------------
def said(row: Any) -> str:
    """The whole verdict as text."""
    row = selectors.whole().get(pk=row.pk)
    found = verdicts.verdict(row, selectors.events_of(row))
    return " ".join([found.sentence, *(f"{label}: {text}" for label, text in found.facts)])


def test_collected_does_not_say_read(message: Any) -> None:
    at = timezone.now().replace(year=2026, month=3, day=3, hour=10, minute=41)
    text = said(message(state="collected", acknowledged_at=at))
    assert "Collected by a client of mailbox YGM24HC001 on 3 March 2026 at 10:41 GMT." in text
    assert "That does not say that a person has read it." in text


@pytest.mark.parametrize(
    ("code", "description", "expected"),
    [
        ("12", "Unregistered to address", ["No mailbox has the recipient's ID, or none that can be sent to.", "present address"]),
        (
            "14",
            "Message not collected by recipient after 5 days",
            ["Nobody collected", "why it was not collected", "put it back"],
        ),
        ("14", "Message not delivered as the mailbox is deactivated", ["is deactivated", "changed its clinical system"]),
        ("17", "", ["does not take messages of this workflow", "another mailbox"]),
        ("epl-151", "", ["No mailbox fits the recipient", "present address"]),
        ("99", "Something new", ["MESH says: code 99, Something new.", "whether the document must be sent again"]),
        ("", "", ["MESH does not say why."]),
    ],
)
def test_a_returned_message_says_why_and_what_to_do(message: Any, code: str, description: str, expected: list[str]) -> None:
    row = message(state="returned", status_code=code, status_description=description)
    text = said(row)
    for part in ["Returned by MESH", "has not reached its recipient", "National Service Desk", row.mesh_id, *expected]:
        assert part in text
    # Only what nobody collected can be put back.
    can = expected[0] == "Nobody collected"
    assert ("put it back" in text) == can
    assert [clock.label for clock in words.clocks(row)] == (["Can be restored; MESH deletes it"] if can else [])


def test_an_expired_message_can_be_put_back_until_day_30(message: Any) -> None:
    row = message(state="expired", sent_at=timezone.now() - timedelta(days=6))
    text = said(row)
    assert "Not collected within 5 days." in text
    assert f"can put it back into the inbox: quote the message ID, {row.mesh_id}" in text
    gone = said(message(state="expired", sent_at=timezone.now() - timedelta(days=31)))
    assert "MESH has deleted it by now" in gone
    assert "put it back" not in gone


def test_an_accepted_message_is_chased_after_a_day(message: Any) -> None:
    assert "What to do" not in said(message(state="accepted"))
    text = said(message(state="accepted", sent_at=timezone.now() - timedelta(days=2)))
    assert "Ask whoever runs mailbox YGM24HC001 why it has not been collected." in text


def test_a_paused_mailbox_is_said(message: Any, mailbox: Any) -> None:
    box = mailbox(mode="paused")
    assert "nothing will send it: the mailbox is paused" in said(message(state="queued", mailbox=box))
    assert "Nothing sends the rest" in said(message(state="uploading", mailbox=box))
    assert "does not ask MESH" in said(message(state="accepted", mailbox=box))


def test_a_queued_message_that_failed_says_when_it_is_tried_again(message: Any) -> None:
    due = timezone.now() + timedelta(minutes=5)
    row = message(state="queued", problem="Nothing answers.", problem_advice="Check it.", outgoing={"tries": 3, "due_at": due})
    text = said(row)
    assert "3 tries have not succeeded. The portal tries again at" in text
    for part in ("Nothing answers.", "Check it.", "Nothing of it has reached MESH"):
        assert part in text


def test_an_uncertain_message_says_whether_mesh_is_still_asked(message: Any) -> None:
    due = timezone.now() + timedelta(minutes=2)
    asking = message(state="uncertain", outgoing={"due_at": due})
    event(asking, "uncertain", to_state="uncertain", detail={"why": "The connection broke."})
    text = said(asking)
    assert "We do not know whether MESH accepted this message" in text
    assert "The connection broke." in text
    assert "will ask again" in text
    for row in (message(state="uncertain"), message(state="uncertain", outgoing={"due_at": due, "own_local_id": False})):
        assert "Ask the recipient whether it came, then decide below." in said(row)


def test_the_page_names_both_ends_and_who_queued_it(message: Any, shown: Any) -> None:
    row = message(state="accepted", body=b"letter", outgoing={"requested_by": "Asha Patel <asha@midshire.example>"})
    page = shown(row)
    assert reverse("mailboxes:detail", kwargs={"team": row.team.slug, "pk": row.mailbox_id}) in page
    assert "YGM24HC001" in page
    assert "Made by the portal, so no other message has it" in page
    assert "Asha Patel &lt;asha@midshire.example&gt;" in page
    assert "/body/" in page
    assert "/retry/" not in page
    assert "/discard/" not in page
    assert "Made by the portal" not in shown(message(state="accepted", outgoing={"own_local_id": False}))


def test_requests_are_listed_with_how_they_ended(message: Any, shown: Any) -> None:
    row = message(state="uploading", size=2_500, outgoing={"chunk_size": 1_000, "next_chunk": 3})
    attempt(row, 1)
    attempt(row, 2, outcome="failed", problem="MESH did not answer in time.")
    attempt(row, 2)
    attempt(row, 3, outcome="")
    page = shown(row)
    assert "MESH has 2 of 3 chunks" in page
    assert "Requests to MESH (4)" in page
    order = ("Chunk 3 of 3: No answer yet", "Chunk 2 of 3: Accepted by MESH", "Chunk 2 of 3: Not accepted")
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
    assert "MESH did not answer in time." in page


def test_a_body_that_was_sent_opens_with_a_reason(message: Any, signed_in: Any) -> None:
    row = message(state="collected", body=b"A discharge letter")
    page = signed_in("operator").post(url_of(row, "body"), {"why": "delivery"}).content.decode()
    assert "A discharge letter" in page
    assert AuditEvent.objects.filter(action="message.body_read", target_id=str(row.pk)).count() == 1


def test_it_refreshes_while_it_is_on_its_way(message: Any, shown: Any) -> None:
    for state in OUT:
        moving = state in (State.QUEUED, State.SENDING, State.UPLOADING)
        assert ('data-refresh="10"' in shown(message(state=str(state)))) == moving, state


def test_hostile_text_of_sent_messages_is_text(signed_in: Any, message: Any, shown: Any, team: Any) -> None:
    for state in OUT:
        row = message(
            state=str(state),
            file_name=HOSTILE,
            local_id=f"{HOSTILE} {NHS_NUMBER}",
            workflow_id=HOSTILE,
            recipient_mailbox=HOSTILE,
            problem=HOSTILE,
            problem_advice=HOSTILE,
            status_code="77<b>",
            status_description=HOSTILE,
            outgoing={"requested_by": HOSTILE[:-1], "own_local_id": False},
        )
        event(row, "moved", to_state=state, actor_label=HOSTILE[:-1], detail={"why": HOSTILE, "reason": HOSTILE})
        attempt(row, outcome="failed", problem=HOSTILE)
        page = shown(row)
        assert "<script>alert" not in page
        assert "\u202e" not in page, state
        assert NHS_NUMBER not in page
    page = signed_in("viewer").get(reverse("messages:outbox", kwargs={"team": team.slug})).content.decode()
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert NHS_NUMBER not in page


def test_the_number_of_queries_does_not_depend_on_the_history(
    signed_in: Any, message: Any, django_assert_max_num_queries: Any
) -> None:
    row = message(state="uploading", body=b"x")
    for _ in range(30):
        event(row, "not_sent")
        attempt(row)
        message(message_type="REPORT", linked_message=row, linked_mesh_id=row.mesh_id)
    browser = signed_in("manager")
    browser.get(url_of(row))
    # As for a received one, the requests, and the bulk resends that it was part of.
    with django_assert_max_num_queries(14):
        browser.get(url_of(row))


def test_what_the_service_desk_gets(message: Any) -> None:
    row = message(state="uncertain", subject="SMITH", file_name="SMITH.pdf")
    text = words.for_service_desk(selectors.whole().get(pk=row.pk))
    assert f"Local ID: {row.local_id}" in text
    assert "To: YGM24HC001" in text
    assert "SMITH" not in text
    given = message(state="uncertain", local_id="SMITH", outgoing={"own_local_id": False})
    assert "SMITH" not in words.for_service_desk(selectors.whole().get(pk=given.pk))


def test_an_attempt_in_words(message: Any) -> None:
    row = message(state="accepted", outgoing={"chunk_size": 1_000_000})
    (one,) = timeline.tries(row, [attempt(row)])
    assert (one.what, one.ended, one.trouble) == ("The whole message", "Accepted by MESH", False)


# --- Acts ---------------------------------------------------------------------------------------------------------------
ACTS = [("cancel", "queued"), ("cancel", "on_hold"), ("decide", "uncertain")]
GIVEN = {"decision": "again", "reason": "The practice\n never had it"}


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
@pytest.mark.parametrize(("route", "state"), ACTS)
def test_who_may(message: Any, signed_in: Any, role: str, route: str, state: str) -> None:
    row = message(state=state)
    browser = signed_in(role)
    may = role in ("operator", "manager")
    assert (f"/{route}/" in browser.get(url_of(row)).content.decode()) == may
    answer = browser.post(url_of(row, route), GIVEN)
    assert answer.status_code == (302 if may else 404)
    row.refresh_from_db()
    assert row.state == (State.CANCELLED if route == "cancel" else State.QUEUED) if may else row.state == state
    assert AuditEvent.objects.filter(action__startswith="message.").count() == int(may)


def test_a_cancelled_message_says_who_and_why(message: Any, signed_in: Any) -> None:
    row = message(state="queued", outgoing={"due_at": timezone.now()})
    browser = signed_in("operator")
    page = " ".join(browser.post(url_of(row, "cancel"), GIVEN, follow=True).content.decode().split())
    assert "The message is cancelled. Nothing of it was sent." in page
    assert "Operator Person &lt;operator@midshire.example&gt; cancelled it on" in page
    assert "The practice never had it" in page
    found = AuditEvent.objects.get(action="message.cancelled")
    assert found.reason == "The practice never had it"
    assert found.target_label == f"message with local ID {row.local_id}"
    assert Outgoing.objects.get(message=row).due_at is None


@pytest.mark.parametrize(
    ("decision", "state", "sentence"),
    [("arrived", State.CONFIRMED, "Recorded: the message arrived."), ("again", State.QUEUED, "The message is sent again")],
)
def test_a_decision(message: Any, signed_in: Any, decision: str, state: str, sentence: str) -> None:
    row = message(state="uncertain", problem="p", outgoing={"looks": 12})
    page = signed_in("operator").post(url_of(row, "decide"), {**GIVEN, "decision": decision}, follow=True).content.decode()
    assert sentence in page
    row.refresh_from_db()
    assert row.state == state
    assert (Outgoing.objects.get(message=row).due_at is None) == (decision == "arrived")
    found = AuditEvent.objects.get(action="message.decided")
    assert found.after == {"arrived": decision == "arrived"}
    assert found.reason == "The practice never had it"


def test_what_is_known_stands_beside_the_decision(message: Any, shown: Any) -> None:
    row = message(state="uncertain", outgoing={"looks": 4, "looked_at": timezone.now()})
    attempt(row, outcome="uncertain", problem="The connection broke after the body.")
    page = shown(row)
    for text in ("What is known", row.local_id, "4 times", "The whole message: No answer came", "The connection broke after"):
        assert text in page
    other = shown(message(state="uncertain", outgoing={"own_local_id": False}))
    assert "other messages may have the same" in other
    assert "No request has been recorded." in other


@pytest.mark.parametrize(("route", "state"), ACTS)
def test_acts_stand_and_work_only_where_they_are_possible(
    message: Any, shown: Any, signed_in: Any, team: Any, route: str, state: str
) -> None:
    from django.test import Client

    from meshportal.accounts.models import User

    shown(message(state=state))
    browser = Client()
    browser.force_login(User.objects.get())
    for other in set(State) - {found for act, found in ACTS if act == route}:
        row = message(state=str(other))
        assert f"/{route}/" not in shown(row), other
        for given in (GIVEN, {}):
            page = browser.post(url_of(row, route), given, follow=True).content.decode()
            assert "Not done" in page
        row.refresh_from_db()
        assert row.state == other
    assert not AuditEvent.objects.filter(action__startswith="message.").exists()


@pytest.mark.parametrize(
    ("route", "given", "sentence"),
    [
        ("cancel", {}, "Say why this message is cancelled"),
        ("cancel", {"reason": "…"}, "Write it in words"),
        ("decide", {"decision": "again"}, "Say how you know"),
        ("decide", {"reason": "They said so"}, "Say whether it arrived"),
        ("decide", {"reason": "They said so", "decision": "perhaps"}, "Choose one of the two"),
        ("decide", {"reason": "x" * 501, "decision": "again"}, "Keep it within 500 characters"),
    ],
)
def test_wrong_input_comes_back_with_what_was_typed(
    message: Any, signed_in: Any, route: str, given: dict[str, str], sentence: str
) -> None:
    row = message(state=dict(ACTS)[route])
    answer = signed_in("operator").post(url_of(row, route), given)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert "There is a problem" in page
    assert given.get("reason", "")[:400] in page
    # The page looks again at its own address, not at that of the button.
    assert f'hx-get="{url_of(row, route)}"' not in page
    row.refresh_from_db()
    assert row.state == dict(ACTS)[route]
