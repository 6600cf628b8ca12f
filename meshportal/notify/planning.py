"""What each channel is told next: the difference between what holds and what the channel was last told.

One message of a channel takes in everything that there is to tell, and what was told is written down in the transaction that
makes the message. So nothing is told twice, and nothing is forgotten by a process that dies.

| what happens | what the channel hears |
|---|---|
| an alert comes up | a message after :data:`GATHER`, with everything else that came up meanwhile |
| it is acknowledged or snoozed before that | nothing |
| it is over for :data:`SETTLE` | that it is over; one that comes back before that was never away |
| many of one kind come up | one message; those that follow close upon each other join it silently (a fold) |
| a fold is over, but for a few | one message that says so and names those few |
| a part of a fold is over, and nothing more for an hour | one message that says how many are |
| it becomes worse | that, but not oftener than every :data:`WORSE_GAP` |
| a critical one is acknowledged by nobody | the same again every day; and channels for escalation hear of it |
| quiet hours | only what is critical; the rest when they end |
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from meshportal.notify import quiet, wording
from meshportal.notify.models import Act, Alert, AlertEvent, Channel, Delivery, Fold, Notice, Purpose, Severity
from meshportal.notify.wording import LEFT, NEW, OVER, STILL, WORSE, Said

log = structlog.get_logger("notify.planning")

GATHER = timedelta(minutes=2)
SETTLE = timedelta(minutes=10)
WORSE_GAP = timedelta(minutes=30)
REPEAT = timedelta(hours=24)
# From so many of one kind on they are one thing. A polling interval and the time until it is noticed may lie between two.
FOLD_FROM = 5
FOLD_GAP = timedelta(minutes=10)
FOLD_LONGEST = timedelta(hours=1)


def run(now: datetime | None = None) -> None:
    """Makes the messages that are due, channel by channel. One that cannot be planned stops no other."""
    moment = now or timezone.now()
    for key in Channel.objects.filter(enabled=True).order_by("pk").values_list("pk", flat=True):
        try:
            plan(key, moment)
        except Exception as error:
            log.error("channel_not_planned", channel=str(key), error=type(error).__name__)


def plan(key: Any, now: datetime) -> list[Delivery]:
    """The messages that the channel is due; one for alerts and one for the day at most."""
    with transaction.atomic():
        channel = Channel.objects.select_for_update(of=("self",)).select_related("team").defer("config").filter(pk=key).first()
        if channel is None or not channel.enabled:
            return []
        found = _Plan(channel, now)
        made = [found.tell(), found.summary()]
        return [delivery for delivery in made if delivery is not None]


@dataclass
class _Plan:
    """One look at one channel."""

    channel: Channel
    now: datetime
    said: list[Said] = field(default_factory=list)
    told: dict[Any, Notice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.subscriptions = list(self.channel.subscriptions.all())
        ours = Q(team=self.channel.team) | Q(team__isnull=True)
        self.open = [alert for alert in Alert.objects.filter(ours, closed_at__isnull=True) if self._subscribed(alert)]
        self.notices = {
            notice.alert_id: notice for notice in self.channel.notices.filter(open=True).select_related("alert", "fold")
        }
        self.quiet = quiet.at(self.channel, self.now)

    def _subscribed(self, alert: Alert) -> bool:
        return any(one.kind in ("", alert.kind) and alert.severity >= one.severity for one in self.subscriptions)

    def _hushed(self, alert: Alert) -> bool:
        return self.quiet and alert.severity < Severity.CRITICAL

    # --- What is there ---------------------------------------------------------------------------------------------------
    def tell(self) -> Delivery | None:
        """The message about alerts that is due, or None."""
        self._openings()
        closings = self._closings()
        # What is over can wait for its like; what is new takes it along.
        waited = self.channel.told_over_at is None or self.channel.told_over_at <= self.now - SETTLE
        if closings and (self.said or waited):
            for notice in closings:
                self._over(notice)
            self.channel.told_over_at = self.now
            self.channel.save(update_fields=["told_over_at", "updated_at"])
        Notice.objects.bulk_create(
            self.told.values(),
            batch_size=200,
            update_conflicts=True,
            unique_fields=["channel", "alert"],
            update_fields=["open", "level", "told_at", "fold"],
        )
        if not self.said:
            return None
        events = [AlertEvent.of(one.alert, Act.TOLD, self.now, words=f"to {self.channel.name}") for one in self.said]
        AlertEvent.objects.bulk_create(events, batch_size=500)
        return self._deliver(Purpose.NOTICE, wording.notice(self.channel.team, self.said))

    def _openings(self) -> None:
        by_kind: dict[str, list[tuple[datetime, Said]]] = defaultdict(list)
        for alert in self.open:
            due = self._due(alert)
            if due is not None:
                by_kind[alert.kind].append(due)
        folds = {fold.kind: fold for fold in self.channel.folds.filter(ended_at__isnull=True)}
        for kind, found in list(by_kind.items()):
            if kind in folds and self._joins(folds[kind], found):
                del by_kind[kind]
        first = min((since for found in by_kind.values() for since, _said in found), default=None)
        if first is None or first > self.now - GATHER:
            return
        if all(said.why != NEW for found in by_kind.values() for _since, said in found) and self._spoke_lately():
            return
        for kind, found in by_kind.items():
            fold = self._folded(kind, found, folds.get(kind))
            for _since, said in found:
                self.said.append(said)
                self._remember(said.alert, fold)

    def _spoke_lately(self) -> bool:
        rows = self.channel.deliveries.filter(purpose=Purpose.NOTICE, created_at__gt=self.now - SETTLE)
        return rows.exists()

    def _due(self, alert: Alert) -> tuple[datetime, Said] | None:
        """Since when there is something to say of ``alert``, and what; None when there is nothing."""
        if alert.acknowledged_at is not None or alert.snoozed_at(self.now) or self._hushed(alert):
            return None
        if self.channel.escalation and alert.escalated_at is None:
            return None
        notice = self.notices.get(alert.pk)
        if notice is None:
            return (alert.escalated_at or alert.opened_at) if self.channel.escalation else alert.opened_at, Said(NEW, alert)
        if alert.level > notice.level:
            # Not by the moment of the last rise: what rises all the time would never have waited long enough.
            due = notice.told_at + WORSE_GAP
            return (due - GATHER, Said(WORSE, alert)) if due <= self.now else None
        if alert.severity >= Severity.CRITICAL and notice.told_at <= self.now - REPEAT:
            return notice.told_at + REPEAT - GATHER, Said(STILL, alert)
        return None

    def _joins(self, fold: Fold, found: list[tuple[datetime, Said]]) -> bool:
        """True when all of ``found`` are new and follow close upon the last of the fold: the channel has heard of it."""
        if any(said.why != NEW for _since, said in found) or fold.created_at <= self.now - FOLD_LONGEST:
            return False
        if min(since for since, _said in found) > fold.joined_at + FOLD_GAP:
            return False
        fold.joined_at = max(fold.joined_at, *(since for since, _said in found))
        fold.save(update_fields=["joined_at", "updated_at"])
        for _since, said in found:
            self._remember(said.alert, fold)
        return True

    def _folded(self, kind: str, found: list[tuple[datetime, Said]], going_on: Fold | None) -> Fold | None:
        """The fold that ``found`` make, with those of their kind that were told a moment ago; None for a few."""
        fresh = [since for since, said in found if said.why == NEW]
        lately = [
            notice
            for notice in self.notices.values()
            if notice.alert.kind == kind and notice.fold_id is None and notice.told_at > self.now - FOLD_GAP and notice.alert.open
        ]
        if not fresh or len(fresh) + len(lately) < FOLD_FROM:
            return None
        if going_on is not None:
            self._end(going_on)
        fold = Fold.objects.create(channel=self.channel, kind=kind, joined_at=max(fresh))
        # Its age is counted by the clock that the plan is made by.
        Fold.objects.filter(pk=fold.pk).update(created_at=self.now)
        for notice in lately:
            self._remember(notice.alert, fold, told_at=notice.told_at)
        return fold

    def _remember(self, alert: Alert, fold: Fold | None, *, told_at: datetime | None = None) -> None:
        earlier = self.notices.get(alert.pk)
        kept = fold or (earlier.fold if earlier and earlier.fold and earlier.fold.ended_at is None else None)
        self.told[alert.pk] = Notice(
            channel=self.channel, alert=alert, open=True, level=alert.level, told_at=told_at or self.now, fold=kept
        )

    # --- What is over ----------------------------------------------------------------------------------------------------
    def _closings(self) -> list[Notice]:
        singles, folds = [], defaultdict(list)
        for notice in self.notices.values():
            if notice.fold is not None and notice.fold.ended_at is None:
                folds[notice.fold].append(notice)
            elif self._settled(notice):
                singles.append(notice)
        for fold, members in folds.items():
            singles += self._closing_of(fold, members)
        return singles

    def _settled(self, notice: Notice) -> bool:
        closed = notice.alert.closed_at
        return closed is not None and closed <= self.now - SETTLE and not self._hushed(notice.alert)

    def _closing_of(self, fold: Fold, members: list[Notice]) -> list[Notice]:
        """Those of a fold that are over, once nearly all are and nothing more happens; else none."""
        over = [notice for notice in members if notice.alert.closed_at is not None]
        if not over or not all(self._settled(notice) for notice in over):
            return []
        left = [notice for notice in members if notice.alert.closed_at is None]
        last = max(notice.alert.closed_at for notice in over if notice.alert.closed_at)
        many = len(left) >= FOLD_FROM
        if many and last > self.now - FOLD_LONGEST:
            return []
        if not many:
            self._end(fold)
        for notice in left:
            self.said.append(Said(LEFT, notice.alert))
            self._remember(notice.alert, fold if many else None, told_at=notice.told_at)
        return over

    def _over(self, notice: Notice) -> None:
        self.said.append(Said(OVER, notice.alert))
        self.told[notice.alert_id] = Notice(
            channel=self.channel, alert=notice.alert, open=False, level=notice.level, told_at=self.now, fold=None
        )

    def _end(self, fold: Fold) -> None:
        fold.ended_at = self.now
        fold.save(update_fields=["ended_at", "updated_at"])

    # --- The day ---------------------------------------------------------------------------------------------------------
    def summary(self) -> Delivery | None:
        """The daily summary, when its hour has come and the day's was not made."""
        local = quiet.london(self.now)
        due = self.channel.digest and local.hour >= settings.NOTIFY_DIGEST_HOUR and self.channel.digest_day != local.date()
        if not due:
            return None
        self.channel.digest_day = local.date()
        self.channel.save(update_fields=["digest_day", "updated_at"])
        return self._deliver(Purpose.DIGEST, wording.digest(self.channel.team, self.open, self.now))

    def _deliver(self, purpose: Purpose, content: dict[str, Any]) -> Delivery:
        return Delivery.objects.create(
            team=self.channel.team, channel=self.channel, purpose=purpose, content=content, due_at=self.now
        )
