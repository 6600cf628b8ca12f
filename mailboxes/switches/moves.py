"""A case's way from one state to the next: what each step demands, and who may force it.

| what is asked | what it gets |
|---|---|
| a way that the table does not hold | refused, with an audit row |
| confirm without saying how it is known, or of which practice | refused |
| schedule without a date | refused |
| freeze without an old mailbox | refused: nothing could be held |
| switch before lookup answers the new mailbox for every workflow | refused, unless a manager says why it counts |
| a second undo | refused |
| prove, close or call it a false alarm while messages are held | refused: a held message would be forgotten |
| close before its proof | refused: so many collected messages of each workflow, and five days without a code 14 |
| two people in the same moment | the second one finds the case moved, and is refused |
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from mailboxes.addresses import following
from mailboxes.models import Evidence, Organisation, Suppression, SwitchCase
from mailboxes.models.organisation import ods_code_shape
from mailboxes.switches import asking
from mailboxes.switches.refusing import acting, may, note
from mailboxes.switches.shapes import fits
from mailboxes.switches.states import TRANSITIONS, CaseState
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

# Lookup's answer counts for so long.
ANSWER_COUNTS_FOR = timedelta(hours=24)
QUIET_FOR = timedelta(days=5)
SUPPRESSED_FOR = timedelta(days=30)
MANAGER = "switch.manage"


def move(*, actor: Actor, case: SwitchCase, to: str, reason: str = "", ods_code: str = "") -> SwitchCase:
    """Moves ``case`` to state ``to``. ``ods_code`` says which practice it is, where that was not known yet.

    Raises Refused, with an audit row, for a way that there is not and for one whose conditions are not met.
    """
    words = " ".join(reason.split())
    with acting(actor, case, f"to {to}") as row:
        before = row.state
        if to not in TRANSITIONS.get(before, frozenset()):
            known = dict(CaseState.choices).get(to, to)
            raise Refused(f"A case that is {row.get_state_display().lower()} cannot become {str(known).lower()}.")
        if ods_code:
            _name(row, ods_code)
        check = _CHECKS.get((before, to)) or _CHECKS.get(("", to))
        if check is not None:
            check(row, actor, words)
        now = timezone.now()
        row.came_from, row.state, row.state_since = before, to, now
        if to == CaseState.SWITCHED:
            row.switched_at = now
        if to in (CaseState.CLOSED, CaseState.FALSE_ALARM):
            row.ended_at = now
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            raise Refused("This practice has another open case. Go on with that one.") from None
        if to == CaseState.FALSE_ALARM:
            _teach(row, now)
        _follow(row, actor, words, before)
        note(row, "moved", actor=actor, words=words, before=before, after=to)
        audit.record(
            actor=actor,
            action="switch.moved",
            target=row,
            team=row.team,
            reason=words,
            before={"state": str(before)},
            after={"state": str(to)},
        )
    return row


def undo(*, actor: Actor, case: SwitchCase, reason: str) -> SwitchCase:
    """Takes ``switched`` back to ``frozen``, once. What was released meanwhile stays sent."""
    return move(actor=actor, case=case, to=CaseState.FROZEN, reason=reason)


def unproven(case: SwitchCase, now: datetime | None = None) -> list[str]:
    """The workflows for which lookup has not answered the new mailbox lately."""
    since = (now or timezone.now()) - ANSWER_COUNTS_FOR
    return [address.workflow_id for address in case.addresses.all() if not address.proven_since(since)]


def missing_proof(case: SwitchCase, now: datetime | None = None) -> list[str]:
    """What still stands between a case and its end, as sentences."""
    now = now or timezone.now()
    proof = asking.messages().proof(case)
    found = []
    for address in case.addresses.all():
        number = proof.collected.get(address.workflow_id, 0)
        if number < case.proof_messages:
            found.append(f"{address.workflow_id}: {number} of {case.proof_messages} messages acknowledged at the new mailbox.")
    quiet_since = max(moment for moment in (case.switched_at, proof.last_returned) if moment) if case.switched_at else now
    if now - quiet_since < QUIET_FOR:
        found.append("Five days without a returned message (code 14) are not over yet.")
    return found


def _follow(case: SwitchCase, actor: Actor, words: str, before: str) -> None:
    """The address book is asked hourly, takes the new mailboxes on ``switched``, and the old ones on its undo."""
    following.watch(case)
    undone = before == CaseState.SWITCHED and case.state == CaseState.FROZEN
    if undone or case.state == CaseState.SWITCHED:
        mailboxes = {one.workflow_id: one.old_mailbox if undone else one.new_mailbox for one in case.addresses.all()}
        following.take(actor=actor, case=case, mailboxes=mailboxes, reason=words or f"The {case} was done.")


def _name(case: SwitchCase, ods_code: str) -> None:
    code = ods_code.strip().upper()
    if not fits(ods_code_shape, code):
        raise Refused(str(ods_code_shape.message))
    if case.organisation is not None and case.organisation.ods_code != code:
        raise Refused(f"This case is about {case.practice}. Open another one for {code}.")
    case.organisation, _ = Organisation.objects.get_or_create(ods_code=code)


def _confirm(case: SwitchCase, _actor: Actor, words: str) -> None:
    if not words:
        raise Refused("Say how you know of the switch: who confirmed it, and when.")
    if case.organisation is None:
        raise Refused("Say which practice it is: enter its ODS code.")


def _schedule(case: SwitchCase, _actor: Actor, _words: str) -> None:
    if not (case.links_off or case.go_live):
        raise Refused("Enter the day on which links go off, or the go-live day, first.")


def _freeze(case: SwitchCase, _actor: Actor, _words: str) -> None:
    if not case.addresses.exclude(old_mailbox="").exists():
        raise Refused("Enter the old mailbox of at least one workflow first: without it nothing can be held.")


def _put_off(case: SwitchCase, actor: Actor, words: str) -> None:
    _say_why(case, actor, words)
    _schedule(case, actor, words)


def _switch(case: SwitchCase, actor: Actor, words: str) -> None:
    rows = list(case.addresses.all())
    without = [address.workflow_id for address in rows if not address.new_mailbox]
    if not rows or without:
        raise Refused(f"Enter the new mailbox of every workflow first{': ' + ', '.join(without) if without else ''}.")
    open_ones = unproven(case)
    if not open_ones:
        case.switched_reason = ""
        return
    if not words:
        raise Refused(
            f"Lookup does not answer the new mailbox for {', '.join(open_ones)}. Ask again, or have a manager say why it counts."
        )
    if not may(actor, case, MANAGER):
        raise Refused(
            "Lookup does not answer the new mailbox for every workflow. Only a manager can say why it counts all the same."
        )
    case.switched_reason = words


def _undo(case: SwitchCase, actor: Actor, words: str) -> None:
    _say_why(case, actor, words)
    if case.undone_at is not None:
        raise Refused("The switch was undone once already. There is one undo.")
    case.undone_at = timezone.now()


def _none_held(case: SwitchCase, _actor: Actor, _words: str) -> None:
    held = asking.messages().held(case)
    if held.number:
        many = "1 message is" if held.number == 1 else f"{held.number:,} messages are"
        raise Refused(f"{many} still held. Release or cancel what is held first.")


def _close(case: SwitchCase, actor: Actor, words: str) -> None:
    _none_held(case, actor, words)
    missing = missing_proof(case)
    if missing:
        raise Refused(f"Not proven yet. {' '.join(missing)}")


def _false_alarm(case: SwitchCase, actor: Actor, words: str) -> None:
    _say_why(case, actor, words)
    _none_held(case, actor, words)


def _say_why(_case: SwitchCase, _actor: Actor, words: str) -> None:
    if not words:
        raise Refused("Say why. The reason is kept with your name.")


_Check = Callable[[SwitchCase, Actor, str], None]
# By where from and where to; '' from anywhere.
_CHECKS: dict[tuple[str, str], _Check] = {
    ("", CaseState.CONFIRMED): _confirm,
    (CaseState.CONFIRMED, CaseState.SCHEDULED): _schedule,
    (CaseState.FROZEN, CaseState.SCHEDULED): _put_off,
    (CaseState.SWITCHED, CaseState.FROZEN): _undo,
    ("", CaseState.FROZEN): _freeze,
    ("", CaseState.SWITCHED): _switch,
    ("", CaseState.PROVING): _none_held,
    ("", CaseState.CLOSED): _close,
    ("", CaseState.FALSE_ALARM): _false_alarm,
}


def _teach(case: SwitchCase, now: datetime) -> None:
    """The very signs of this case open no other one for a while; another answer, or another report, does."""
    signs: Any = Evidence.objects.filter(case=case).order_by().values_list("fingerprint", flat=True).distinct()
    Suppression.objects.bulk_create(
        [
            Suppression(
                team_id=case.team_id,
                environment=case.environment,
                case=case,
                fingerprint=fingerprint,
                until=now + SUPPRESSED_FOR,
            )
            for fingerprint in signs
        ]
    )
