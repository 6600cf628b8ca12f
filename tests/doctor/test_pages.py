"""The doctor's page and command: who may, what is recorded, what comes piece by piece, and how often MESH is listed."""

from __future__ import annotations

import io
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from mailboxes import doctor
from mailboxes.doctor import State, wire
from mailboxes.models import Mailbox
from meshportal.audit.models import AuditEvent
from meshportal.mesh import MeshClient
from tests.conftest import Make
from tests.doctor.conftest import Examine
from tests.double import Double, faults
from tests.receive.conftest import BOX

pytestmark = pytest.mark.django_db


def address(box: Mailbox, rest: str = "doctor/") -> str:
    return f"/t/{box.team.slug}/mailboxes/{box.pk}/{rest}"


def pieces(answer: Any) -> list[str]:
    assert answer.status_code == 200
    return [piece.decode() for piece in answer.streaming_content]


# --- The page ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("role", ["operator", "manager"])
def test_the_check_comes_step_by_step(box: Mailbox, double: Double, signed_in: Any, role: str) -> None:
    browser = signed_in(role)
    assert "Check the connection" in browser.get(address(box, "")).content.decode()
    before = browser.get(address(box)).content.decode()
    assert "Check the connection" in before and doctor.STEPS["tls"] in before
    assert double.connections == 0
    answer = browser.post(address(box))
    assert answer["X-Accel-Buffering"] == "no"
    assert answer["Cache-Control"].startswith("max-age=0")
    got = pieces(answer)
    # The page's head, a piece for each step, what is between, the outcome, the page's end.
    assert len(got) == len(doctor.STEPS) + 4
    for piece, name in zip(got[1:], doctor.STEPS.values(), strict=False):
        assert f"<strong>{name}</strong>" in piece
    page = "".join(got)
    assert page.count("<h1") == 1 and page.rstrip().endswith("</html>")
    assert "The mailbox connects" in page
    assert 'data-copy="MESH connection check' in page
    event = AuditEvent.objects.get(action="mailbox.checked")
    assert (event.action, event.target_id) == ("mailbox.checked", str(box.pk))
    assert event.actor_label.startswith(role.title())


def test_the_act_is_recorded_before_the_first_step(box: Mailbox, double: Double, signed_in: Any) -> None:
    answer = signed_in("operator").post(address(box))
    assert AuditEvent.objects.filter(action="mailbox.checked").count() == 1
    assert double.connections == 0
    answer.close()


@pytest.mark.tenancy
@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_who_may_not_poll_may_not_check(box: Mailbox, double: Double, signed_in: Any, role: str) -> None:
    browser = signed_in(role)
    assert "Check the connection" not in browser.get(address(box, "")).content.decode()
    assert browser.get(address(box)).status_code == 404
    assert browser.post(address(box)).status_code == 404
    assert double.connections == 0
    assert not AuditEvent.objects.filter(action="mailbox.checked").exists()


@pytest.mark.tenancy
def test_another_teams_mailbox_is_not_there(box: Mailbox, double: Double, signed_in: Any, other_team: Any) -> None:
    browser = signed_in("manager", team=other_team)
    assert browser.post(f"/t/otherton/mailboxes/{box.pk}/doctor/").status_code == 404
    assert double.connections == 0


def test_a_failure_shows_its_cause_and_remedy(box: Mailbox, double: Double, signed_in: Any) -> None:
    double.update_mailbox(BOX, password="another")
    page = "".join(pieces(signed_in("operator").post(address(box))))
    assert "The connection fails at “Sign-in”" in page
    assert "What to do:" in page
    assert "“Sign-in” failed, so this" in page
    assert "portal-verdict--bad" in page


def test_words_of_others_are_escaped(box: Mailbox, double: Double, signed_in: Any) -> None:
    double.faults.add(match={"route": "handshake"}, action=faults.status(403, message="<script>alert(1)</script>"), times=None)
    page = "".join(pieces(signed_in("operator").post(address(box))))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_no_secret_stands_in_the_page(box: Mailbox, double: Double, signed_in: Any) -> None:
    secret = "PLANTED-password"
    double.update_mailbox(BOX, password=secret)
    box.password = secret
    box.save()
    double.put(BOX, b"PLANTED body", subject="PLANTED-SUBJECT")
    page = "".join(pieces(signed_in("operator").post(address(box))))
    assert "The mailbox connects" in page
    assert "PLANTED" not in page and "TestKey" not in page and "NHSMESH" not in page


