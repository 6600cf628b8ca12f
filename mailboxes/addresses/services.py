"""What people do with the address book, what traffic shows of it, and what others ask it to look at soon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from mailboxes.addresses import answers, changes, locking, searches, timing
from mailboxes.models import AddressEntry, AddressPair
from mailboxes.models.address import DRIFTED, Drift, Ended, Source
from mailboxes.models.mailbox import mailbox_id_shape
from mailboxes.models.organisation import ods_code_shape
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.mesh import EndpointMatch

# A person may ask again once something was put right, but not hammer; a thousand reports ask once.
CHECK_GAP = timedelta(seconds=60)


# --- What people do ---------------------------------------------------------------------------------------------------
def add(*, actor: Actor, team: Team, environment: str, ods_code: str, workflow_id: str, mailbox_id: str = "") -> AddressEntry:
    """Enters an organisation for a workflow by hand; without ``mailbox_id`` MESH is to say it. Raises ValidationError."""
    code, box, workflow = ods_code.strip().upper(), mailbox_id.strip().upper(), workflow_id.strip()
    _check(code, workflow, box)
    with transaction.atomic():
        pair = _pair(environment, code, workflow)
        entry = AddressEntry.objects.select_for_update().filter(team=team, pair=pair).first()
        if entry is not None and entry.removed_at is None:
            raise ValidationError({"workflow_id": f"{code} is in your address book for this workflow already."})
        source = Source.TYPED if box else Source.LOOKUP
        entry = _enter(entry or AddressEntry(team=team, pair=pair), mailbox_id=box, source=source)
        _ask_soon(AddressPair.objects.filter(pk=pair.pk))
        audit.record(actor=actor, action="address.added", target=entry, team=team, after={"mailbox": box, **_facts(pair)})
    return entry


def confirm(*, actor: Actor, entry: AddressEntry, mailbox_id: str, reason: str) -> AddressEntry:
    """A person says that ``mailbox_id``, which MESH answered, is right. Raises Refused."""
    if not reason.strip():
        raise Refused("Say how you know that the address is right.")
    now = timezone.now()
    with transaction.atomic():
        pair, entry = _held(entry)
        match = next((one for one in pair.results if one["id"] == mailbox_id), None)
        if match is None:
            raise Refused("MESH does not answer this mailbox any more. Look at what it answers now.")
        if entry.drift not in (*DRIFTED, Drift.UNKNOWN):
            raise Refused("There is nothing to confirm: MESH answers what the address book says.")
        before, was = entry.mailbox_id, entry.drift
        entry.mailbox_id, entry.mailbox_name, entry.source = match["id"], match["name"], Source.LOOKUP
        entry.drift, entry.drift_since, entry.verified_at, entry.accepted = Drift.AGREES, None, pair.answered_at, pair.ids
        entry.save()
        if was in DRIFTED:
            changes.ended(entry=entry, how=Ended.CONFIRMED, now=now, by=actor.label, reason=reason.strip())
        audit.record(
            actor=actor,
            action="address.confirmed",
            target=entry,
            team=entry.team,
            reason=reason.strip(),
            before={"mailbox": before},
            after={"mailbox": entry.mailbox_id, **_facts(pair)},
        )
    return entry


def remove(*, actor: Actor, entry: AddressEntry, reason: str) -> None:
    """Takes ``entry`` out of the book; its history stays. Raises Refused."""
    if not reason.strip():
        raise Refused("Say why the entry is removed.")
    now = timezone.now()
    with transaction.atomic():
        pair, entry = _held(entry)
        drifted = entry.drifted
        entry.removed_at, entry.drift, entry.drift_since = now, Drift.NEW, None
        entry.save()
        if not AddressEntry.objects.filter(pair=pair, removed_at__isnull=True).exists():
            AddressPair.objects.filter(pk=pair.pk).update(next_lookup_at=None, urgent=False)
        if drifted:
            changes.ended(entry=entry, how=Ended.REMOVED, now=now, by=actor.label, reason=reason.strip())
        audit.record(
            actor=actor,
            action="address.removed",
            target=entry,
            team=entry.team,
            reason=reason.strip(),
            before={"mailbox": entry.mailbox_id, **_facts(pair)},
        )


def check_now(*, actor: Actor, entry: AddressEntry) -> str:
    """Has MESH asked at once; says what happens now. Raises Refused within a minute of the last time."""
    now = timezone.now()
    with transaction.atomic():
        pair, entry = _held(entry)
        if pair.asked_at is not None and now - pair.asked_at < CHECK_GAP:
            raise Refused("MESH was asked less than a minute ago. This page shows what it said.")
        AddressPair.objects.filter(pk=pair.pk).update(next_lookup_at=now, urgent=True)
        audit.record(actor=actor, action="address.check_asked", target=entry, team=entry.team, after=_facts(pair))
    return "MESH will be asked within seconds. This page shows by itself what it says."


# --- What traffic shows -----------------------------------------------------------------------------------------------
def note_seen(
    *, team_id: Any, environment: str, ods_code: str, workflow_id: str, mailbox_id: str, mailbox_name: str = ""
) -> None:
    """Traffic shows that ``mailbox_id`` is the organisation's for this workflow. What stands in the book already is left as
    it is: only a person, or MESH where nothing stands yet, says another thing. Whatever is no code or id is passed over."""
    code, box = ods_code.strip().upper(), mailbox_id.strip().upper()
    try:
        _check(code, workflow_id, box)
    except ValidationError:
        return
    if not box or _live(team_id, environment, code, workflow_id).exists():
        return
    with transaction.atomic():
        pair = _pair(environment, code, workflow_id)
        entry = AddressEntry.objects.select_for_update().filter(team_id=team_id, pair=pair).first()
        if entry is not None and entry.removed_at is None:
            return
        _enter(entry or AddressEntry(team_id=team_id, pair=pair), mailbox_id=box, source=Source.TRAFFIC, name=mailbox_name)
        _plan(pair)


def note_lookup(
    *,
    team_id: Any,
    environment: str,
    ods_code: str,
    workflow_id: str,
    found: Sequence[EndpointMatch],
    chosen: str = "",
) -> None:
    """MESH was asked for a message that is being written: the answer belongs into the history, and every book is judged by it.
    With ``chosen`` the organisation comes into the team's book, unless it stands there."""
    code, box = ods_code.strip().upper(), chosen.strip().upper()
    try:
        _check(code, workflow_id, box)
    except ValidationError:
        return
    known = _live(team_id, environment, code, workflow_id).exists()
    if not (known or box):
        return
    now = timezone.now()
    results = answers.plain(found)
    with transaction.atomic():
        pair = _pair(environment, code, workflow_id)
        if not known:
            entry = AddressEntry.objects.select_for_update().filter(team_id=team_id, pair=pair).first()
            if entry is None or entry.removed_at is not None:
                _enter(entry or AddressEntry(team_id=team_id, pair=pair), mailbox_id=box, source=Source.LOOKUP)
        values: dict[str, Any] = {"asked_at": now, "answered_at": now, "results": results, "failures": 0}
        AddressPair.objects.filter(pk=pair.pk).update(problem_code="", problem="", **values)
        pair.refresh_from_db()
        _plan(pair)
        answers.keep(pair, results, now)


