"""The page of one message: a sentence for every state, the clocks, the timeline, and nothing of what is sealed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from messages import selectors, timeline, verdicts, words
from messages.models import Message, MessageEvent
from messages.states import IN_INBOX, State

pytestmark = pytest.mark.django_db

NHS_NUMBER = "9434765919"


def url_of(message: Any, route: str = "detail") -> str:
    return reverse(f"messages:{route}", kwargs={"team": message.team.slug, "pk": message.pk})


def event(message: Any, kind: str, **fields: Any) -> Any:
    values = {"at": timezone.now(), "actor_label": "meshportal poller", **fields}
    return MessageEvent.objects.create(message=message, kind=kind, **values)


@pytest.fixture
def shown(signed_in: Any) -> Any:
    """The HTML of a message's page for a role."""
    browsers: dict[str, Any] = {}

    def get(message: Any, role: str = "manager") -> str:
        if role not in browsers:
            browsers[role] = signed_in(role)
        answer = browsers[role].get(url_of(message))
        assert answer.status_code == 200
        return str(answer.content.decode())

    return get


@pytest.mark.parametrize("state", State.values)
def test_every_state_has_a_verdict_and_a_tag(shown: Any, message: Any, state: str) -> None:
    row = message(state=state, acknowledged_at=timezone.now() if state == "discarded" else None)
    event(row, "moved", to_state=state)
    page = shown(row)
    assert State(state).label in page
    assert verdicts.verdict(row, selectors.events_of(row)).sentence in page
    assert "delivered" not in page.lower()


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
def test_every_role_sees_the_page_and_only_its_own_acts(shown: Any, message: Any, role: str) -> None:
    held = shown(message(body=b"letter"), role)
    stuck = shown(message(state="quarantined"), role)
    assert ("/body/" in held) == (role in {"operator", "manager"})
    assert ("/retry/" in stuck) == (role in {"operator", "manager"})
    assert ("/discard/" in stuck) == (role == "manager")


def test_acts_stand_only_where_they_are_possible(shown: Any, message: Any) -> None:
    for state in set(State.values) - {State.QUARANTINED}:
        page = shown(message(state=state))
        assert "/discard/" not in page, state
        assert "/retry/" not in page, state
        assert "/body/" not in page, state
    waits = message(next_attempt_at=timezone.now() + timedelta(minutes=5), attempts=2, problem="The connection broke off.")
    page = shown(waits)
    assert "/retry/" in page
    assert "2 tries have failed" in page
    assert "The connection broke off." in page


def test_a_quarantined_message_says_what_it_means_and_who_can_help(shown: Any, message: Any) -> None:
    row = message(
        state="quarantined",
        attempts=5,
        problem="The message came cut short.",
        problem_advice="The portal tries again. If it stays so, ask the sender to send the message again.",
    )
    page = shown(row)
    assert "Not stored: the portal gave up, after 5 tries." in page
    assert "The message came cut short." in page
    assert "has not reached anybody through this portal" in page
    assert "Ask the sender to send the message again." in page
    assert "The portal tries again." not in page
    assert "National Service Desk on 0300 303 5035" in page


def test_a_paused_mailbox_is_said_where_a_message_waits(shown: Any, message: Any, mailbox: Any) -> None:
    page = shown(message(mailbox=mailbox(mode="paused")))
    assert "nothing will collect it: the mailbox is paused" in page


def test_what_left_a_watched_inbox_early_was_collected(shown: Any, message: Any) -> None:
    sent = timezone.now() - timedelta(days=3)
    early = message(state="left", sent_at=sent)
    event(early, "left", to_state="left", at=sent + timedelta(days=1))
    assert "before its five days were over: some client collected it." in shown(early)
    late = message(state="left", sent_at=sent - timedelta(days=10))
    event(late, "left", to_state="left", at=sent)
    assert "some client collected it, or MESH withdrew it after five days." in shown(late)


# --- Clocks -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", State.values)
def test_both_clocks_run_while_mesh_lists_it(message: Any, state: str) -> None:
    row = message(state=state, sent_at=timezone.now() - timedelta(days=1))
    labels = [clock.label for clock in words.clocks(row)]
    if state in IN_INBOX:
        assert labels == ["Leaves the inbox", "Deleted by MESH"]
    elif state == State.ACCEPTED:
        assert labels == ["Leaves the recipient’s inbox", "Deleted by MESH"]
    elif state in (State.GONE, State.LEFT, State.EXPIRED):
        assert labels == ["Can be restored; MESH deletes it"]
    else:
        assert labels == []


