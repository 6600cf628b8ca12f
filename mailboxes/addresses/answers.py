"""Keeping an answer of MESH, and what it means for each team's entry.

| the book says | MESH answers | the entry |
|---|---|---|
| nothing yet | one mailbox | takes it |
| nothing yet | none, or several | no mailbox known: a person chooses |
| M | M alone | agrees |
| M, never checked before | M among others | agrees; the others are kept as accepted along with it |
| M | the same several as were accepted with M | agrees |
| M | several otherwise | several: change |
| M | one other | changed: change |
| M | none | gone: change; unless M was only ever seen in traffic, and never checked: no mailbox known |

A shared mailbox is told by its owner's ODS code in traffic, and MESH need not name it for that code: hence the last line.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone

from mailboxes.addresses import changes
from mailboxes.models import AddressAnswer, AddressChange, AddressEntry, AddressPair
from mailboxes.models.address import DRIFTED, Drift, Ended, Source
from meshportal.mesh import EndpointMatch

# What MESH could name for one organisation and one workflow; more would be another thing than an answer.
_MOST = 200


def plain(found: Iterable[EndpointMatch]) -> list[dict[str, str]]:
    """An answer as it is kept: sorted by id, each once, without what no column takes."""
    by_id: dict[str, str] = {}
    for one in found:
        key = _printable(one.mailbox_id).upper()[:100]
        if key:
            by_id.setdefault(key, _printable(one.mailbox_name)[:300])
    return [{"id": key, "name": by_id[key]} for key in sorted(by_id)[:_MOST]]


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text).strip()


def keep(pair: AddressPair, results: list[dict[str, str]], now: datetime) -> None:
    """Adds the answer to the history, judges every entry by it, and passes on what changed. In a transaction that holds the
    pair's row, and that has written ``results`` to it."""
    for change in written(pair, results, now):
        changes.pass_on(change)


def written(pair: AddressPair, results: list[dict[str, str]], now: datetime) -> list[AddressChange]:
    """The same for whoever keeps several answers in one transaction: the changes are the caller's to pass on, at its end."""
    AddressAnswer.objects.create(pair=pair, at=now, results=results)
    pair.results = results
    rows = AddressEntry.objects.select_for_update(of=("self",)).filter(pair=pair, removed_at__isnull=True)
    opened = []
    for entry in rows.select_related("team").order_by("pk"):
        entry.pair = pair
        change = _apply(entry, results, now)
        if change is not None:
            opened.append(change)
    return opened


def keep_failure(pair: AddressPair, code: str, sentence: str, now: datetime) -> None:
    """Adds to the history that MESH did not answer, and why."""
    AddressAnswer.objects.create(pair=pair, at=now, results=None, problem_code=code[:40], problem=sentence)


def judge(entry: AddressEntry, ids: list[str]) -> Drift:
    """How ``entry`` stands to the answer ``ids``; see the table above."""
    ours = entry.mailbox_id
    if not ours:
        return Drift.AGREES if len(ids) == 1 else Drift.UNKNOWN
    if ids == [ours]:
        return Drift.AGREES
    known = entry.verified_at is not None
    if ours in ids and (not known or ids == sorted(entry.accepted)):
        return Drift.AGREES
    if len(ids) > 1:
        return Drift.SEVERAL
    if ids:
        return Drift.CHANGED
    return Drift.GONE if known or entry.source != Source.TRAFFIC else Drift.UNKNOWN


def _apply(entry: AddressEntry, results: list[dict[str, str]], now: datetime) -> AddressChange | None:
    """Judges ``entry`` by the answer; gives the change that this opened."""
    before, ids = entry.drift, [one["id"] for one in results]
    entry.drift = judge(entry, ids)
    values: dict[str, Any] = {"drift": entry.drift, "updated_at": timezone.now()}
    if entry.drift == Drift.AGREES:
        match = next((one for one in results if one["id"] == entry.mailbox_id), results[0])
        values |= {
            "mailbox_id": match["id"],
            "mailbox_name": match["name"] or entry.mailbox_name,
            "verified_at": now,
            "accepted": ids,
        }
    drifted = entry.drift in DRIFTED
    values["drift_since"] = (entry.drift_since or now) if drifted else None
    AddressEntry.objects.filter(pk=entry.pk).update(**values)
    for name, value in values.items():
        setattr(entry, name, value)
    if drifted:
        change = changes.open_change(entry) if before in DRIFTED else None
        if change is None or (change.kind, change.new) != (entry.drift, ids):
            return changes.opened(entry=entry, kind=entry.drift, new=ids, now=now)
    elif before in DRIFTED:
        changes.ended(entry=entry, how=Ended.RETURNED, now=now)
    return None
