"""A case in words: its line of states, what it waits for, what can be done next, its evidence and its steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailboxes.models import CaseAddress, CaseEvent, Evidence, Release, SwitchCase
from mailboxes.switches import asking, moves
from mailboxes.switches.scores import SIGNS
from mailboxes.switches.states import TRANSITIONS, CaseState

_LINE = tuple(state for state in CaseState if state != CaseState.FALSE_ALARM)


@dataclass(frozen=True)
class Stage:
    """A state of the line: ``done``, ``current`` or neither."""

    label: str
    done: bool
    current: bool


def line(case: SwitchCase) -> list[Stage]:
    """The line of states, with where the case stands. A false alarm stands on it where it ended."""
    at = CaseState(case.came_from) if case.state == CaseState.FALSE_ALARM and case.came_from else CaseState(case.state)
    index = _LINE.index(at)
    return [Stage(state.label, position < index, state == case.state) for position, state in enumerate(_LINE)]


@dataclass(frozen=True)
class Act:
    """A way out of the case's state. ``why``: what the reason is asked as, '' where none is needed."""

    to: str
    summary: str
    consequence: str
    button: str
    why: str = ""
    ods: bool = False
    mild: bool = True


def acts(case: SwitchCase) -> list[Act]:
    """What can be done next, the way ahead first. Whether its conditions are met, the service says."""
    found = []
    for state in CaseState:
        if state not in TRANSITIONS[case.state]:
            continue
        if case.state == CaseState.SWITCHED and state == CaseState.FROZEN and case.undone_at:
            continue
        found.append(_act(case, state))
    # Backwards, and out, after the way ahead.
    order = [str(state) for state in _LINE]
    here = order.index(case.state) if case.state in order else 0
    return sorted(found, key=lambda act: act.to not in order or order.index(act.to) <= here)


def _act(case: SwitchCase, state: CaseState) -> Act:
    if state == CaseState.CONFIRMED:
        text = "Nothing is held yet. The old and new mailboxes and the dates can be entered from then on."
        unknown = case.organisation is None
        return Act(state, "Confirm the switch", text, "Confirm", "How do you know? Who confirmed it, and when?", unknown)
    if state == CaseState.SCHEDULED and case.state == CaseState.FROZEN:
        text = "New messages go to the old mailbox again. What is held stays so until it is released."
        return Act(state, "Put the switch off", text, "Put off", "Why is it put off?")
    if state == CaseState.SCHEDULED:
        return Act(state, "Schedule it", "It needs the day on which links go off, or the go-live day.", "Schedule")
    if state == CaseState.FROZEN and case.state == CaseState.SWITCHED:
        text = "New messages are held again. What was released stays sent. This can be done once."
        return Act(state, "Undo the switch", text, "Undo the switch", "Why is it undone?", mild=False)
    if state == CaseState.FROZEN:
        text = "From now on new messages for this practice are held in the portal, however they are sent."
        return Act(state, "Freeze: hold new messages", text, "Freeze", mild=False)
    if state == CaseState.SWITCHED:
        text = "MESH is asked first: it must answer the new mailbox for every workflow. Otherwise a manager says why it counts."
        why = "Only if MESH does not answer the new mailbox: why does it count all the same? (managers)"
        return Act(state, "Switch to the new addresses", text, "Switch", why)
    if state == CaseState.PROVING:
        text = "It needs every held message to be released. From then on the portal counts what is collected."
        return Act(state, "Begin to prove it", text, "Begin proving")
    if state == CaseState.CLOSED:
        text = "It needs its proof, and no message may be held."
        return Act(state, "Close the case", text, "Close")
    text = "The same evidence opens no other case for 30 days. Other evidence does."
    return Act(state, "It is a false alarm", text, "False alarm", "Why is it none?", mild=False)


def release_choices(case: SwitchCase) -> list[tuple[str, str]]:
    """Where held messages can go in the case's state."""
    if case.state in (CaseState.SWITCHED, CaseState.PROVING):
        return [(Release.To.NEW.value, Release.To.NEW.label)]
    if case.state in (CaseState.FROZEN, CaseState.SCHEDULED):
        return [(Release.To.OLD.value, Release.To.OLD.label)]
    return []