def test_clocks_that_ran_out_say_so(shown: Any, message: Any) -> None:
    page = shown(message(sent_at=timezone.now() - timedelta(days=6, hours=1)))
    assert "Was due to leave the inbox</span> <strong>1 day 1 hour ago" in page
    assert "MESH deleted it</span> <strong>1 day ago" in shown(message(state="gone", sent_at=timezone.now() - timedelta(days=31)))


def test_a_clock_without_the_time_of_acceptance_says_where_it_begins(shown: Any, message: Any) -> None:
    sentence = "MESH has not said when it took this message"
    assert sentence in shown(message(sent_at=None))
    assert sentence not in shown(message(sent_at=timezone.now()))


# --- Timeline -----------------------------------------------------------------------------------------------------------
def test_the_timeline_says_when_what_and_who(shown: Any, message: Any) -> None:
    row = message(body=b"letter")
    event(row, "seen", at=timezone.now() - timedelta(minutes=2))
    event(row, "stored", detail={"bytes": 6, "sha256": "ab" * 32, "chunks": 1, "attempt": 1})
    event(row, "body_read", actor_label="Asha Patel <asha@midshire.example>")
    event(row, "something_new", detail={"unknown": "PLANTED"})
    page = shown(row)
    assert page.index("Something new") < page.index("Body opened") < page.index("Downloaded and stored")
    assert "Asha Patel &lt;asha@midshire.example&gt;" in page
    assert "abababab" in page
    assert "6 bytes" in page
    assert "PLANTED" not in page


def test_hostile_details_are_text(shown: Any, message: Any) -> None:
    row = message()
    event(row, "download_failed", detail={"problem": "<script>alert(1)</script>\u202e", "attempt": ["x"]})
    page = shown(row)
    assert "<script>alert" not in page
    assert "[U+202E]" in page


def test_a_long_timeline_shows_its_latest_steps(shown: Any, message: Any) -> None:
    row = message()
    for _ in range(selectors.MAX_EVENTS + 5):
        event(row, "acknowledge_failed")
    assert f"Only the latest {selectors.MAX_EVENTS} steps are shown." in shown(row)


def test_every_kind_that_the_portal_writes_has_words(message: Any) -> None:
    import re
    from pathlib import Path

    source = "".join(path.read_text() for path in Path(words.__file__).parent.glob("*.py"))
    kinds = set(re.findall(r'kind="([a-z_]+)"', source)) | set(re.findall(r'records\.note\(\w+(?:\.\w+)?, "([a-z_]+)"', source))
    kinds |= {"discarded", "acknowledged", "report_received", "body_read", "body_downloaded"}
    assert kinds <= set(timeline._KINDS), kinds - set(timeline._KINDS)
    assert len(kinds) > 12


# --- What is sealed -----------------------------------------------------------------------------------------------------
def test_nothing_that_can_hold_patient_data_is_on_the_page(shown: Any, message: Any) -> None:
    row = message(
        body=b"PLANTED-BODY",
        subject="PLANTED-SUBJECT Smith",
        recipient_mailbox="",
        recipient_sealed="GPPROVIDER_PLANTED_SMITH_01011980",
        file_name=f"x{NHS_NUMBER}.pdf",
        local_id="943 476 5919",
        headers={
            "mex-subject": "PLANTED-SUBJECT Smith",
            "mex-to": "GPPROVIDER_PLANTED_SMITH_01011980",
            "mex-filename": f"x{NHS_NUMBER}.pdf",
            "mex-localid": "943 476 5919",
            "mex-workflowid": "TOC_FHIR_IP_DISCH",
            "x-hostile": "<script>alert(1)</script>\u202e",
        },
    )
    for role in ("viewer", "operator", "manager", "auditor"):
        page = shown(row, role)
        assert "PLANTED" not in page
        assert NHS_NUMBER not in page
        assert "943 476 5919" not in page
        assert "<script>alert" not in page
        assert "Hidden, 21 characters" in page
        assert "x[NHS number hidden].pdf" in page
        assert "mex-workflowid" in page


def test_columns_that_the_keys_do_not_open_are_a_sentence(shown: Any, message: Any, settings: Any) -> None:
    from cryptography.fernet import Fernet

    row = message(subject="s", headers={"mex-subject": "s"})
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    page = shown(row)
    assert "cannot be opened with the portal’s keys" in page
    assert row.mesh_id in page


