"""The address book follows a system switch: on ``switched`` every workflow gets the new mailbox, its one undo gives the old back.

| what is there | what becomes of it |
|---|---|
| an entry with another mailbox | takes it; a change that stood open for it is over when MESH answers this mailbox |
| no entry, or one that was removed | is entered, as typed in by a person: the case is signed |
| an entry that has this mailbox already | is left as it is |
| no mailbox known on that side of the case | is left as it is: an entry is never emptied |
| MESH still answers the other mailbox | the next lookup says so, as it would of any entry |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from django.utils import timezone

from mailboxes.addresses import changes, services
from mailboxes.models import AddressEntry, AddressPair, SwitchCase
from mailboxes.models.address import Drift, Ended, Source
from mailboxes.switches.states import WATCHED
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor

# After go-live MESH is asked every hour for as long as late changes are usual (domain notes c4).
WATCH_FOR = timedelta(days=7)


def take(*, actor: Actor, case: SwitchCase, mailboxes: Mapping[str, str], reason: str) -> int:
    """Sets the mailbox of each workflow of the case's practice; gives how many entries changed. Works in the caller's
    transaction. A case of which the practice is not known changes nothing."""
    if case.organisation is None:
        return 0
    environment, code = case.environment, case.organisation.ods_code
    wanted = {workflow_id: mailbox_id for workflow_id, mailbox_id in mailboxes.items() if mailbox_id}
    pairs = services.held_pairs(environment, code, wanted)
    taken = [_take(actor, case.team, pair, wanted[pair.workflow_id], reason) for pair in pairs]
    changed = [(entry, before) for entry, before in taken if before is not None]
    for entry, before in changed:
        audit.record(
            actor=actor,
            action="address.followed",
            target=entry,
            team=case.team,
            reason=reason,
            before={"mailbox": before},
            after={
                "mailbox": entry.mailbox_id,
                "environment": environment,
                "ods_code": code,
                "workflow_id": entry.pair.workflow_id,
            },
        )
    return len(changed)


def watch(case: SwitchCase) -> None:
    """While the switch is on, has MESH asked every hour until a week after go-live, or after today where that is later or no
    day is known."""
    if case.organisation is None or case.state not in WATCHED:
        return
    latest = now = timezone.now()
    if case.go_live is not None:
        latest = max(now, timezone.make_aware(datetime.combine(case.go_live, time.max)))
    services.watch_hourly(environment=case.environment, ods_code=case.organisation.ods_code, until=latest + WATCH_FOR)


def _take(actor: Actor, team: Team, pair: AddressPair, mailbox_id: str, reason: str) -> tuple[AddressEntry, str | None]:
    """The entry, and the mailbox that it had; None when it had this one already."""
    found = AddressEntry.objects.select_for_update().filter(team=team, pair=pair).first()
    entry = found or AddressEntry(team=team, pair=pair)
    if found is not None and entry.removed_at is None and entry.mailbox_id == mailbox_id:
        return entry, None
    before, drifted = entry.mailbox_id if entry.removed_at is None else "", entry.drifted
    entry.mailbox_id, entry.mailbox_name, entry.source = mailbox_id, "", Source.TYPED
    entry.drift, entry.drift_since, entry.verified_at, entry.accepted, entry.removed_at = Drift.NEW, None, None, [], None
    if pair.ids == [mailbox_id]:
        entry.mailbox_name = pair.results[0]["name"]
        entry.drift, entry.verified_at, entry.accepted = Drift.AGREES, pair.answered_at, pair.ids
    entry.save()
    if drifted:
        changes.ended(entry=entry, how=Ended.CONFIRMED, now=timezone.now(), by=actor.label, reason=reason)
    services.ask_soon(pair)
    return entry, before
