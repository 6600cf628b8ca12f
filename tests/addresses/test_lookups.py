"""Faults of lookups, their schedule and pace, who asks, and the daily search."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes.addresses import changes, lookups, overdue, pace, services, timing
from mailboxes.models import (
    AddressAnswer,
    AddressChange,
    AddressEntry,
    AddressPair,
    LookupPace,
    Mailbox,
    WorkflowDifference,
    WorkflowSearch,
)
from mailboxes.models.address import Drift
from meshportal.core.acts import Refused
from meshportal.notify import sweep
from meshportal.notify.models import Alert
from tests.addresses.conftest import ACTOR, NEW, OLD, OTHER, WORKFLOW, Asked, added, seen, work
from tests.conftest import Make
from tests.double import Double, faults

pytestmark = pytest.mark.django_db


def open_alerts() -> list[tuple[str, str, int]]:
    rows = Alert.objects.filter(kind=changes.CHANGED, closed_at__isnull=True).order_by("key")
    return [(alert.key, alert.sentence, alert.severity) for alert in rows]


def calls(double: Double, route: str = "lookup") -> int:
    return len(double.recorder.records(route=route))


# --- Faults -----------------------------------------------------------------------------------------------------------
@pytest.mark.faults
@pytest.mark.parametrize(
    ("action", "code"),
    [
        (faults.status(404), "not_found"),
        (faults.status(404, body="text"), "unexpected_answer"),
        (faults.status(400), "bad_request"),
        (faults.status(429), "throttled"),
        (faults.status(500), "server_error"),
        (faults.status(500, body="soap"), "server_error"),
        (faults.status(503), "unavailable"),
        (faults.status(200, body="text", message="{"), "unexpected_answer"),
        (faults.status(200, body="text", message='{"results": 1}'), "unexpected_answer"),
        (faults.status(200, body="text", message="[]"), "unexpected_answer"),
        (faults.status(200, body="html"), "unexpected_answer"),
        (faults.drop("after"), "connection_lost"),
        (faults.drop("during_answer"), "truncated"),
        (faults.hang(20), "timeout"),
    ],
)
def test_a_failure_changes_no_book_and_is_asked_again(
    team: Any, box: Mailbox, practice: Double, asked: Asked, action: Any, code: str
) -> None:
    entry = added(team)
    asked()
    verified = seen(entry).verified_at
    practice.faults.add(match={"route": "lookup"}, action=action, times=None)
    asked()
    practice.faults.clear()
    entry = seen(entry)
    assert (entry.mailbox_id, entry.drift, entry.verified_at) == (OLD, Drift.AGREES, verified)
    assert entry.pair.problem_code == code
    assert entry.pair.failures >= 1
    assert entry.pair.next_lookup_at is not None and entry.pair.next_lookup_at < timezone.now() + timedelta(seconds=10)
    latest = AddressAnswer.objects.latest("id")
    assert (latest.results, latest.problem_code) == (None, code)
    asked()
    assert (seen(entry).pair.problem_code, seen(entry).pair.failures) == ("", 0)
    assert not AddressChange.objects.exists()


@pytest.mark.faults
def test_an_answer_that_holds_rubbish_among_mailboxes(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = added(team)
    said = '{"results": [1, null, {"mailbox_name": "no id"}, {"mailbox_id": 7}, {"mailbox_id": "%s", "mailbox_name": null}]}'
    practice.faults.add(match={"route": "lookup"}, action=faults.status(200, body="text", message=said % OLD))
    asked()
    assert OLD in seen(entry).pair.ids


@pytest.mark.faults
def test_an_outage_leaves_the_environment_alone_and_its_end_mends_it(
    team: Any, box: Mailbox, practice: Double, asked: Asked, settings: Any
) -> None:
    settings.RETRY_BASE_SECONDS = 60
    for number in range(40):
        added(team, code=f"P{number:05d}", mailbox="X26HC001")
    practice.down()
    work()
    pace_row = LookupPace.objects.get()
    assert pace_row.failures >= 3
    assert pace_row.held_until is not None and pace_row.held_until > timezone.now()
    # Not all forty were tried at a wall, and none is tried while the environment is left alone.
    assert AddressAnswer.objects.count() <= 20
    assert work() == 0
    practice.up()
    asked()
    assert LookupPace.objects.get().failures == 0
    assert AddressPair.objects.filter(problem_code="").count() == 40
    assert not AddressChange.objects.exclude(kind="gone").exists()


@pytest.mark.faults
def test_one_that_always_fails_delays_no_other(team: Any, box: Mailbox, practice: Double, settings: Any) -> None:
    settings.RETRY_BASE_SECONDS = 60
    settings.MESH_LOOKUPS_PER_SECOND = {**settings.MESH_LOOKUPS_PER_SECOND, "sandbox": 5}
    bad = added(team, code="P00000")
    AddressPair.objects.filter(pk=bad.pair_id).update(next_lookup_at=timezone.now() - timedelta(days=1))
    practice.faults.add(match={"route": "lookup", "nth": 1}, action=faults.status(500))
    good = added(team)
    work()
    assert seen(bad).pair.problem_code == "server_error"
    assert seen(good).drift == Drift.AGREES
    assert LookupPace.objects.get().held_until is None


def test_a_service_that_asks_for_patience_gets_it(team: Any, box: Mailbox, practice: Double) -> None:
    added(team)
    practice.faults.add(match={"route": "lookup"}, action=faults.status(429, retry_after=120))
    work()
    held = LookupPace.objects.get().held_until
    assert held is not None and held > timezone.now() + timedelta(seconds=100)


def test_nobody_who_can_ask_is_said_once(team: Any, mailbox: Make, practice: Double, asked: Asked) -> None:
    entry = added(team)
    work()
    entry = seen(entry)
    assert entry.pair.problem_code == "nobody_to_ask"
    assert entry.pair.next_lookup_at is not None and entry.pair.next_lookup_at > timezone.now() + timedelta(minutes=10)
    asked()
    assert AddressAnswer.objects.count() == 1
    assert LookupPace.objects.get().failures == 0


def test_a_mailbox_that_cannot_sign_in_leaves_it_to_another(
    team: Any, box: Mailbox, mailbox: Make, practice: Double, asked: Asked
) -> None:
    first = min([box, mailbox(mailbox_id="X26HC002", identity=box.identity)], key=lambda one: one.pk)
    practice.add_mailbox("X26HC002")
    Mailbox.objects.filter(pk=first.pk).update(password="wrong")
    entry = added(team)
    asked()
    assert seen(entry).drift == Drift.AGREES

    def refused() -> int:
        return sum(one.status == 403 for one in practice.recorder.records(route=["lookup", "search"]))

    assert refused() == 1
    asked()
    assert refused() == 1


# --- Several teams, and who asks --------------------------------------------------------------------------------------
def test_what_several_teams_want_to_know_is_asked_once(
    team: Any, other_team: Any, box: Mailbox, practice: Double, asked: Asked
) -> None:
    ours, theirs = added(team), added(other_team, mailbox=NEW)
    asked()
    assert calls(practice) == 1
    assert (seen(ours).drift, seen(theirs).drift) == (Drift.AGREES, Drift.CHANGED)
    assert [alert.team for alert in Alert.objects.filter(kind=changes.CHANGED)] == [other_team]
    services.confirm(actor=ACTOR, entry=theirs, mailbox_id=OLD, reason="a typing error")
    assert seen(ours).drift == Drift.AGREES
    assert open_alerts() == []


def test_a_team_without_the_question_in_its_book_asks_for_nobody(
    team: Any, other_team: Any, box: Mailbox, practice: Double, asked: Asked
) -> None:
    theirs = added(other_team)
    asked()
    assert calls(practice) == 0
    assert seen(theirs).pair.problem_code == "nobody_to_ask"


def test_a_removed_entry_is_asked_for_no_more_and_comes_back_with_traffic(
    team: Any, box: Mailbox, practice: Double, asked: Asked
) -> None:
    entry = added(team)
    asked()
    practice.update_mailbox(OLD, active=False)
    asked()
    assert len(open_alerts()) == 1
    services.remove(actor=ACTOR, entry=entry, reason="closed")
    assert open_alerts() == []
    before = calls(practice)
    asked()
    assert calls(practice) == before
    with pytest.raises(Refused):
        services.check_now(actor=ACTOR, entry=entry)
    services.note_seen(team_id=team.pk, environment="sandbox", ods_code="G81086", workflow_id=WORKFLOW, mailbox_id=NEW)
    practice.add_mailbox(NEW, ods_code="G81086", workflows=(WORKFLOW,))
    asked()
    entry = seen(entry)
    assert (entry.mailbox_id, entry.drift, entry.removed_at) == (NEW, Drift.AGREES, None)


# --- When -------------------------------------------------------------------------------------------------------------
def test_each_has_its_minute_of_the_night_and_a_day_lies_between() -> None:
    now = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    turns = {timing.tonight(str(number), now) for number in range(500)}
    assert {turn.hour for turn in turns} == {1}
    assert len(turns) > 300
    assert max(turns) - min(turns) < timedelta(minutes=20)
    turn = timing.tonight("one", now)
    for _ in range(3):
        # Also over the night in which the clocks change.
        following = timing.tonight("one", turn + timedelta(seconds=3))
        assert following - turn == timedelta(days=1)
        turn = following
    assert timing.tonight("one", turn - timedelta(seconds=1)) == turn


def test_a_report_of_a_wrong_address_is_followed_at_once(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry, other = added(team), added(team, workflow=OTHER)
    asked()
    before = calls(practice)
    # Asked a moment ago: a thousand reports ask once.
    assert services.check_soon(environment="sandbox", mailbox_id=OLD) == 0
    AddressPair.objects.update(asked_at=timezone.now() - timedelta(minutes=2))
    assert services.check_soon(environment="sandbox", mailbox_id=OLD, workflow_id=OTHER) == 1
    assert services.check_soon(environment="sandbox", mailbox_id=OLD) == 1
    assert services.check_soon(environment="sandbox", mailbox_id=OLD) == 0
    assert services.check_soon(environment="int", mailbox_id=OLD) == 0
    assert services.check_soon(environment="sandbox") == 0
    assert seen(entry).pair.urgent and seen(other).pair.urgent
    work()
    assert calls(practice) == before + 2
    assert not seen(entry).pair.urgent


def test_what_is_urgent_goes_before_the_nightly_ones(team: Any, box: Mailbox, practice: Double, settings: Any) -> None:
    settings.MESH_LOOKUPS_PER_SECOND = {**settings.MESH_LOOKUPS_PER_SECOND, "sandbox": 5}
    for number in range(20):
        added(team, code=f"P{number:05d}")
    AddressPair.objects.update(urgent=False, next_lookup_at=timezone.now() - timedelta(hours=1))
    WorkflowSearch.objects.update(next_search_at=None)
    last = added(team)
    WorkflowSearch.objects.update(next_search_at=None)
    job = lookups.claim_due()
    assert job is not None
    job()
    assert seen(last).drift == Drift.AGREES


def test_a_check_that_is_asked_for_meanwhile_is_not_lost(team: Any, box: Mailbox, practice: Double) -> None:
    entry = added(team)
    WorkflowSearch.objects.update(next_search_at=None)
    job = lookups.claim_due()
    assert job is not None
    AddressPair.objects.update(next_lookup_at=timezone.now(), urgent=True)
    job()
    pair = seen(entry).pair
    assert pair.urgent and pair.next_lookup_at is not None and pair.next_lookup_at <= timezone.now()


def test_a_switch_is_looked_at_every_hour(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = added(team)
    asked()
    AddressPair.objects.update(asked_at=timezone.now() - timedelta(minutes=5))
    until = timezone.now() + timedelta(days=2)
    assert services.watch_hourly(environment="sandbox", ods_code="g81086", until=until) == 1
    work()
    planned = seen(entry).pair.next_lookup_at
    assert planned is not None and planned <= timezone.now() + timedelta(hours=1)
    AddressPair.objects.update(hourly_until=timezone.now())
    asked()
    assert seen(entry).pair.next_lookup_at == timing.tonight(str(entry.pair_id), seen(entry).pair.asked_at or until)


def test_the_pace_is_kept_by_all_workers_together(team: Any, box: Mailbox, practice: Double, settings: Any) -> None:
    settings.MESH_LOOKUPS_PER_SECOND = {**settings.MESH_LOOKUPS_PER_SECOND, "sandbox": 20}
    starts = []
    for _ in range(5):
        wait, gap = pace.reserve("sandbox", 4)
        starts.append(wait)
        assert gap == pytest.approx(0.05)
    distances = [after - before for before, after in itertools.pairwise(starts)]
    assert all(0.05 <= distance <= 0.2 for distance in distances), distances
    assert not pace.may_ask("sandbox", timezone.now() - timedelta(seconds=2))
    assert pace.may_ask("sandbox", timezone.now())
    assert pace.may_ask("live", timezone.now())
    for number in range(12):
        added(team, code=f"P{number:05d}")
    work()
    records = practice.recorder.records(route=["lookup", "search"])
    assert len(records) == 13
    assert records[-1].started - records[0].started >= 12 * 0.05 - 0.1


def test_a_book_that_nobody_checks_is_an_alert(team: Any, other_team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = added(team)
    added(team, workflow=OTHER)
    asked()
    later = timezone.now() + timedelta(hours=25)
    assert list(overdue.find(later)) == []
    [condition] = overdue.find(timezone.now() + timedelta(hours=27))
    assert (condition.team, condition.key) == (team, "sandbox")
    assert f"{condition.subject} {condition.sentence}" == (
        "2 addresses (sandbox) were not checked with MESH for more than a day."
    )
    services.remove(actor=ACTOR, entry=entry, reason="closed")
    theirs = added(other_team, code="P00001")
    AddressEntry.objects.filter(pk=theirs.pk).update(created_at=timezone.now() - timedelta(hours=27))
    [condition] = overdue.find(timezone.now())
    assert (condition.team, condition.subject) == (other_team, "1 address (sandbox)")
    sweep.run(timezone.now())
    assert Alert.objects.filter(kind=overdue.OVERDUE, closed_at__isnull=True).count() == 1


# --- The daily search -------------------------------------------------------------------------------------------------
def test_the_daily_search_keeps_what_came_and_went(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    added(team)
    asked()
    row = WorkflowSearch.objects.get()
    assert set(row.members) == {OLD}
    assert row.next_search_at is not None and row.next_search_at > timezone.now()
    assert not WorkflowDifference.objects.exists()
    practice.update_mailbox(OLD, active=False)
    practice.add_mailbox(NEW, ods_code="G81086", workflows=(WORKFLOW,))
    asked()
    [difference] = WorkflowDifference.objects.all()
    assert [one["id"] for one in difference.appeared] == [NEW]
    assert [one["id"] for one in difference.vanished] == [OLD]
    assert difference.total == 1
    asked()
    assert WorkflowDifference.objects.count() == 1
    practice.faults.add(match={"route": "search"}, action=faults.status(500))
    asked()
    row = WorkflowSearch.objects.get()
    assert (row.failures, set(row.members)) == (1, {NEW})
    assert "MESH" in row.problem
    asked()
    assert WorkflowSearch.objects.get().failures == 0
