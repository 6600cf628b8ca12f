"""One open alert for each condition: it comes up, comes back, gets worse and goes; what people do with it is recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from meshportal.notify import registry, services, upkeep
from meshportal.notify.models import Alert, AlertEvent, Severity
from meshportal.notify.registry import Condition, Kind, Rule
from tests.notify.conftest import ACTOR, MINOR, PERSON, START, THING

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
Thing = Callable[..., Condition]


def look(*conditions: Condition, minutes: float = 0) -> None:
    upkeep.keep_true([THING.name, MINOR.name], conditions, START + minutes * MINUTE)


def acts(alert: Alert) -> list[str]:
    return list(AlertEvent.objects.filter(alert=alert).order_by("id").values_list("act", flat=True))


def test_what_holds_on_is_one_alert_that_is_seen_again(thing: Thing) -> None:
    look(thing())
    look(thing(sentence="is broken still."), minutes=1)
    alert = Alert.objects.get()
    assert (alert.count, alert.sentence, alert.first_seen, alert.last_seen) == (2, "is broken still.", START, START + MINUTE)
    assert alert.open
    assert acts(alert) == ["raised"]


def test_what_is_over_closes_by_itself_and_only_in_its_kind(thing: Thing) -> None:
    look(thing())
    upkeep.keep_true([MINOR.name], [], START + MINUTE)
    assert Alert.objects.get().open
    look(minutes=1)
    alert = Alert.objects.get()
    assert (alert.closed_at, alert.closed_by) == (START + MINUTE, "")
    assert acts(alert) == ["raised", "over"]


def test_what_comes_back_soon_is_the_same_alert_and_later_a_new_one(thing: Thing) -> None:
    look(thing())
    for minute in range(1, 20, 2):
        look(minutes=minute)
        look(thing(), minutes=minute + 1)
    alert = Alert.objects.get()
    assert alert.open
    assert alert.returns == 10
    look(minutes=30)
    look(thing(), minutes=91)
    assert Alert.objects.count() == 2
    assert Alert.objects.filter(closed_at__isnull=True).count() == 1


def test_worse_is_told_again_and_better_is_not(thing: Thing) -> None:
    look(thing(level=1))
    alert = Alert.objects.get()
    services.acknowledge(actor=PERSON, alert=alert)
    look(thing(level=1), minutes=1)
    alert.refresh_from_db()
    assert alert.acknowledged_at is not None
    look(thing(level=2), minutes=2)
    alert.refresh_from_db()
    assert alert.acknowledged_at is None, "who acknowledged a little has not acknowledged more"
    assert alert.level_at == START + 2 * MINUTE
    look(thing(level=1), minutes=3)
    alert.refresh_from_db()
    assert (alert.level, alert.level_at) == (1, START + 2 * MINUTE)
    assert acts(alert) == ["raised", "acknowledged", "rose"]


def test_closed_with_a_reason_stays_closed_until_worse_or_anew(thing: Thing) -> None:
    look(thing(level=5))
    first = Alert.objects.get()
    services.close(actor=PERSON, alert=first, reason="rang the practice")
    # The hours of the tests' clock and those of the wall are the same for this.
    for minute in (1, 50, 100, 150):
        look(thing(level=5), minutes=minute)
    assert not Alert.objects.get().open
    look(thing(level=6), minutes=151)
    assert Alert.objects.filter(closed_at__isnull=True).count() == 1
    look(minutes=152)
    look(thing(level=1), minutes=300)
    assert Alert.objects.count() == 3


def test_a_thousand_conditions_at_once(thing: Thing, django_assert_max_num_queries: Any) -> None:
    many = [thing(str(number)) for number in range(1000)]
    with django_assert_max_num_queries(60):
        look(*many)
    with django_assert_max_num_queries(20):
        look(*many, minutes=1)
    with django_assert_max_num_queries(20):
        look(minutes=2)
    assert Alert.objects.filter(closed_at__isnull=False, count=2).count() == 1000
    with django_assert_max_num_queries(60):
        look(*many, minutes=3)
    assert Alert.objects.filter(closed_at__isnull=True).count() == 1000


def test_the_database_refuses_a_second_open_one_also_of_the_portal_itself(thing: Thing) -> None:
    for condition in (thing(), thing(team=None)):
        upkeep.alert_of(condition, START).save()
        with pytest.raises(IntegrityError), transaction.atomic():
            upkeep.alert_of(condition, START).save()
    assert Alert.objects.count() == 2


def test_a_rule_may_raise_only_its_own(thing: Thing) -> None:
    with pytest.raises(ValueError, match=r"test\.thing"):
        upkeep.keep_true([MINOR.name], [thing()], START)
    with pytest.raises(ValueError, match="nobody registered"):
        registry.register_rule(Rule("x", ("no.such",), lambda now: []))
    with pytest.raises(ValueError, match="another kind"):
        registry.register_kind(Kind(THING.name, "Other", "a", "b", Severity.INFO, "c"))


def test_history_cannot_be_altered(thing: Thing) -> None:
    look(thing())
    with pytest.raises(Exception, match="append-only"), transaction.atomic():
        AlertEvent.objects.update(words="nothing happened")


# --- What people and parts of the portal do ------------------------------------------------------------------------------
def test_raising_and_closing_by_name(thing: Thing, team: Any) -> None:
    alert = services.raise_alert(actor=ACTOR, condition=thing())
    assert alert is not None
    again = services.raise_alert(actor=PERSON, condition=thing())
    assert again is not None and again.pk == alert.pk and again.count == 2
    services.raise_alert(actor=ACTOR, condition=thing("two"))
    services.close_alert(actor=PERSON, team=team, kind=THING.name, key="one", reason="mended")
    services.close_alert(actor=PERSON, team=team, kind=THING.name, key="one")
    assert list(Alert.objects.filter(closed_at__isnull=True).values_list("key", flat=True)) == ["two"]
    assert list(AuditEvent.objects.order_by("id").values_list("action", flat=True)) == ["alert.raised", "alert.closed"]


def test_acts_of_people_are_recorded_twice_over(thing: Thing, member: Any) -> None:
    alert = services.raise_alert(actor=ACTOR, condition=thing())
    assert alert is not None
    person = member("operator")
    services.acknowledge(actor=PERSON, alert=alert)
    services.snooze(actor=PERSON, alert=alert, until=timezone.now() + timedelta(hours=2))
    services.snooze(actor=PERSON, alert=alert, until=None)
    services.assign(actor=PERSON, alert=alert, to=person)
    services.comment(actor=PERSON, alert=alert, words="rang the desk")
    services.close(actor=PERSON, alert=alert, reason="mended")
    said = ["acknowledged", "snoozed", "woken", "assigned", "commented", "closed"]
    assert acts(alert) == ["raised", *said]
    assert list(AuditEvent.objects.order_by("id").values_list("action", flat=True)) == [f"alert.{act}" for act in said]
    assert set(AuditEvent.objects.values_list("team_label", flat=True)) == {"Midshire Hospitals"}
    assert "rang the desk" not in str(list(AuditEvent.objects.values()))


def test_what_is_not_possible_says_why_and_changes_nothing(thing: Thing, member: Any, other_team: Any) -> None:
    alert = services.raise_alert(actor=ACTOR, condition=thing())
    assert alert is not None
    services.acknowledge(actor=PERSON, alert=alert)
    before = AuditEvent.objects.count()
    stranger = member("operator", team=other_team)
    acts_refused: list[Callable[[], Any]] = [
        lambda: services.acknowledge(actor=PERSON, alert=alert),
        lambda: services.snooze(actor=PERSON, alert=alert, until=timezone.now()),
        lambda: services.snooze(actor=PERSON, alert=alert, until=None),
        lambda: services.assign(actor=PERSON, alert=alert, to=stranger),
        lambda: services.comment(actor=PERSON, alert=alert, words="  "),
        lambda: services.close(actor=PERSON, alert=alert, reason=""),
    ]
    for act in acts_refused:
        with pytest.raises(Refused):
            act()
    services.close(actor=PERSON, alert=alert, reason="mended")
    with pytest.raises(Refused, match="closed already"):
        services.acknowledge(actor=PERSON, alert=alert)
    services.comment(actor=PERSON, alert=alert, words="the desk rang back")
    ours = services.raise_alert(actor=ACTOR, condition=thing(team=None))
    assert ours is not None
    with pytest.raises(Refused, match="portal itself"):
        services.acknowledge(actor=PERSON, alert=ours)
    assert AuditEvent.objects.count() == before + 2
