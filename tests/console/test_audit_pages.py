"""The audit list and its export."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.db import connection

from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.console import sentences
from meshportal.console.actions import ACTIONS
from meshportal.console.views.audit import AuditList

pytestmark = pytest.mark.django_db
ADDRESS = "/t/midshire/audit/"
PRIYA = Actor(kind="user", id="1", label="Priya Shah <priya@midshire.example>")


@pytest.fixture
def record(team: Any) -> Any:
    def make(action: str = "mailbox.poll_asked", *, target: Any = ("mailbox", "1", "Pathology (X26HC001)"), **fields: Any) -> Any:
        return audit.record(**{"actor": PRIYA, "team": team, "action": action, "target": target, **fields})

    return make


def page(browser: Any, query: str = "") -> str:
    answer = browser.get(f"{ADDRESS}{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def exported(browser: Any, query: str = "") -> list[dict[str, str]]:
    answer = browser.get(f"{ADDRESS}export/{query}")
    assert answer.status_code == 200
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.tenancy
@pytest.mark.parametrize(("role", "status"), [("viewer", 404), ("operator", 404), ("manager", 200), ("auditor", 200)])
def test_managers_and_auditors_see_it_and_nobody_else(role: str, status: int, signed_in: Any, team: Any) -> None:
    browser = signed_in(role)
    assert browser.get(ADDRESS).status_code == status
    assert browser.get(f"{ADDRESS}export/").status_code == status
    assert AuditEvent.objects.filter(action="audit.exported").exists() == (status == 200)


@pytest.mark.tenancy
def test_another_team_sees_neither_our_events_nor_sign_ins(signed_in: Any, record: Any, other_team: Any) -> None:
    record(reason="OURS")
    audit.record(actor=PRIYA, action="session.signed_in", target=("user", "1", "SIGN-IN"))
    browser = signed_in("auditor", team=other_team)
    assert browser.get(ADDRESS).status_code == 404
    assert browser.get(f"{ADDRESS}export/").status_code == 404
    html = browser.get("/t/otherton/audit/").content.decode()
    assert "OURS" not in html
    assert "SIGN-IN" not in html
    assert "Nothing is recorded for this team yet" in html
    assert "SIGN-IN" not in page(signed_in("auditor"))


def test_a_row_is_a_sentence_with_who_when_and_why(signed_in: Any, message: Any, team: Any) -> None:
    ours = message()
    with time_machine.travel(datetime(2026, 7, 1, 9, 5, 7, tzinfo=UTC), tick=False):
        audit.record(
            actor=PRIYA,
            action="message.body_read",
            target=ours,
            team=team,
            reason="The GP rang.",
            after={"mailbox": "X26HC001"},
        )
    html = page(signed_in("auditor"))
    assert "<strong>Priya Shah</strong>" in html
    assert "priya@midshire.example" in html
    assert f'read the body of <a href="/t/midshire/messages/{ours.pk}/">message {ours.mesh_id}</a>, in mailbox X26HC001' in html
    assert "The GP rang." in html
    assert "1 Jul 2026, 10:05:07 BST" in html
    assert "1 event<" in html


@pytest.mark.parametrize(
    ("action", "fields", "sentence"),
    [
        ("message.body_read", {}, "Priya Shah read the body of X"),
        ("message.body_downloaded", {"after": {"mailbox": "M1"}}, "Priya Shah downloaded the body of X, in mailbox M1"),
        ("message.retried", {}, "Priya Shah asked to try X again"),
        ("message.discarded", {}, "Priya Shah decided to acknowledge X without keeping it"),
        (
            "message.queued",
            {"after": {"mailbox": "M1", "recipient": "R1"}},
            "Priya Shah queued X, from mailbox M1 to R1",
        ),
        ("message.resent", {"after": {}}, "Priya Shah queued, as another one sent again, X"),
        ("message.cancelled", {}, "Priya Shah cancelled X before it was sent"),
        ("message.decided", {"after": {"arrived": True}}, "Priya Shah decided that X arrived"),
        ("message.decided", {"after": {"arrived": False}}, "Priya Shah decided to send X again"),
        (
            "bulk_resend.begun",
            {"after": {"messages": 1000, "left": 2, "filters": {"State": "Returned by MESH"}}},
            "Priya Shah began X of 1,000 messages, filtered by State “Returned by MESH”; left 2 messages as they were",
        ),
        ("bulk_resend.stopped", {"after": {"left": 1}}, "Priya Shah stopped X with 1 message left as they were"),
        ("restore_request.exported", {"after": {"messages": 2}}, "Priya Shah exported the X, 2 messages"),
        ("mailbox.poll_asked", {}, "Priya Shah asked for a poll of mailbox X"),
        ("mailbox.added", {"after": {"mode": "watch"}}, "Priya Shah added mailbox X in watch only mode"),
        (
            "mailbox.changed",
            {
                "before": {"mode": "watch", "password": "(sealed)", "workflow_filter": ""},
                "after": {"mode": "collect", "password": "(sealed)", "workflow_filter": "A*"},
            },
            "Priya Shah changed mailbox X: mode from “watch only” to “collect”; a new password; "
            "workflow filter from nothing to “A*”",
        ),
        ("certificate.added", {"after": {"subject": "RXX.example"}}, "Priya Shah added the certificate X, issued to RXX.example"),
        ("member.role_set", {"before": {"role": ""}, "after": {"role": "auditor"}}, "Priya Shah made X an auditor of this team"),
        (
            "member.role_set",
            {"before": {"role": "viewer"}, "after": {"role": "manager"}},
            "Priya Shah changed the role of X from viewer to manager",
        ),
        ("team.added", {}, "Priya Shah added the team X"),
        ("audit.exported", {"after": {"filters": {"person": "omar"}}}, "Priya Shah exported the X, filtered by person “omar”"),
        ("audit.exported", {"after": {"filters": {}}}, "Priya Shah exported the X, all of it"),
        ("thing.not_yet_known", {}, "Priya Shah did “thing: not yet known” on X"),
    ],
)
def test_sentences(action: str, fields: dict[str, Any], sentence: str, record: Any) -> None:
    assert sentences.sentence(record(action, target=("thing", "1", "X"), **fields)) == sentence


def test_every_action_of_the_filter_has_words() -> None:
    assert set(ACTIONS) == set(sentences._TELLINGS)


@pytest.mark.parametrize(
    ("actor", "who"),
    [
        (PRIYA, ("Priya Shah", "priya@midshire.example")),
        (Actor(kind="command", id="x", label="command line (x) by sam on web1"), ("Command line (x) by sam on web1", "")),
        (Actor.system("poller"), ("Meshportal poller", "")),
        (Actor(kind="user", id="1", label="No Address"), ("No Address", "")),
    ],
)
def test_who(actor: Actor, who: tuple[str, str], record: Any) -> None:
    assert sentences.who(record(actor=actor)) == who


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("person=priya", ["A", "B"]),
        ("person=omar", ["C"]),
        ("action=message.retried", ["B"]),
        ("object=letter", ["B"]),
        ("object=42", ["C"]),
        ("reason=gp+rang", ["A"]),
        ("since=2026-07-02", ["B", "C"]),
        ("until=2026-07-01", ["A"]),
        ("since=02/07/2026&until=02/07/2026", ["B"]),
        ("person=priya&reason=zzz", []),
        ("reason=50%25", ["C"]),
    ],
)
def test_filters(query: str, found: list[str], signed_in: Any, record: Any) -> None:
    # 1 July 23:30 UTC is already 2 July in London.
    for moment, fields in (
        (datetime(2026, 7, 1, 22, 30, tzinfo=UTC), {"reason": "A: the GP rang"}),
        (
            datetime(2026, 7, 1, 23, 30, tzinfo=UTC),
            {"action": "message.retried", "target": ("message", "7", "Letter 7"), "reason": "B"},
        ),
        (
            datetime(2026, 7, 3, 12, tzinfo=UTC),
            {
                "actor": Actor(kind="user", id="2", label="Omar <omar@x.example>"),
                "target": ("mailbox", "42", "Ward"),
                "reason": "C 50%",
            },
        ),
    ):
        with time_machine.travel(moment, tick=False):
            record(**fields)
    browser = signed_in("auditor")
    html = page(browser, f"?{query}")
    assert ("No event fits these filters" in html) == (not found)
    assert f"{len(found)} event{'' if len(found) == 1 else 's'}<" in html
    rows = exported(browser, f"?{query}")
    assert sorted(row["Reason"][0] for row in rows) == found


@pytest.mark.parametrize("query", ["since=yesterday", "since=1066-01-01", "action=nope", "person=%00", "reason=" + "a" * 201])
def test_a_filter_that_makes_no_sense_is_named_and_never_widens_an_export(query: str, signed_in: Any, record: Any) -> None:
    record(reason="Ours")
    browser = signed_in("auditor")
    html = page(browser, f"?{query}")
    assert "This filter was left out" in html
    assert "Ours" in html
    answer = browser.get(f"{ADDRESS}export/?{query}")
    assert answer.status_code == 302
    assert answer["Location"].startswith(f"{ADDRESS}?")
    assert not AuditEvent.objects.filter(action="audit.exported").exists()


def test_the_last_day_there_is_can_be_asked_for(signed_in: Any, record: Any) -> None:
    record()
    assert "1 event<" in page(signed_in("auditor"), "?until=9999-12-31")


def test_pages_hold_every_event_once(signed_in: Any, record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditList, "page_size", 4)
    with time_machine.travel(datetime(2026, 7, 1, tzinfo=UTC), tick=False):
        expected = [record().pk for _ in range(10)]
    browser = signed_in("auditor")
    answer = browser.get(f"{ADDRESS}?person=priya")
    seen = [row.event.pk for row in answer.context["rows"]]
    while older := answer.context["page"].older:
        answer = browser.get(f"{ADDRESS}?person=priya&cursor={older}")
        seen += [row.event.pk for row in answer.context["rows"]]
    assert seen == expected[::-1]
    assert "cursor" not in answer.context["export_url"]
    assert "person=priya" in answer.context["export_url"]


def test_the_export_is_recorded_before_its_first_byte_and_not_in_itself(signed_in: Any, record: Any) -> None:
    record(reason="Before")
    browser = signed_in("auditor")
    answer = browser.get(f"{ADDRESS}export/?person=priya")
    event = AuditEvent.objects.get(action="audit.exported")
    assert event.after == {"filters": {"person": "priya"}}
    assert event.actor_label.startswith("Auditor Person")
    assert event.team_label == "Midshire Hospitals"
    record(reason="While it streams")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
    assert [row["Reason"] for row in rows] == ["Before"]
    assert answer["Content-Disposition"].startswith('attachment; filename="audit-midshire-')
    assert audit.verify().broken is None


def test_the_export_is_for_get_alone(signed_in: Any, team: Any) -> None:
    browser = signed_in("auditor")
    assert browser.head(f"{ADDRESS}export/").status_code == 405
    assert browser.post(f"{ADDRESS}export/").status_code == 405
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_the_export_holds_no_formula(text: str, signed_in: Any, record: Any) -> None:
    record(reason=text, target=("mailbox", text, text))
    (row,) = exported(signed_in("auditor"))
    for name in ("Reason", "Object", "Object id"):
        assert row[name] == f"'{text}"


def test_hostile_text_is_text(signed_in: Any, record: Any) -> None:
    hostile = "<script>alert(1)</script>"
    record(actor=Actor(kind="user", id="1", label=f"{hostile} <x>"), target=("message", hostile, hostile), reason=hostile)
    record(hostile, target=("mailbox", "../../x", hostile), before={hostile: hostile}, after={hostile: hostile})
    html = page(signed_in("auditor"), "?person=%3Cscript%3E")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_an_event_that_was_altered_is_marked(signed_in: Any, record: Any) -> None:
    record(reason="true")
    browser = signed_in("auditor")
    assert "altered" not in page(browser)
    _rewrite_history()
    html = page(browser)
    assert "1 event on this page was altered" in html
    assert "</svg>Altered</strong>" in html


def _rewrite_history() -> None:
    """What somebody with the database's own password could do."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("DROP TRIGGER audit_auditevent_append_only ON audit_auditevent")
        else:
            cursor.execute("DROP TRIGGER audit_auditevent_no_update")
        cursor.execute("UPDATE audit_auditevent SET reason = 'false'")


def test_the_page_offers_the_command_that_reads_the_whole_chain(signed_in: Any, team: Any) -> None:
    assert "manage.py verify_audit" in page(signed_in("auditor"))


def test_thirty_events_cost_no_more_queries_than_one(signed_in: Any, record: Any, django_assert_max_num_queries: Any) -> None:
    for _ in range(30):
        record()
    browser = signed_in("auditor")
    page(browser)
    with django_assert_max_num_queries(8):
        page(browser)


def test_a_period_that_ends_before_it_begins_is_told(signed_in: Any) -> None:
    answer = signed_in("auditor").get("/t/midshire/audit/?since=2026-11-26&until=2026-11-20")
    assert "The period ends before it begins." in answer.content.decode()
