"""What follows when MESH answers another thing than the book says: a row in its history, an alert, a sign of a switch.

One alert for each organisation of a team, however many of its workflows moved. It is over when a person confirmed the address,
or when MESH answers as before again. What several practices share is no change: each entry is compared with itself alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

import structlog
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from mailboxes.models import AddressChange, AddressEntry
from mailboxes.models.address import DRIFTED, Drift, Ended
from mailboxes.switches import scores
from mailboxes.switches.signals import note_signal
from meshportal.audit.actors import Actor
from meshportal.notify import services as notify
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule, register_kind, register_rule

log = structlog.get_logger("mailboxes.addresses")

CHANGED = "address.changed"
_ACTOR = Actor.system("address book")
_SIGNS = {
    Drift.CHANGED: scores.LOOKUP_CHANGED,
    Drift.GONE: scores.LOOKUP_EMPTY,
    Drift.SEVERAL: scores.LOOKUP_SEVERAL,
}
_KEEP_TO = "Do not choose by guess: ask the organisation or the service desk when you are not sure."


def register() -> None:
    """Makes the kind and rule of this module known."""
    register_kind(KIND)
    register_rule(RULE)


def opened(*, entry: AddressEntry, kind: str, new: Sequence[str], now: datetime) -> AddressChange:
    """MESH answers ``new`` where ``entry``, saved already, says another thing. In the transaction that keeps the answer."""
    _end(entry, Ended.SUPERSEDED, now)
    change = AddressChange.objects.create(
        team_id=entry.team_id, entry=entry, kind=kind, old=entry.mailbox_id, new=list(new), at=now
    )
    _tell(entry)
    return change


def ended(*, entry: AddressEntry, how: Ended, now: datetime, by: str = "", reason: str = "") -> None:
    """The change of ``entry``, saved already, is over."""
    _end(entry, how, now, by=by, reason=reason)
    _tell(entry)


def open_change(entry: AddressEntry) -> AddressChange | None:
    """The change that is not over yet."""
    return AddressChange.objects.filter(entry=entry, ended_at__isnull=True).first()


def pass_on(change: AddressChange) -> None:
    """The one place where :mod:`mailboxes.switches` hears of it, in the transaction that keeps the answer.

    After whatever else that locks: a case that opens is in the audit, whose lock comes last everywhere.
    """
    entry, pair = change.entry, change.entry.pair
    log.info(
        "address_changed",
        team=entry.team.slug,
        environment=pair.environment,
        ods_code=pair.ods_code,
        workflow=pair.workflow_id,
        old=entry.mailbox_id,
        new=change.new,
        kind=change.kind,
    )
    note_signal(
        environment=pair.environment,
        ods_code=pair.ods_code,
        workflow_id=pair.workflow_id,
        kind=_SIGNS[Drift(change.kind)],
        detail={"mailbox": entry.mailbox_id, "answer": ", ".join(change.new)},
        team=entry.team,
    )


def _end(entry: AddressEntry, how: Ended, now: datetime, *, by: str = "", reason: str = "") -> None:
    rows = AddressChange.objects.filter(entry=entry, ended_at__isnull=True)
    rows.update(ended_at=now, ended=how, ended_by=by[:300], reason=reason, updated_at=now)


def _tell(entry: AddressEntry) -> None:
    """Raises the alert of the entry's organisation, brings its words up to date, or closes it."""
    pair = entry.pair
    rows = _drifted().filter(team=entry.team_id, pair__environment=pair.environment, pair__ods_code=pair.ods_code)
    found = list(_conditions(rows))
    for condition in found:
        try:
            with transaction.atomic():
                notify.raise_alert(actor=_ACTOR, condition=condition)
        except IntegrityError:
            # Another worker raised it in the very moment, for another workflow. The next sweep counts both.
            log.info("alert_raised_by_another", key=condition.key)
    if not found:
        notify.close_alert(actor=_ACTOR, team=entry.team, kind=CHANGED, key=_key(entry))


def find(_now: datetime) -> Iterator[Condition]:
    """Every organisation whose address is another one than a team's book says."""
    return _conditions(_drifted())


def _drifted() -> QuerySet[AddressEntry]:
    rows = AddressEntry.objects.filter(drift__in=DRIFTED, removed_at__isnull=True).select_related("team", "pair")
    return rows.order_by("team_id", "pair__environment", "pair__ods_code", "pair__workflow_id")


def _key(entry: AddressEntry) -> str:
    return f"{entry.pair.environment}:{entry.pair.ods_code}"


def _conditions(rows: Iterable[AddressEntry]) -> Iterator[Condition]:
    for (_team, key), group in groupby(rows, key=lambda entry: (entry.team_id, _key(entry))):
        entries = list(group)
        first = entries[0]
        latest = max(entry.drift_since for entry in entries if entry.drift_since is not None)
        warning = all(entry.drift == Drift.SEVERAL for entry in entries)
        yield Condition(
            kind=CHANGED,
            key=key,
            subject=first.pair.ods_code,
            sentence=_sentence(entries),
            team=first.team,
            # The workflows of one night are one change; another day's is told again.
            level=latest.toordinal(),
            severity=Severity.WARNING if warning else Severity.CRITICAL,
            url_name="addresses:list",
            url_args={"team": first.team.slug},
            url_query={"text": first.pair.ods_code, "environment": first.pair.environment},
            since=min(entry.drift_since for entry in entries if entry.drift_since is not None),
        )


def _sentence(entries: Sequence[AddressEntry]) -> str:
    number = len(entries)
    where = "for one workflow" if number == 1 else f"for {number} workflows"
    first = entries[0]
    alike = {(entry.drift, entry.mailbox_id, tuple(entry.pair.ids)) for entry in entries}
    if len(alike) > 1:
        return f"has another address in MESH than your address book says, {where}."
    if first.drift == Drift.GONE:
        return f"had the mailbox {first.mailbox_id}; MESH names none any more, {where}."
    if first.drift == Drift.SEVERAL:
        return f"had the mailbox {first.mailbox_id}; MESH names {len(first.pair.results)} now, {where}."
    return f"had the mailbox {first.mailbox_id}; MESH answers {first.pair.ids[0]} now, {where}."


KIND = Kind(
    CHANGED,
    "Address changed",
    "organisation has another address in MESH",
    "organisations have another address in MESH",
    Severity.CRITICAL,
    "Letters to the old mailbox may be read by nobody. Find out whether the organisation changed its clinical system, closed or "
    f"merged, then confirm the address in the address book. {_KEEP_TO}",
)
RULE = Rule("changed addresses", (CHANGED,), find)
