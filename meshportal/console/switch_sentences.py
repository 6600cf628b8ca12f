"""What was done to system switches, as words before and after the name of the case."""

from __future__ import annotations

from mailboxes.switches.checklists import POINTS
from mailboxes.switches.states import CaseState
from meshportal.audit.models import AuditEvent

ACTIONS: dict[str, str] = {
    "switch.suspected": "Switch suspected",
    "switch.told": "Switch entered",
    "switch.moved": "Switch moved on",
    "switch.refused": "Act on a switch refused",
    "switch.changed": "Facts of a switch changed",
    "switch.address_set": "Address in a switch entered",
    "switch.looked_up": "Addresses of a switch looked up",
    "switch.release_asked": "Release of held messages asked for",
    "switch.released": "Held messages released",
    "switch.release_withdrawn": "Release of held messages withdrawn",
    "switch.commented": "Switch commented on",
    "switch.safety_told": "Clinical safety officer told",
    "switch.ticked": "Checklist ticked",
    "switch.unticked": "Tick taken back",
}

_BEFORE: dict[str, str] = {
    "switch.suspected": "opened a case for the",
    "switch.told": "entered the",
    "switch.moved": "moved the",
    "switch.refused": "was refused an act on the",
    "switch.changed": "changed facts of the",
    "switch.address_set": "entered an address of the",
    "switch.looked_up": "had MESH asked for the addresses of the",
    "switch.release_asked": "asked for the release of what is held by the",
    "switch.released": "agreed to the release, for the",
    "switch.release_withdrawn": "withdrew the release of what is held by the",
    "switch.commented": "commented on the",
    "switch.safety_told": "recorded that the clinical safety officer was told of the",
    "switch.ticked": "ticked off, for the",
    "switch.unticked": "took back a tick, for the",
}


def words(event: AuditEvent) -> tuple[str, str] | None:
    """The words before and after the case's name; None for an act on something else."""
    before = _BEFORE.get(event.action)
    return None if before is None else (before, _after(event))


def _after(event: AuditEvent) -> str:
    facts = event.after
    if event.action == "switch.moved":
        labels = dict(CaseState.choices)
        was, now = (str(labels.get(str(one.get("state")), "")).lower() for one in (event.before, facts))
        return f" from {was} to {now}"
    if event.action == "switch.refused":
        return f": {facts.get('asked', '')}"
    if event.action == "switch.changed":
        return ": " + "; ".join(f"{name.replace('_', ' ')} to “{value or 'nothing'}”" for name, value in sorted(facts.items()))
    if event.action == "switch.address_set":
        return f": {facts.get('address', '')}"
    if event.action == "switch.released":
        number = int(facts.get("messages") or 0)
        return f", of {number:,} message{'' if number == 1 else 's'}"
    if event.action in ("switch.ticked", "switch.unticked"):
        return f": {POINTS.get(str(facts.get('point')), '')}"
    return ""
