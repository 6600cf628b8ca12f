"""What each rule finds and what it leaves alone; a rule that breaks stops no other; the sweep's turn, and passing on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import alerts as of_mailboxes
from mailboxes.models import Mailbox, Outlet, WatchedFolder
from meshportal.core.models import WorkerHeartbeat
from meshportal.core.queues import QUEUES
from meshportal.notify import registry, rules, services, sweep
from meshportal.notify.models import Alert, AlertEvent, Channel, Turn
from meshportal.notify.registry import Condition, Rule
from messages.models import Ack, FolderPickup, HandOver, Message
from tests.notify.conftest import ACTOR, MINOR, PERSON, THING, Holding

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def workers(db: None) -> None:
    for queue in QUEUES:
        WorkerHeartbeat.objects.create(queue=queue, seen_at=timezone.now())


@pytest.fixture(autouse=True)
def _roomy_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 50)


def room(monkeypatch: pytest.MonkeyPatch, percent: int) -> None:
    usage = SimpleNamespace(total=1000, used=1000 - 10 * percent, free=10 * percent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


@pytest.fixture
def healthy(mailbox: Any) -> Callable[..., Mailbox]:
    def make(**fields: Any) -> Mailbox:
        now = timezone.now()
        found: Mailbox = mailbox(**{"last_polled_at": now - timedelta(minutes=2), "last_handshake_at": now, **fields})
        return found

    return make


def found() -> dict[str, str]:
    """One sweep of all rules; the open alerts by kind."""
    sweep.run(timezone.now())
    return {alert.kind: str(alert) for alert in Alert.objects.filter(closed_at__isnull=True)}


def test_all_is_well(healthy: Any, message: Any) -> None:
    box = healthy()
    message(mailbox=box, body=b"x")
    message(mailbox=box, state="listed")
    message(mailbox=box, state="collected")
    healthy(mode="paused")
    assert found() == {}


@pytest.mark.parametrize("code", ["sign_in_refused", "no_certificate", "somewhat_new"])
def test_a_mailbox_that_cannot_be_worked(code: str, healthy: Any) -> None:
    healthy(problem_code=code, problem="MESH said: “NHS 943 476 5919”.", problem_since=timezone.now(), last_handshake_at=None)
    [(kind, words)] = found().items()
    assert kind == "mailbox.refused"
    assert "943" not in words and "said" not in words


def test_mesh_out_of_reach_is_told_after_a_while(healthy: Any) -> None:
    box = healthy(problem_code="timeout", problem_since=timezone.now() - timedelta(minutes=9))
    assert found() == {}
    Mailbox.objects.filter(pk=box.pk).update(problem_since=timezone.now() - timedelta(minutes=11), last_polled_at=None)
    assert set(found()) == {"mailbox.unreachable"}


def test_lateness_by_mode_and_only_while_something_polls(healthy: Any) -> None:
    now = timezone.now()
    healthy(last_polled_at=now - timedelta(minutes=14))
    healthy(mode="watch", last_polled_at=now - timedelta(minutes=59))
    healthy(mode="paused", last_polled_at=now - DAY)
    assert found() == {}
    healthy(last_polled_at=now - timedelta(minutes=16), name="Late")
    assert "Late" in found()["mailbox.poll_overdue"]
    WorkerHeartbeat.objects.filter(queue="poll").update(seen_at=now - HOUR)
    assert set(found()) == {"portal.worker_silent"}


def test_a_handshake_that_is_overdue(healthy: Any) -> None:
    now = timezone.now()
    box = healthy(last_handshake_at=now - timedelta(hours=25))
    assert found() == {}
    Mailbox.objects.filter(pk=box.pk).update(last_handshake_at=now - timedelta(hours=27))
    assert set(found()) == {"mailbox.handshake_overdue"}
    Mailbox.objects.filter(pk=box.pk).update(problem_code="timeout", problem_since=now - HOUR)
    assert set(found()) == {"mailbox.unreachable"}, "one cause is told once"


def test_paused_and_forgotten(healthy: Any) -> None:
    box = healthy(mode="paused")
    assert found() == {}
    Mailbox.objects.filter(pk=box.pk).update(updated_at=timezone.now() - timedelta(hours=25))
    assert set(found()) == {"mailbox.paused"}


def test_backlog_at_250_and_450(healthy: Any) -> None:
    box = healthy(waiting_count=249)
    assert found() == {}
    for number, severity in ((250, 20), (449, 20), (450, 30), (300, 20)):
        Mailbox.objects.filter(pk=box.pk).update(waiting_count=number)
        assert set(found()) == {"mailbox.backlog"}
        assert Alert.objects.get().severity == severity
    assert list(AlertEvent.objects.order_by("id").values_list("act", flat=True)) == ["raised", "rose"]


def test_one_clock_for_each_team(healthy: Any) -> None:
    for _ in range(3):
        healthy(clock_skew_seconds=900)
    assert set(found()) == {"mailbox.clock"}
    assert Alert.objects.count() == 1


@pytest.mark.parametrize(("age", "level"), [(2.9, 0), (3.1, 1), (3.9, 1), (4.1, 2), (4.5, 2), (4.7, 3), (5.1, 4), (31, 0)])
def test_the_oldest_message_that_waits(age: float, level: int, healthy: Any, message: Any) -> None:
    box = healthy(mode="watch")
    message(mailbox=box, state="watched", seen_at=timezone.now() - age * DAY)
    message(mailbox=box, body=b"x", seen_at=timezone.now() - 20 * DAY)
    assert (set(found()) == {"message.waiting"}) == bool(level)
    if level:
        assert Alert.objects.get().level == level


def test_messages_that_need_a_person(healthy: Any, message: Any) -> None:
    box = healthy(name="Pathology")
    message(mailbox=box, state="quarantined", subject="PLANTED", file_name="PLANTED.pdf", local_id="PLANTED")
    for state in ("uncertain", "returned", "expired", "refused"):
        message(mailbox=box, state=state, subject="PLANTED", file_name="PLANTED.pdf")
    message(mailbox=box, body=b"", message_type="REPORT", status_description="PLANTED")
    shown = found()
    assert set(shown) == {
        "message.quarantined",
        "message.uncertain",
        "message.returned",
        "message.expired",
        "message.refused",
        "message.report",
    }
    assert all(words.startswith("Pathology (X26HC001)") for words in shown.values())
    assert "PLANTED" not in str(list(Alert.objects.values()) + list(AlertEvent.objects.values()))
    for alert in Alert.objects.all():
        assert alert.address().startswith("/t/midshire/mailboxes/")


def test_one_letter_more_is_news_although_the_first_was_acknowledged(healthy: Any, message: Any) -> None:
    box = healthy()
    first = message(mailbox=box, state="returned")
    Message.objects.filter(pk=first.pk).update(updated_at=timezone.now() - HOUR)
    found()
    services.acknowledge(actor=PERSON, alert=Alert.objects.get())
    found()
    assert Alert.objects.get().acknowledged_at is not None
    message(mailbox=box, state="returned")
    assert "sent 2 messages that came back" in found()["message.returned"]
    assert Alert.objects.get().acknowledged_at is None


def test_a_folder_and_a_webhook_that_do_not_take_messages(healthy: Any) -> None:
    box, now = healthy(folder="box"), timezone.now()
    away = {"problem_code": "away", "problem": "PLANTED", "problem_since": now - timedelta(minutes=1)}
    WatchedFolder.objects.create(mailbox=box, **away)
    Outlet.objects.create(team=box.team, mailbox=box, channel="folder", enabled=True, **away)
    webhook = Outlet.objects.create(
        team=box.team, mailbox=box, channel="webhook", enabled=True, url="https://planted.example", secret="PLANTED", **away
    )
    shown = found()
    assert set(shown) == {"mailbox.folder", "mailbox.outlet"}
    assert "cannot hand messages on to its folder" in shown["mailbox.outlet"]
    # A webhook that is restarted mends itself before anybody could act.
    assert Alert.objects.filter(kind="mailbox.outlet", closed_at__isnull=True).count() == 1
    Outlet.objects.filter(pk=webhook.pk).update(problem_since=now - timedelta(minutes=11))
    found()
    assert Alert.objects.filter(kind="mailbox.outlet", closed_at__isnull=True).count() == 2
    assert "PLANTED" not in str(list(Alert.objects.values())).replace("planted", "PLANTED")
    WatchedFolder.objects.update(problem_code="")
    Outlet.objects.update(problem_code="")
    assert found() == {}


def test_what_consumers_and_recipients_do_not_have(healthy: Any, message: Any) -> None:
    box, now = healthy(), timezone.now()
    outlet = Outlet.objects.create(team=box.team, mailbox=box, channel="folder", enabled=True)
    received = message(mailbox=box, body=b"a letter", subject="PLANTED")
    HandOver.objects.create(team=box.team, message=received, outlet=outlet, state="failed", problem="PLANTED")
    FolderPickup.objects.create(mailbox=box, folder="PLANTED", stage="done", sent=False, ended_at=now)
    Ack.objects.create(message=received, answer="negative")
    shown = found()
    assert set(shown) == {"message.given_up", "message.never_queued", "message.rejected"}
    assert "has 1 message that could not be handed on" in shown["message.given_up"]
    assert "has 1 document in FAILED of its folder that was not sent" in shown["message.never_queued"]
    assert "PLANTED" not in str(list(Alert.objects.values()) + list(AlertEvent.objects.values()))


# --- The portal itself ---------------------------------------------------------------------------------------------------
def test_a_silent_queue_a_silent_scheduler_and_each_team_has_its_own(team: Any, other_team: Any) -> None:
    now = timezone.now()
    WorkerHeartbeat.objects.filter(queue="send").update(seen_at=now - timedelta(minutes=2))
    assert found() == {}
    WorkerHeartbeat.objects.filter(queue="send").update(seen_at=now - timedelta(minutes=4))
    assert found()["portal.worker_silent"] == "Queue “send” is silent: no message is sent."
    assert {alert.team for alert in Alert.objects.all()} == {team, other_team}
    WorkerHeartbeat.objects.update(seen_at=now - timedelta(minutes=4))
    assert "on every queue" in found()["portal.worker_silent"]
    WorkerHeartbeat.objects.update(seen_at=now)
    assert found() == {}


def test_a_full_disk(team: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for percent, severity in ((9, 20), (2, 30)):
        room(monkeypatch, percent)
        assert set(found()) == {"portal.disk_nearly_full"}
        assert Alert.objects.get().severity == severity


def test_storage_that_cannot_be_written(team: Any, settings: Any, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    settings.STORAGES = {
        **settings.STORAGES,
        "payloads": {
            "BACKEND": "meshportal.core.storage.DurableFileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "file" / "payloads")},
        },
    }
    assert set(found()) == {"portal.storage_unwritable"}


def test_the_probe_leaves_nothing(team: Any, settings: Any) -> None:
    assert found() == {}
    probes = settings.PAYLOAD_DIR / "probes"
    assert not probes.exists() or list(probes.iterdir()) == []


def test_a_channel_that_fails(team: Any) -> None:
    channel = Channel.objects.create(team=team, name="Office", transport="email", config={"to": []}, failing_since=timezone.now())
    assert found()["notify.channel_failing"].startswith("Channel “Office” does not take messages")
    Channel.objects.filter(pk=channel.pk).update(enabled=False)
    assert found() == {}


# --- The sweep -----------------------------------------------------------------------------------------------------------
def test_a_broken_rule_stops_no_other_and_is_an_alert_itself(
    thing: Callable[..., Condition], holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(now: Any) -> Any:
        yield thing("found before it broke")
        raise RuntimeError("PLANTED")

    holding["a"] = thing(kind=MINOR.name)
    good = Rule("good", (MINOR.name,), lambda now: list(holding.values()))
    bad = Rule("bad", (THING.name,), broken)
    Alert.objects.all().delete()
    services.raise_alert(actor=ACTOR, condition=thing("earlier"))
    monkeypatch.setattr(registry, "_rules", {"bad": bad, "good": good})
    assert set(found()) == {THING.name, MINOR.name, sweep.RULE_BROKEN}
    assert Alert.objects.get(kind=THING.name).key == "earlier"
    monkeypatch.setattr(registry, "_rules", {"good": good})
    assert set(found()) == {THING.name, MINOR.name}


def test_one_sweep_a_minute_however_often_it_is_rung_for(holding: Holding, thing: Any) -> None:
    holding["a"] = thing()
    assert [sweep.run_due() for _ in range(4)] == [True, False, False, False]
    assert Alert.objects.get().count == 1
    Turn.objects.update(due_at=timezone.now())
    assert sweep.run_due()
    assert Alert.objects.get().count == 2
    # Somebody else is at it.
    Turn.objects.update(due_at=timezone.now(), lease_token="0" * 32, lease_until=timezone.now() + HOUR)
    assert not sweep.run_due()


def test_what_nobody_acknowledges_is_passed_on_once(holding: Holding, thing: Any, settings: Any) -> None:
    settings.NOTIFY_ESCALATE_MINUTES = 30
    start = timezone.now()
    for key in ("plain", "acknowledged", "snoozed"):
        holding[key] = thing(key)
    holding["minor"] = thing("minor", kind=MINOR.name)
    sweep.run(start)
    services.acknowledge(actor=PERSON, alert=Alert.objects.get(key="acknowledged"))
    services.snooze(actor=PERSON, alert=Alert.objects.get(key="snoozed"), until=timezone.now() + DAY)
    for minute in (29, 31, 32, 90):
        sweep.run(start + timedelta(minutes=minute))
        escalated = list(Alert.objects.filter(escalated_at__isnull=False).values_list("key", flat=True))
        assert escalated == ([] if minute == 29 else ["plain"])
    assert AlertEvent.objects.filter(act="escalated").count() == 1


def test_every_rule_is_registered_with_every_kind_and_its_words() -> None:
    raised = {kind for rule in registry.rules() for kind in rule.kinds}
    assert {kind.name for kind in registry.kinds()} - raised == {sweep.RULE_BROKEN, THING.name, MINOR.name}
    for kind in registry.kinds():
        assert kind.advice.endswith(".") and not kind.one.endswith("."), kind.name
        assert kind.count_words(1) == f"1 {kind.one}" and kind.count_words(1200) == f"1,200 {kind.many}"
    assert set(of_mailboxes.OUT_OF_REACH) & set(of_mailboxes._REFUSALS) == set()
    assert set(rules.WAITS) == set(QUEUES)
