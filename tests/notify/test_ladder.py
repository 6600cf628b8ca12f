"""The ladder of a certificate: every rung once, the last days daily, whatever days nobody looked, until its replacement works."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from certificates.models import ClientIdentity
from mailboxes import ladder
from mailboxes.models import Mailbox
from mailboxes.services import change_mailbox
from meshportal.audit.actors import Actor
from meshportal.notify import upkeep
from meshportal.notify.models import Alert, AlertEvent

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
ACTOR = Actor.system("tests")


def look(now: datetime) -> None:
    upkeep.keep_true([ladder.NAME], ladder.find(now), now)


def told() -> list[AlertEvent]:
    return list(AlertEvent.objects.filter(act__in=["raised", "rose", "returned"]).order_by("id"))


@pytest.fixture
def lapses(identity: ClientIdentity) -> datetime:
    identity.not_after = timezone.now() + 101 * DAY
    identity.save()
    return identity.not_after


def renewed(identity: ClientIdentity) -> ClientIdentity:
    identity.pk, identity.name, identity.not_after = None, "Renewed", identity.not_after + 1000 * DAY
    identity._state.adding = True
    identity.save()
    return identity


def test_rungs_by_crossing() -> None:
    rungs = {left: ladder.rung(left * DAY) for left in (91, 90, 61, 60, 30, 14, 8, 7, 6.5, 6, 5, 1, 0, -1)}
    assert list(rungs.values()) == [0, 1, 1, 2, 3, 4, 4, 5, 5, 6, 7, 11, 12, 13]


def test_a_hundred_days_one_by_one(lapses: datetime, mailbox: Any) -> None:
    mailbox(mode="collect")
    days = {}
    for day in range(110):
        now = lapses + (day - 100) * DAY
        before = len(told())
        look(now)
        if len(told()) > before:
            days[100 - day] = len(told()) - before
    assert days == dict.fromkeys([90, 60, 30, 14, 7, 6, 5, 4, 3, 2, 1, 0, *range(-1, -10, -1)], 1)
    assert Alert.objects.count() == 1


@pytest.mark.parametrize("seed", range(6))
def test_days_that_nobody_looked(seed: int, lapses: datetime, mailbox: Any) -> None:
    mailbox()
    rng = random.Random(seed)
    looked = sorted(day for day in range(-100, 5) if rng.random() < 0.4)
    heights = [90, 60, 30, 14, *range(7, -5, -1)]
    expected = 0
    reached: set[int] = set()
    for day in looked:
        for hour in (0, 6, 12):
            look(lapses + day * DAY + timedelta(hours=hour))
        crossed = {height for height in heights if -day <= height} - reached
        expected += bool(crossed)
        reached |= crossed
        assert len(told()) == expected, f"seed {seed}, {-day} days left"


def test_it_goes_on_until_the_replacement_was_seen_in_use(lapses: datetime, identity: Any, mailbox: Any) -> None:
    boxes = [mailbox(last_handshake_at=timezone.now()) for _ in range(2)]
    look(lapses - 29 * DAY)
    new = renewed(identity)
    for number, box in enumerate(boxes):
        change_mailbox(actor=ACTOR, mailbox=box, identity=new)
        look(lapses - 28 * DAY + timedelta(hours=number))
    alert = Alert.objects.get()
    assert alert.open
    assert "2 mailboxes did not sign in with the new one yet" in alert.sentence
    look(lapses - 14 * DAY)
    assert [event.act for event in told()] == ["raised", "rose"], "a replacement that nobody saw work changes nothing"
    first, second = boxes
    sign_in(first)
    look(lapses - 13 * DAY)
    alert.refresh_from_db()
    assert "1 mailbox did not sign in" in alert.sentence
    sign_in(second)
    look(lapses - 6 * DAY)
    alert.refresh_from_db()
    assert not alert.open
    assert len(told()) == 2


def sign_in(box: Mailbox) -> None:
    revision = Mailbox.objects.values_list("revision", flat=True).get(pk=box.pk)
    Mailbox.objects.filter(pk=box.pk).update(last_handshake_at=timezone.now(), handshake_revision=revision)


def test_paused_mailboxes_and_unused_certificates_need_none(lapses: datetime, identity: Any, mailbox: Any) -> None:
    look(lapses - DAY)
    box = mailbox(mode="paused")
    look(lapses - DAY)
    assert not Alert.objects.exists()
    Mailbox.objects.filter(pk=box.pk).update(mode="watch")
    look(lapses - DAY)
    assert Alert.objects.get().open
    Mailbox.objects.filter(pk=box.pk).update(mode="paused")
    look(lapses)
    assert not Alert.objects.get().open