# --- What others ask for ----------------------------------------------------------------------------------------------
def check_soon(*, environment: str, workflow_id: str = "", ods_code: str = "", mailbox_id: str = "") -> int:
    """Something says that an address is not right any more (a report 12, 14 deactivated, 17, EPL-150, EPL-151): asks MESH at
    once, for the organisation or for all whose mailbox is ``mailbox_id``; gives for how many pairs.

    Those that were asked within the last minute are left: a thousand reports ask once.
    """
    if not ods_code and not mailbox_id:
        return 0
    rows = AddressPair.objects.filter(environment=environment, next_lookup_at__isnull=False)
    if workflow_id:
        rows = rows.filter(workflow_id=workflow_id)
    if ods_code:
        rows = rows.filter(ods_code=ods_code.strip().upper())
    else:
        entries = AddressEntry.objects.filter(mailbox_id=mailbox_id.strip().upper(), removed_at__isnull=True)
        rows = rows.filter(pk__in=entries.filter(pair__environment=environment).values("pair_id"))
    return _ask_soon(rows)


def ask_soon(pair: AddressPair) -> None:
    """Has MESH asked for ``pair`` at once, unless that was done within the last minute: then in its next night at the latest."""
    _plan(pair)
    _ask_soon(AddressPair.objects.filter(pk=pair.pk))