# --- Reports ------------------------------------------------------------------------------------------------------------
def test_a_report_names_the_message_and_the_two_are_linked(shown: Any, message: Any) -> None:
    failed = message(body=b"letter")
    report = message(
        message_type="REPORT",
        body=b"",
        status_code="14",
        status_description="Message not collected by recipient after 5 days",
        linked_mesh_id=failed.mesh_id,
        linked_message=failed,
    )
    page = shown(report)
    assert f"This is a non-delivery report about message {failed.mesh_id}. Nobody collected the message within 5 days." in page
    assert "(MESH says: code 14, Message not collected by recipient after 5 days.)" in page
    assert f'href="{url_of(failed)}"' in page
    assert "Ask the recipient why it was not collected" in page
    other = shown(failed)
    assert "Reports about this message" in other
    assert f'href="{url_of(report)}"' in other


def test_a_report_about_an_unknown_message_is_unmatched(shown: Any, message: Any) -> None:
    page = shown(message(message_type="REPORT", body=b"", status_code="12", linked_mesh_id="20261101000000000001_FFFFFF"))
    assert "20261101000000000001_FFFFFF" in page
    assert "Unmatched" in page
    assert "present address" in page
    bare = shown(message(message_type="REPORT", body=b""))
    assert "does not say which message it is about" in bare


def test_code_14_has_two_meanings(message: Any) -> None:
    uncollected = timeline.report_words(Message(status_code="14", status_description="not collected after 5 days"))
    deactivated = timeline.report_words(Message(status_code="14", status_description="as the mailbox is deactivated"))
    assert "restore" in uncollected.advice
    assert "present address" in deactivated.advice


def test_reports_of_another_team_are_not_listed(shown: Any, message: Any, mailbox: Any, other_team: Any) -> None:
    failed = message()
    theirs = message(mailbox=mailbox(team=other_team), message_type="REPORT", linked_message=failed)
    assert theirs.mesh_id not in shown(failed)


def test_no_body_is_offered_where_there_is_none(shown: Any, message: Any) -> None:
    """A report has 0 bytes as a rule; its subject and its headers are still to be had for a reason."""
    empty = shown(message(body=b"", message_type="REPORT"))
    assert "View body" not in empty
    assert "View subject and headers" in empty
    assert "View body" in shown(message(body=b"x"))


# --- The page itself ----------------------------------------------------------------------------------------------------
def test_it_refreshes_only_while_the_portal_works_on_it(shown: Any, message: Any) -> None:
    assert 'data-refresh="10"' in shown(message(state="listed"))
    assert "data-refresh" not in shown(message(state="acknowledged"))
    assert "data-refresh" not in shown(message(state="quarantined"))


def test_the_fragment_is_where_it_stands_alone(signed_in: Any, message: Any) -> None:
    answer = signed_in("viewer").get(url_of(message()), headers={"HX-Request": "true", "HX-Target": "standing"})
    assert answer.content.decode().strip().startswith('<div id="standing"')
    assert "<html" not in answer.content.decode()


def test_what_the_service_desk_gets_names_no_patient(message: Any) -> None:
    row = message(file_name="SMITH.pdf", subject="SMITH", local_id="SMITH", problem="Cut short.", state="quarantined")
    text = words.for_service_desk(row)
    assert row.mesh_id in text
    assert row.mailbox.mailbox_id in text
    assert "SMITH" not in text


def test_another_teams_message_is_not_found(signed_in: Any, message: Any, mailbox: Any, other_team: Any, team: Any) -> None:
    theirs = message(mailbox=mailbox(team=other_team), body=b"x")
    browser = signed_in("manager")
    for route in ("detail", "body"):
        assert browser.get(url_of(theirs, route)).status_code == 404
        assert browser.get(reverse(f"messages:{route}", kwargs={"team": team.slug, "pk": theirs.pk})).status_code == 404
    for route in ("body", "download", "retry", "discard"):
        url = reverse(f"messages:{route}", kwargs={"team": team.slug, "pk": theirs.pk})
        assert browser.post(url, {"why": "delivery", "reason": "r", "confirm": "on"}).status_code == 404


def test_the_number_of_queries_does_not_depend_on_the_history(
    signed_in: Any, message: Any, django_assert_max_num_queries: Any
) -> None:
    row = message(body=b"x", subject="s", headers={"mex-subject": "s"})
    for _ in range(30):
        event(row, "acknowledge_failed")
        message(message_type="REPORT", linked_message=row, linked_mesh_id=row.mesh_id)
    browser = signed_in("manager")
    browser.get(url_of(row))
    # Session, person, membership, message, events, sealed columns, reports, hand-overs, teams.
    with django_assert_max_num_queries(11):
        browser.get(url_of(row))
