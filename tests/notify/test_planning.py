"""What each channel is told, and what it is spared: time moves minute by minute, and nobody looks."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import time_machine

from mailboxes import alerts as of_mailboxes
from mailboxes.models import Mailbox
from meshportal.notify import planning, registry, services, sweep
from meshportal.notify.models import Alert, Channel, Delivery, Fold, Notice, Subscription
from tests.notify.conftest import MINOR, PERSON, START, Holding

pytestmark = pytest.mark.django_db
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def channel(team: Any) -> Callable[..., Channel]:
    def make(name: str = "Office", *, kind: str = "", severity: int = 20, **fields: Any) -> Channel:
        found = Channel.objects.create(team=fields.pop("team", team), name=name, transport="webhook", config={}, **fields)
        Subscription.objects.create(channel=found, kind=kind, severity=severity)
        return found

    return make


class Clock:
    """Sweeps and plans every minute, as the worker does."""

    def __init__(self) -> None:
        self.now = START

    def run(self, minutes: int, each: Callable[[], None] = lambda: None, *, step: int = 1) -> None:
        for _ in range(minutes // step):
            with time_machine.travel(self.now, tick=False):
                each()
                sweep.run(self.now)
                planning.run(self.now)
            self.now += step * MINUTE

    def at(self, minutes: float) -> datetime:
        return START + minutes * MINUTE


@pytest.fixture
def clock(holding: Holding) -> Clock:
    return Clock()


def titles(channel: Channel | None = None) -> list[str]:
    rows = Delivery.objects.order_by("created_at", "pk")
    return [delivery.content["title"] for delivery in (rows.filter(channel=channel) if channel else rows)]


def test_new_and_over_are_told_once_each(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel()
    holding["a"] = thing()
    clock.run(2)
    assert titles() == []
    clock.run(58)
    assert titles() == ["1 thing broke"]
    holding.clear()
    clock.run(10)
    assert titles() == ["1 thing broke"]
    clock.run(60)
    assert titles() == ["1 thing broke", "Over: 1 thing broke"]
    assert Notice.objects.filter(open=True).count() == 0


def test_what_was_over_before_it_was_told_is_no_message(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel()
    holding["a"] = thing()
    clock.run(2)
    holding.clear()
    clock.run(60)
    assert titles() == []


def test_flapping_is_one_message_and_one_at_its_end(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel()

    def flap() -> None:
        if clock.now.minute % 4 < 2:
            holding["a"] = thing()
        else:
            holding.clear()

    clock.run(200, flap)
    assert titles() == ["1 thing broke"] or titles() == []
    holding["a"] = thing()
    clock.run(5)
    holding.clear()
    clock.run(60)
    assert titles() == ["1 thing broke", "Over: 1 thing broke"]
    assert Alert.objects.count() == 1


def test_acknowledged_or_snoozed_is_not_told_and_does_not_repeat(
    clock: Clock, holding: Holding, thing: Any, channel: Any
) -> None:
    channel()
    for key in ("acknowledged", "snoozed", "plain"):
        holding[key] = thing(key)
    clock.run(1)
    with time_machine.travel(clock.now, tick=False):
        services.acknowledge(actor=PERSON, alert=Alert.objects.get(key="acknowledged"))
        services.snooze(actor=PERSON, alert=Alert.objects.get(key="snoozed"), until=clock.now + 26 * HOUR)
    clock.run(25 * 60, step=10)
    lines = [[line["words"] for block in one.content["blocks"] for line in block["lines"]] for one in Delivery.objects.all()]
    assert lines == [["Mailbox plain is broken."]] * 2, "told, and told again after a day"
    clock.run(2 * 60, step=10)
    assert Delivery.objects.filter(content__icontains="Mailbox snoozed").exists()
    assert not Delivery.objects.filter(content__icontains="Mailbox acknowledged").exists()


def test_worse_is_told_but_not_every_minute(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel()
    levels = iter(range(1, 1000))

    def worse() -> None:
        holding["a"] = thing(level=next(levels))

    clock.run(120, worse)
    assert 3 <= len(titles()) <= 5
    assert Delivery.objects.order_by("-created_at")[0].content["blocks"][0]["lead"] == "Worse, or more"


def test_subscriptions_by_kind_and_severity(clock: Clock, holding: Holding, thing: Any, channel: Any, other_team: Any) -> None:
    everything, critical = channel("all"), channel("critical", severity=30)
    minor, theirs = channel("minor", kind=MINOR.name), channel("theirs", team=other_team)
    off, none = channel("off", enabled=False), channel("none")
    none.subscriptions.all().delete()
    holding["a"] = thing()
    holding["b"] = thing("two", kind=MINOR.name)
    clock.run(10)
    assert titles(everything) == ["1 thing broke, and 1 more"]
    assert titles(critical) == ["1 thing broke"]
    assert titles(minor) == ["1 thing creaks"]
    assert titles(theirs) == titles(off) == titles(none) == []


def test_an_alert_of_the_portal_itself_is_told_to_every_team(
    clock: Clock, holding: Holding, thing: Any, channel: Any, other_team: Any
) -> None:
    ours, theirs = channel(), channel("theirs", team=other_team)
    holding["a"] = thing(team=None)
    clock.run(5)
    assert len(titles(ours)) == len(titles(theirs)) == 1


def test_quiet_hours_hold_back_all_but_what_is_critical(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel(quiet_from=time(9, 0), quiet_until=time(10, 0))
    holding["a"] = thing("minor", kind=MINOR.name)
    holding["b"] = thing("major")
    clock.run(59)
    assert titles() == ["1 thing broke"]
    clock.run(10)
    assert titles() == ["1 thing broke", "1 thing creaks"]


@pytest.mark.parametrize(
    ("hour", "minute", "quiet"), [(19, 59, False), (20, 0, True), (23, 0, True), (3, 0, True), (6, 59, True), (7, 0, False)]
)
def test_quiet_hours_over_midnight_on_london_clocks(hour: int, minute: int, quiet: bool, channel: Any) -> None:
    from meshportal.notify import quiet as hours

    found = channel(quiet_from=time(20), quiet_until=time(7))
    # In summer London is an hour ahead of UTC.
    moment = datetime(2026, 7, 1, hour, minute, tzinfo=UTC) - HOUR
    assert hours.at(found, moment) is quiet


def test_a_deputy_hears_of_what_nobody_acknowledged(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    office, deputy = channel(), channel("Deputy", escalation=True)
    holding["a"], holding["b"], holding["c"] = thing("one"), thing("two"), thing("minor", kind=MINOR.name)
    clock.run(5)
    with time_machine.travel(clock.now, tick=False):
        services.acknowledge(actor=PERSON, alert=Alert.objects.get(key="one"))
    clock.run(90)
    assert titles(office) == ["1 thing creaks, and 1 more"] or len(titles(office)) == 1
    assert titles(deputy) == ["1 thing broke"]
    assert Delivery.objects.get(channel=deputy).content["blocks"][0]["lines"][0]["words"] == "Mailbox two is broken."
    holding.clear()
    clock.run(30)
    assert titles(deputy) == ["1 thing broke", "Over: 1 thing broke"]


def test_the_days_summary_once_a_day_also_when_all_is_well(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel(digest=True, severity=30)
    clock.now = START.replace(hour=7)
    clock.run(180, step=10)
    assert titles() == ["Daily summary: no alert is open"]
    holding["a"] = thing()
    clock.run(24 * 60, step=20)
    assert titles()[-1] == "Daily summary: 1 alert open, 1 not acknowledged"
    assert len(titles()) == 3


# --- Floods --------------------------------------------------------------------------------------------------------------
def test_an_outage_of_a_thousand_mailboxes_is_one_message_at_each_end(
    clock: Clock, holding: Holding, mailbox: Any, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is down for an hour; each mailbox fails at its own moment within the polling interval, and recovers so."""
    office, deputy = channel("Office"), channel("Deputy", escalation=True)
    first = mailbox()
    rows = [
        Mailbox(
            team=first.team,
            environment="sandbox",
            mailbox_id=f"X26OT{number:04d}",
            name=f"Clinic {number}",
            organisation=first.organisation,
            identity=first.identity,
            password="password",
            mode="collect",
        )
        for number in range(999)
    ]
    Mailbox.objects.bulk_create(rows)
    Mailbox.objects.update(created_at=START, last_polled_at=START, last_handshake_at=START)
    problems = next(rule for rule in of_mailboxes.RULES if rule.find is of_mailboxes.problems)
    monkeypatch.setattr(registry, "_rules", {"problems": problems})
    rng = random.Random(4)
    order = list(Mailbox.objects.values_list("pk", flat=True))
    rng.shuffle(order)
    begin, end = clock.at(1), clock.at(61)

    def poll() -> None:
        at = int((clock.now - begin) / MINUTE)
        turn = order[at % 5 * 200 : at % 5 * 200 + 200]
        if begin <= clock.now < end:
            failing = {"problem_code": rng.choice(["timeout", "connection_lost", "unavailable"])}
            Mailbox.objects.filter(pk__in=turn, problem_code="").update(problem_since=clock.now)
            Mailbox.objects.filter(pk__in=turn).update(**failing)
        else:
            Mailbox.objects.filter(pk__in=turn).update(problem_code="", problem_since=None)

    clock.run(25, poll)
    # While nothing changes, every fifth look shows it too.
    clock.run(35, step=5)
    clock.run(22, poll)
    assert Alert.objects.count() == 1000
    assert not Alert.objects.filter(closed_at__isnull=True).exists()
    assert len(titles(office)) == 2
    began, over = Delivery.objects.filter(channel=office).order_by("created_at")
    assert began.content["title"].endswith("mailboxes cannot reach MESH")
    assert over.content["title"] == "Over: 1,000 mailboxes cannot reach MESH"
    assert len(over.content["blocks"][0]["lines"]) == 10
    assert over.content["blocks"][0]["more"] == 990
    assert len(titles(deputy)) == 2
    assert Fold.objects.filter(ended_at__isnull=True).count() == 0
    assert Notice.objects.filter(open=True).count() == 0