def watch_hourly(*, environment: str, ods_code: str, until: datetime) -> int:
    """A switch of systems is on: MESH is asked every hour until then, beginning now; gives for how many pairs.

    Another team's case may want it for longer: then it stays so long.
    """
    rows = AddressPair.objects.filter(environment=environment, ods_code=ods_code.upper(), next_lookup_at__isnull=False)
    with transaction.atomic():
        locking.change(rows.filter(Q(hourly_until__isnull=True) | Q(hourly_until__lt=until)), hourly_until=until)
        return _ask_soon(rows)


# --- How --------------------------------------------------------------------------------------------------------------
def _ask_soon(rows: QuerySet[AddressPair]) -> int:
    now = timezone.now()
    lately = Q(asked_at__isnull=True) | Q(asked_at__lt=now - CHECK_GAP)
    with transaction.atomic():
        return locking.change(rows.filter(lately).exclude(urgent=True, next_lookup_at__lte=now), next_lookup_at=now, urgent=True)


def _check(code: str, workflow_id: str, mailbox_id: str) -> None:
    problems: dict[str, Any] = {}
    for field, value, check in (("ods_code", code, ods_code_shape), ("mailbox_id", mailbox_id, mailbox_id_shape)):
        try:
            if value or field == "ods_code":
                check(value)
        except ValidationError as error:
            problems[field] = error
    if not workflow_id or len(workflow_id) > 300 or not workflow_id.isprintable() or " " in workflow_id:
        problems["workflow_id"] = "Enter the workflow ID, without spaces, such as TOC_FHIR_IP_DISCH."
    if problems:
        raise ValidationError(problems)


def _live(team_id: Any, environment: str, code: str, workflow_id: str) -> Any:
    return AddressEntry.objects.filter(
        team_id=team_id,
        pair__environment=environment,
        pair__ods_code=code,
        pair__workflow_id=workflow_id,
        removed_at__isnull=True,
    )


def held_pairs(environment: str, code: str, workflow_ids: Iterable[str]) -> list[AddressPair]:
    """The organisation's pairs for these workflows, made where they are not there yet, their rows locked."""
    names = sorted(workflow_ids)
    for workflow_id in names:
        AddressPair.objects.get_or_create(environment=environment, ods_code=code, workflow_id=workflow_id)
        searches.plan(environment, workflow_id)
    return locking.locked(AddressPair.objects.filter(environment=environment, ods_code=code, workflow_id__in=names))


def _pair(environment: str, code: str, workflow_id: str) -> AddressPair:
    [pair] = held_pairs(environment, code, [workflow_id])
    return pair


def _enter(entry: AddressEntry, *, mailbox_id: str, source: Source, name: str = "") -> AddressEntry:
    entry.mailbox_id, entry.mailbox_name, entry.source = mailbox_id, name[:300], source
    entry.drift, entry.drift_since, entry.verified_at, entry.accepted, entry.removed_at = Drift.NEW, None, None, [], None
    entry.save()
    return entry


def _plan(pair: AddressPair) -> None:
    """It is asked at once when it never was, else in its next night."""
    if pair.next_lookup_at is None:
        now = timezone.now()
        wanted = now if pair.answered_at is None else timing.tonight(str(pair.pk), now)
        AddressPair.objects.filter(pk=pair.pk).update(next_lookup_at=wanted)


def _held(entry: AddressEntry) -> tuple[AddressPair, AddressEntry]:
    """Both rows, locked in the order in which whoever keeps an answer locks them. Raises Refused for one that was removed."""
    pair = AddressPair.objects.select_for_update().get(pk=entry.pair_id)
    entry = AddressEntry.objects.select_for_update(of=("self",)).select_related("team").get(pk=entry.pk)
    if entry.removed_at is not None:
        raise Refused("This entry was removed from the address book.")
    entry.pair = pair
    return pair, entry


def _facts(pair: AddressPair) -> dict[str, str]:
    return {"environment": pair.environment, "ods_code": pair.ods_code, "workflow_id": pair.workflow_id}