def test_whoever_leaves_ends_the_check(box: Mailbox, double: Double, signed_in: Any) -> None:
    answer = signed_in("operator").post(address(box))
    pieces = iter(answer.streaming_content)
    for _ in range(3):
        next(pieces)
    answer.close()
    assert double.recorder.records() == []


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_while_something_is_waited_for(
    box: Mailbox, double: Double, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def watched(name: str, act: Any) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            held.append((name, connection.connection is not None))
            return act(*given, **options)

        return call

    for place, name in (
        (wire, "resolve"),
        (wire, "connect"),
        (MeshClient, "handshake"),
        (MeshClient, "inbox_page"),
        (MeshClient, "lookup"),
    ):
        monkeypatch.setattr(place, name, watched(name, getattr(place, name)))
    examine(box, workflows=["TEST_WORKFLOW"])
    assert held == [(name, False) for name in ("resolve", "connect", "handshake", "inbox_page", "lookup")]


# --- How often MESH is listed (P5) ------------------------------------------------------------------------------------------
def test_a_second_check_lists_no_second_time(box: Mailbox, double: Double, examine: Examine) -> None:
    Mailbox.objects.filter(pk=box.pk).update(next_poll_at=timezone.now())
    assert examine(box)["inbox"].state == State.GOOD
    box.refresh_from_db()
    assert box.last_listed_at is not None
    assert box.next_poll_at >= box.last_listed_at + timedelta(seconds=60)
    again = examine(box)["inbox"]
    assert (again.state, again.code) == (State.SKIPPED, "not_listed")
    assert "listed at" in again.found
    assert len(double.recorder.listings(BOX)) == 1


def test_a_poll_that_is_due_later_is_not_brought_forward(box: Mailbox, double: Double, examine: Examine) -> None:
    later = timezone.now() + timedelta(minutes=4)
    Mailbox.objects.filter(pk=box.pk).update(next_poll_at=later)
    examine(box)
    box.refresh_from_db()
    assert box.next_poll_at == later


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mode": "paused"}, "paused"),
        ({"lease_token": uuid.uuid4(), "lease_until": timedelta(minutes=1)}, "being polled right now"),
        ({"last_listed_at": timedelta(seconds=-30)}, "listed at"),
    ],
    ids=["paused", "being polled", "just listed"],
)
def test_the_listing_is_left_out(box: Mailbox, double: Double, examine: Examine, fields: dict[str, Any], said: str) -> None:
    now = timezone.now()
    given = {name: now + value if isinstance(value, timedelta) else value for name, value in fields.items()}
    Mailbox.objects.filter(pk=box.pk).update(**given)
    results = examine(box)
    assert results["inbox"].state == State.SKIPPED and said in results["inbox"].found
    assert results["sign_in"].state == State.GOOD
    assert double.recorder.listings(BOX) == []


def test_a_watched_mailbox_is_counted_and_nothing_taken(box: Mailbox, double: Double, examine: Examine) -> None:
    Mailbox.objects.filter(pk=box.pk).update(mode="watch")
    put = double.put_many(BOX, 3)
    found = examine(box)["inbox"]
    assert found.state == State.GOOD and "left for this mailbox’s own client" in found.found
    assert double.inbox(BOX) == [one.message_id for one in put]
    assert double.recorder.gets(BOX) == [] and double.recorder.acks(BOX) == []


# --- The command ------------------------------------------------------------------------------------------------------------
def test_the_command_prints_the_steps(box: Mailbox, double: Double, message: Make) -> None:
    message(mailbox=box, workflow_id="TEST_WORKFLOW")
    message(mailbox=box, workflow_id="SENT_ONLY", state="accepted")
    out = io.StringIO()
    call_command("doctor", BOX, stdout=out)
    told = out.getvalue()
    assert all(name in told for name in doctor.STEPS.values())
    assert "The mailbox connects" in told
    assert "- TEST_WORKFLOW: X26HC001" in told and "SENT_ONLY" not in told
    event = AuditEvent.objects.get(action="mailbox.checked")
    assert event.actor_kind == "command" and event.request_id


def test_the_command_exits_1_when_a_step_failed(box: Mailbox, double: Double) -> None:
    double.update_mailbox(BOX, active=False)
    out = io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("doctor", BOX, "--json", stdout=out)
    assert left.value.code == 1
    told = json.loads(out.getvalue())
    assert told["verdict"] == "bad" and told["mailbox"] == BOX
    assert [one["step"] for one in told["steps"]] == list(doctor.STEPS)
    assert {one["step"]: one["code"] for one in told["steps"]}["sign_in"] == "mailbox_inactive"


def test_the_command_knows_which_mailbox(mailbox: Make) -> None:
    with pytest.raises(CommandError, match="There is no mailbox"):
        call_command("doctor", "X26HC404")
    for environment in ("sandbox", "int"):
        mailbox(mailbox_id="X26HC001", environment=environment, identity=None)
    with pytest.raises(CommandError, match="say which with --environment"):
        call_command("doctor", "X26HC001")
    with pytest.raises(SystemExit):
        call_command("doctor", "X26HC001", "--environment", "int", stdout=io.StringIO())
