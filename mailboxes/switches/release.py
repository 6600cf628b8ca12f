"""Letting held messages go: one person asks, another agrees, and both saw the same addresses.

| what is asked | what it gets |
|---|---|
| nothing is held, or a release is asked for already | refused |
| to the new mailboxes, and one of a held workflow is not entered; or before the switch | refused |
| to the old mailboxes once the switch is done | refused: nobody reads them |
| the one who asked agrees | refused, here and by the database; it leaves an audit row |
| an address was changed since it was asked | refused: ask again |
| the process dies | before the commit nothing is released; after it everything is |
"""

from __future__ import annotations

from django.utils import timezone

from mailboxes.models import Release, SwitchCase
from mailboxes.switches import asking
from mailboxes.switches.refusing import acting, note
from mailboxes.switches.states import CaseState
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

SAME_PERSON = "You asked for this release yourself. Somebody else must agree to it."
# Where the messages may go in which states.
_STATES = {
    Release.To.NEW: (CaseState.SWITCHED, CaseState.PROVING),
    Release.To.OLD: (CaseState.FROZEN, CaseState.SCHEDULED),
}


def ask(*, actor: Actor, case: SwitchCase, to: str, reason: str) -> Release:
    """Asks for the release of what the case holds. Raises Refused."""
    with acting(actor, case, f"release {to}") as row:
        _check_person(actor)
        if not reason.strip():
            raise Refused("Say why the messages may go. The reason is kept with your name.")
        if pending(row) is not None:
            raise Refused("A release is asked for already. Somebody else must agree to it, or it is withdrawn.")
        addresses = _addresses(row, to)
        made = Release.objects.create(
            case=row,
            to=to,
            addresses=addresses,
            reason=reason.strip(),
            asked_by_id=actor.id,
            asked_by=actor.label[:300],
        )
        note(row, "release_asked", actor=actor, words=reason.strip())
        audit.record(
            actor=actor,
            action="switch.release_asked",
            target=row,
            team=row.team,
            reason=reason.strip(),
            after={"to": to, "addresses": addresses},
        )
    return made


def agree(*, actor: Actor, case: SwitchCase) -> int:
    """A second person agrees: the messages go on. How many. Raises Refused."""
    with acting(actor, case, "agree to the release") as row:
        _check_person(actor)
        asked = pending(row)
        if asked is None:
            raise Refused("No release is asked for.")
        if asked.asked_by_id == actor.id:
            raise Refused(SAME_PERSON)
        addresses = _addresses(row, asked.to)
        if {name: asked.addresses.get(name) for name in addresses} != addresses:
            raise Refused(
                "The addresses, or the workflows that are held, changed since this was asked for. Withdraw it and ask again."
            )
        asked.agreed_by_id, asked.agreed_by, asked.agreed_at = actor.id, actor.label[:300], timezone.now()
        asked.released = asking.messages().release(actor=actor, release=asked, addresses=addresses)
        asked.save()
        note(row, "released", actor=actor, words=f"{asked.released} {'message' if asked.released == 1 else 'messages'}")
        audit.record(
            actor=actor,
            action="switch.released",
            target=row,
            team=row.team,
            reason=asked.reason,
            after={"to": asked.to, "addresses": addresses, "messages": asked.released, "asked_by": asked.asked_by},
        )
    return asked.released


def withdraw(*, actor: Actor, case: SwitchCase) -> None:
    """Takes a release back that nobody has agreed to. Raises Refused."""
    with acting(actor, case, "withdraw the release") as row:
        asked = pending(row)
        if asked is None:
            raise Refused("No release is asked for.")
        asked.withdrawn_by, asked.withdrawn_at = actor.label[:300], timezone.now()
        asked.save()
        note(row, "release_withdrawn", actor=actor)
        audit.record(actor=actor, action="switch.release_withdrawn", target=row, team=row.team)


def pending(case: SwitchCase) -> Release | None:
    """The release that waits for a second person."""
    return Release.objects.filter(case=case, agreed_at__isnull=True, withdrawn_at__isnull=True).first()


def _addresses(case: SwitchCase, to: str) -> dict[str, str]:
    """Where each held workflow is to go; '' for its own recipient as it is. Raises Refused."""
    if to not in Release.To.values:
        raise Refused("Choose where the messages are to go.")
    held = asking.messages().held(case)
    if not held.number:
        raise Refused("Nothing is held.")
    if case.state not in _STATES[Release.To(to)]:
        if to == Release.To.NEW:
            raise Refused("Messages go to the new mailboxes only once the case is switched.")
        raise Refused("The switch is done: nobody reads the old mailboxes any more.")
    if to == Release.To.OLD:
        return dict.fromkeys(held.workflows, "")
    known = {address.workflow_id: address.new_mailbox for address in case.addresses.all()}
    without = [name for name in held.workflows if not known.get(name)]
    if without:
        raise Refused(f"Enter the new mailbox of every held workflow first: {', '.join(without)}.")
    return {name: known[name] for name in held.workflows}


def _check_person(actor: Actor) -> None:
    if actor.kind != "user":
        raise Refused("Only a signed-in person can release held messages.")