def test_what_follows_a_flood_much_later_is_told_by_itself(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel()
    for number in range(8):
        holding[str(number)] = thing(str(number))
    clock.run(30)
    assert titles() == ["8 things broke"]
    holding["late"] = thing("late")
    clock.run(10)
    assert titles() == ["8 things broke", "1 thing broke"]


def test_few_that_stay_when_a_flood_ends_are_named(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel()
    for number in range(20):
        holding[str(number)] = thing(str(number))
    clock.run(5)
    for number in range(18):
        del holding[str(number)]
    clock.run(30)
    assert len(titles()) == 2
    blocks = Delivery.objects.order_by("-created_at")[0].content["blocks"]
    assert [(block["lead"], block["number"]) for block in blocks] == [("Over", 18), ("Still open of these", 2)]
    assert {line["words"] for line in blocks[1]["lines"]} == {"Mailbox 18 is broken.", "Mailbox 19 is broken."}
    holding.clear()
    clock.run(30)
    assert titles()[2:] == ["Over: 2 things broke"]


@pytest.mark.parametrize("seed", range(3))
def test_in_the_end_every_channel_knows_how_it_is(seed: int, clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    """Whatever comes and goes: after an hour of quiet, what a channel was last told is what holds."""
    channel()
    rng = random.Random(seed)

    def change() -> None:
        for _ in range(rng.choice([0, 0, 0, 1, 2, 12])):
            key = str(rng.randrange(40))
            if rng.random() < 0.5:
                holding[key] = thing(key)
            else:
                holding.pop(key, None)

    clock.run(240, change)
    clock.run(90, step=2)
    told = {notice.alert.key for notice in Notice.objects.filter(open=True).select_related("alert")}
    assert told == set(holding)
    said = "".join(str(delivery.content) for delivery in Delivery.objects.all())
    assert len(titles()) < 120, said[:200]


def test_a_channel_that_cannot_be_planned_stops_no_other(
    clock: Clock, holding: Holding, thing: Any, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = channel("good"), channel("bad")
    real = planning.plan
    monkeypatch.setattr(planning, "plan", lambda key, now: 1 / 0 if key == bad.pk else real(key, now))
    holding["a"] = thing()
    clock.run(5)
    assert titles(good) == ["1 thing broke"]


def test_no_patient_is_named_whatever_a_rule_says(clock: Clock, holding: Holding, thing: Any, channel: Any) -> None:
    channel()
    holding["a"] = thing(subject="Clinic\nBcc: x", sentence="for 943 476 5919 broke.")
    clock.run(5)
    content = str(Delivery.objects.get().content)
    assert "943" not in content and "\n" not in content