def waits_for(case: SwitchCase, now: datetime) -> list[str]:
    """The next rule that is not met, in sentences; none for a case that has ended or can go on."""
    found = []
    addresses = list(case.addresses.all())
    if case.state == CaseState.SUSPECTED:
        found.append("A person to find out: ring the practice, its ICB or its supplier.")
        if case.organisation is None:
            found.append("Whose mailbox it is: enter the practice’s ODS code when you confirm it.")
    if case.state == CaseState.CONFIRMED and not (case.links_off or case.go_live):
        found.append("The day on which links go off, or the go-live day.")
    if case.state in (CaseState.CONFIRMED, CaseState.SCHEDULED) and not any(one.old_mailbox for one in addresses):
        found.append("The old mailbox of at least one workflow: without it nothing can be held.")
    if case.state == CaseState.FROZEN:
        without = [one.workflow_id for one in addresses if not one.new_mailbox]
        if without:
            found.append(f"The new mailbox of {', '.join(without)}.")
        unproven = [name for name in moves.unproven(case, now) if name not in without]
        if unproven:
            found.append(f"MESH to answer the new mailbox for {', '.join(unproven)}.")
    if case.state == CaseState.SWITCHED and asking.messages().held(case).number:
        found.append("The held messages to be released, by two people.")
    if case.state == CaseState.PROVING:
        found += moves.missing_proof(case, now)
    return found


def answer_words(address: CaseAddress, now: datetime) -> tuple[str, str]:
    """What lookup said of a workflow: a word and its tone."""
    if address.asked_at is None:
        return "Not asked yet", "quiet"
    if not address.answers:
        return "No mailbox", "bad"
    if address.answers > 1:
        return f"Several: {address.answer}", "warn"
    if address.proven_since(now - moves.ANSWER_COUNTS_FOR):
        return f"The new one: {address.answer}", "good"
    if address.answer == address.new_mailbox:
        return f"{address.answer}, too long ago", "quiet"
    return (f"Still the old one: {address.answer}", "warn") if address.answer == address.old_mailbox else (address.answer, "warn")


@dataclass(frozen=True)
class SignWords:
    """A piece of evidence in words."""

    found: Evidence
    strength: str
    tone: str
    sentence: str
    facts: tuple[tuple[str, str], ...]


_LABELS = {"mailbox": "Mailbox", "answer": "Answer", "code": "Code", "words": "What was said"}


def sign(found: Evidence) -> SignWords:
    """``found`` in words. A kind that nobody has words for is shown by its name."""
    known = SIGNS.get(found.kind)
    facts = [(label, str(found.detail[name])) for name, label in _LABELS.items() if found.detail.get(name)]
    if found.kind == "notice":
        facts = [fact for fact in facts if fact[0] != "Answer"]
    strength = known.word if known else "Unknown"
    tone = {"Certain": "bad", "Strong": "bad", "Medium": "warn"}.get(strength, "quiet")
    return SignWords(found, strength, tone, known.sentence if known else found.kind, tuple(facts))


@dataclass(frozen=True)
class Step:
    """A step of the case's history in words."""

    at: datetime
    what: str
    who: str
    words: str


_STEPS = {
    "opened": "Case opened",
    "notice": "A notice was entered",
    "changed": "Facts changed",
    "address": "Address entered",
    "comment": "Comment",
    "safety": "Clinical safety officer told",
    "ticked": "Ticked off",
    "unticked": "Tick taken back",
    "looked_up": "MESH was asked",
    "release_asked": "Release asked for",
    "released": "Released",
    "release_withdrawn": "Release withdrawn",
}


def step(event: CaseEvent) -> Step:
    """``event`` in words."""
    what = _STEPS.get(event.kind, event.kind.replace("_", " ").capitalize())
    if event.kind == "moved":
        labels = dict(CaseState.choices)
        what = f"{labels.get(event.from_state, event.from_state)} → {labels.get(event.to_state, event.to_state)}"
    return Step(event.at, what, event.actor_label.partition(" <")[0], event.words)
