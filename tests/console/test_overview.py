"""The overview: one line per problem, oldest first; calm when there is none; first steps for a new team."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from meshportal.celery import QUEUES
from meshportal.console import attention
from meshportal.console.line import Line
from meshportal.core.heartbeats import QueueHealth, queue_health
from meshportal.core.models import WorkerHeartbeat

pytestmark = pytest.mark.django_db
ADDRESS = "/t/midshire/"


@pytest.fixture
def workers(db: None) -> None:
    for queue in QUEUES:
        WorkerHeartbeat.objects.create(queue=queue, seen_at=timezone.now())


@pytest.fixture
def healthy(mailbox: Any) -> Any:
    def make(**fields: Any) -> Any:
        now = timezone.now()
        return mailbox(**{"last_polled_at": now - timedelta(minutes=2), "last_handshake_at": now, **fields})

    return make


def page(browser: Any) -> str:
    answer = browser.get(ADDRESS)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def lines(team: Any) -> list[Line]:
    now = timezone.now()
    return attention.lines(team, queue_health(QUEUES, now), now)


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
def test_all_clear_for_every_role(role: str, signed_in: Any, workers: None, healthy: Any, message: Any) -> None:
    message(mailbox=healthy())
    healthy()
    html = page(signed_in(role))
    assert "All 2 mailboxes were polled</span> in the last <time>3 minutes</time>." in html
    assert "Needs attention" not in html
    assert "First steps" not in html


def test_all_clear_counts_the_paused_and_the_new(signed_in: Any, workers: None, healthy: Any) -> None:
    healthy()
    healthy()
    healthy(mode="paused")
    healthy(last_polled_at=None)
    html = page(signed_in("viewer"))
    assert "2 of 4 mailboxes were polled" in html
    assert "1 is paused." in html
    assert "1 waits for its first poll." in html


@pytest.mark.tenancy
def test_a_stranger_and_another_team(client: Any, signed_in: Any, team: Any, other_team: Any) -> None:
    assert client.get(ADDRESS)["Location"].startswith("/sign-in/")
    assert signed_in("manager", team=other_team).get(ADDRESS).status_code == 404


@pytest.mark.tenancy
def test_nothing_of_another_team_is_shown(
    signed_in: Any, workers: None, healthy: Any, message: Any, identity: Any, other_team: Any
) -> None:
    ours = healthy(name="OURS", problem_code="x", problem="OUR PROBLEM", problem_since=timezone.now())
    message(mailbox=ours, state="quarantined")
    healthy(name="Theirs", team=other_team)
    html = signed_in("viewer", team=other_team).get("/t/otherton/").content.decode()
    assert "OURS" not in html
    assert "OUR PROBLEM" not in html
    assert identity.name not in html
    assert "The mailbox was polled" in html


def test_lines_stand_oldest_first_each_with_its_act(
    signed_in: Any, workers: None, healthy: Any, message: Any, identity: Any
) -> None:
    now = timezone.now()
    broken = healthy(
        name="Broken", problem_code="timeout", problem="MESH did not answer.", problem_advice="Wait.",
        problem_since=now - timedelta(hours=2),
    )  # fmt: skip
    late = healthy(name="Slow", last_polled_at=now - timedelta(hours=5))
    full = healthy(name="Full")
    message(mailbox=full, state="quarantined", seen_at=now - timedelta(days=4))
    message(mailbox=full, state="quarantined", seen_at=now - timedelta(days=1))
    identity.not_after = now + timedelta(days=12)
    identity.save()
    found = lines(broken.team)
    assert [line.subject for line in found] == [
        "Certificate “Midshire 2026”",
        f"Full ({full.mailbox_id})",
        f"Slow ({late.mailbox_id})",
        f"Broken ({broken.mailbox_id})",
    ]
    assert [line.act for line in found] == ["See the mailboxes", "See the messages", "Open the mailbox", "Open the mailbox"]
    assert found[1].url == f"/t/midshire/mailboxes/{full.pk}/inbox/?state=quarantined"
    assert found[1].moment == now - timedelta(days=4) + timedelta(days=5)
    assert found[1].sentence == "has 2 messages that could not be stored."
    html = page(signed_in("viewer"))
    assert "Needs attention: 4 problems" in html
    for line in found:
        assert f'href="{line.url}"'.replace("&", "&amp;") in html
        assert line.advice in html


def test_one_cause_is_one_line(workers: None, healthy: Any, team: Any) -> None:
    for number in range(9):
        healthy(
            name=f"Ward {number}", problem_code="no_shared_key", problem="No shared key.", problem_advice="Set it.",
            problem_since=timezone.now() - timedelta(minutes=number),
        )  # fmt: skip
    for number in range(5):
        healthy(name=f"Late {number}", last_polled_at=timezone.now() - timedelta(hours=1 + number))
    late, problem = lines(team)
    assert problem.subject == "9 mailboxes (Ward 0, Ward 1 and 7 more):"
    assert problem.url == "/t/midshire/mailboxes/?state=problem"
    assert late.subject.startswith("5 mailboxes")
    assert late.url == "/t/midshire/mailboxes/?state=late"
    assert problem.moment is not None
    assert timezone.now() - problem.moment > timedelta(minutes=7)


def test_an_expired_certificate_is_one_line_for_all_its_mailboxes(workers: None, healthy: Any, identity: Any, team: Any) -> None:
    identity.not_after = timezone.now() - timedelta(days=2)
    identity.save()
    for _ in range(2):
        healthy(problem_code="certificate_expired", problem="It expired.", problem_since=timezone.now())
    healthy(mode="paused")
    (line,) = lines(team)
    assert line.tone == "bad"
    assert line.sentence == "has expired: 2 mailboxes are not polled."


def test_a_certificate_that_no_worked_mailbox_uses_needs_nobody(workers: None, healthy: Any, identity: Any, team: Any) -> None:
    identity.not_after = timezone.now() - timedelta(days=2)
    identity.save()
    healthy(mode="paused")
    assert lines(team) == []


def test_silent_queues_are_problems(healthy: Any, team: Any) -> None:
    healthy()
    assert [line.subject for line in lines(team)] == ["Workers"]
    for queue in ("default", "notify"):
        WorkerHeartbeat.objects.create(queue=queue, seen_at=timezone.now())
    (line,) = lines(team)
    assert (line.subject, line.moment_words) == ("Queues “poll”, “send” and “hand_over”", "Never seen yet")
    assert line.sentence == "are silent: no mailbox is polled, no message is sent, and no message is handed on."
    WorkerHeartbeat.objects.create(queue="hand_over", seen_at=timezone.now())
    WorkerHeartbeat.objects.create(queue="poll", seen_at=timezone.now())
    (line,) = lines(team)
    assert (line.subject, line.sentence) == ("Queue “send”", "is silent: no message is sent.")
    WorkerHeartbeat.objects.create(queue="send", seen_at=timezone.now())
    WorkerHeartbeat.objects.filter(queue="poll").update(seen_at=timezone.now() - timedelta(hours=1))
    (line,) = lines(team)
    assert line.moment_words == "Silent since"
    WorkerHeartbeat.objects.filter(queue="poll").update(seen_at=timezone.now() - WorkerHeartbeat.LATE_AFTER / 2)
    assert lines(team) == []


def test_what_became_of_sent_messages_needs_a_person(workers: None, healthy: Any, message: Any, team: Any) -> None:
    box = healthy(name="Clinic letters")
    for state in ("uncertain", "uncertain", "returned", "refused", "expired", "collected", "queued", "accepted"):
        message(mailbox=box, state=state)
    found = {line.act: line for line in lines(team)}
    address = f"/t/midshire/mailboxes/{box.pk}/outbox/?state="
    assert {act: line.url for act, line in found.items()} == {
        "Decide": f"{address}uncertain",
        "See what was returned": f"{address}returned",
        "See what was refused": f"{address}refused",
        "See what was not collected": f"{address}expired",
    }
    assert found["Decide"].subject == f"Clinic letters ({box.mailbox_id})"
    assert found["Decide"].sentence == "sent 2 messages of which nobody knows whether MESH accepted them."
    assert found["See what was refused"].sentence == "sent 1 message that MESH did not take."
    assert found["See what was returned"].moment_words == "It was returned"


def test_what_came_back_stands_there_for_a_week_and_a_decision_until_it_is_made(
    workers: None, healthy: Any, message: Any, team: Any
) -> None:
    from messages.models import Message

    box = healthy()
    for state in ("uncertain", "returned", "refused", "expired"):
        message(mailbox=box, state=state, seen_at=timezone.now() - timedelta(days=10))
    assert len(lines(team)) == 4
    Message.objects.update(updated_at=timezone.now() - timedelta(days=8))
    assert [line.act for line in lines(team)] == ["Decide"]


def test_queue_health_names_every_queue(db: None) -> None:
    now = timezone.now()
    WorkerHeartbeat.objects.create(queue="poll", seen_at=now)
    assert queue_health(("poll", "default"), now) == [QueueHealth("poll", now, True), QueueHealth("default", None, False)]


def test_healthz_says_the_same(client: Any, workers: None) -> None:
    answer = client.get("/healthz").json()
    assert answer["ok"] is True
    assert set(answer["queues"]) == set(QUEUES)
    assert all(re.match(r"\d{4}-", state["seen_at"]) for state in answer["queues"].values())


def test_a_wrong_clock_is_one_line_not_one_for_each_mailbox(workers: None, healthy: Any, team: Any) -> None:
    healthy(clock_skew_seconds=900)
    healthy(clock_skew_seconds=900)
    (line,) = lines(team)
    assert "15 minutes ahead of" in line.sentence


def test_the_number_of_lines_is_bounded(workers: None, healthy: Any, team: Any, signed_in: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(attention, "MOST_LINES", 3)
    for number in range(6):
        healthy(problem_code="x", problem=f"Problem {number}.", problem_since=timezone.now())
    assert len(lines(team)) == 4
    html = page(signed_in("viewer"))
    assert "Needs attention: 3 and more" in html
    assert html.count('class="portal-attention__line') == 3


def test_first_steps(signed_in: Any, team: Any, request: Any) -> None:
    browser = signed_in("manager")
    html = page(browser)
    assert "First steps" in html
    assert '<a href="/t/midshire/certificates/import/">Add a certificate</a>' in html
    assert '<a href="/t/midshire/mailboxes/add/">Add a mailbox</a>' in html
    assert "Needs attention" not in html
    assert "A manager of your team can add it." in page(signed_in("viewer"))
    request.getfixturevalue("identity")
    assert "/certificates/import/" not in page(browser)
    ours = request.getfixturevalue("mailbox")()
    html = page(browser)
    assert "/mailboxes/add/" not in html
    assert "See a message arrive" in html
    request.getfixturevalue("message")(mailbox=ours)
    assert "First steps" not in page(browser)


def test_hostile_text_is_text(signed_in: Any, workers: None, healthy: Any, identity: Any) -> None:
    hostile = "<script>alert(1)</script>"
    identity.name, identity.not_after = hostile, timezone.now() + timedelta(days=1)
    identity.save()
    healthy(name=hostile, problem_code="x", problem=hostile, problem_advice=hostile, problem_since=timezone.now())
    assert "<script>alert" not in page(signed_in("viewer"))


def test_the_overview_refreshes_as_a_fragment(signed_in: Any, workers: None, healthy: Any) -> None:
    healthy()
    answer = signed_in("viewer").get(ADDRESS, headers={"HX-Request": "true", "HX-Target": "overview"})
    html = answer.content.decode()
    assert html.strip().startswith('<div id="overview"')
    assert "<h1" not in html


def test_thirty_mailboxes_cost_no_more_queries_than_one(
    signed_in: Any, workers: None, healthy: Any, message: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        ours = healthy(name=f"Ward {number}", problem_code="x", problem=f"Problem {number}.", problem_since=timezone.now())
        message(mailbox=ours, state="quarantined")
        message(mailbox=ours, state="returned")
    browser = signed_in("viewer")
    html = page(browser)
    assert "See what was returned" in html
    assert "Queue “send”, which sends messages" in html
    with django_assert_max_num_queries(24):
        page(browser)


def test_home_goes_to_the_only_team(signed_in: Any, team: Any) -> None:
    assert signed_in("viewer").get("/")["Location"] == ADDRESS


def test_home_asks_which_of_several_teams(signed_in: Any, team: Any, other_team: Any, healthy: Any) -> None:
    from meshportal.accounts.models import Membership, User

    browser = signed_in("viewer")
    Membership.objects.create(user=User.objects.get(), team=other_team, role="manager")
    healthy(problem_code="x", problem="x", problem_since=timezone.now())
    html = browser.get("/").content.decode()
    assert "Choose a team" in html
    assert "1 mailbox needs a person" in html
    assert 'href="/t/otherton/"' in html
    assert "Your role: manager" in html


def test_home_is_friendly_to_a_person_without_a_team(client: Any, db: None) -> None:
    from meshportal.accounts.models import User

    client.force_login(User.objects.create_user("nora@example.org", full_name="Nora Nobody"))
    answer = client.get("/")
    assert answer.status_code == 200
    assert "You are in no team yet" in answer.content.decode()
    assert "nora@example.org" in answer.content.decode()


def test_a_non_delivery_report_is_a_problem_for_a_week(signed_in: Any, workers: None, healthy: Any, message: Any) -> None:
    ours = healthy(name="Letters")
    report = message(mailbox=ours, body=b"", message_type="REPORT", status_code="14")
    html = page(signed_in("viewer"))
    assert "has a non-delivery report" in html
    assert f"/mailboxes/{ours.pk}/inbox/?type=REPORT" in html
    type(report).objects.update(seen_at=timezone.now() - timedelta(days=8))
    assert "non-delivery report" not in page(signed_in("operator"))


def test_a_mailbox_that_is_paused_for_more_than_a_day_is_a_problem(signed_in: Any, workers: None, healthy: Any) -> None:
    ours = healthy(name="Forgotten", mode="paused")
    browser = signed_in("viewer")
    assert "Messages that nobody collects leave MESH after 5 days." not in page(browser)
    type(ours).objects.update(updated_at=timezone.now() - timedelta(days=2))
    assert "Forgotten" in page(browser)
    assert "Messages that nobody collects leave MESH after 5 days." in page(browser)
