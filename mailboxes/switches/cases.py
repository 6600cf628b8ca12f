"""What people do to a case beside moving it: open it, enter what they know, comment, tick off."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from mailboxes.addresses import following
from mailboxes.models import CaseAddress, CaseTick, Mailbox, SwitchCase
from mailboxes.models.mailbox import mailbox_id_shape
from mailboxes.models.organisation import ods_code_shape
from mailboxes.switches import signals
from mailboxes.switches.checklists import POINTS
from mailboxes.switches.refusing import acting, note
from mailboxes.switches.scores import NOTICE
from mailboxes.switches.shapes import fits
from mailboxes.switches.states import CaseState, Direction
from meshportal.accounts.models import Membership, Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

OVER = "This case has ended. Open another one if something else happens."
# What a person may enter, besides addresses.
FIELDS = (
    "direction",
    "old_supplier",
    "new_supplier",
    "links_off",
    "links_on",
    "go_live",
    "owner",
    "deputy",
    "proof_messages",
)


def tell(
    *, actor: Actor, team: Team, environment: str, ods_code: str, words: str, workflow_id: str = "", mailbox_id: str = ""
) -> SwitchCase:
    """Somebody was told of a switch: a case, or the one that there is, with the notice as evidence. Raises ValidationError."""
    code, told = ods_code.strip().upper(), " ".join(words.split())
    problems = {}
    if not fits(ods_code_shape, code):
        problems["ods_code"] = str(ods_code_shape.message)
    if not told:
        problems["words"] = "Say who told you, and what."
    if mailbox_id and not fits(mailbox_id_shape, mailbox_id):
        problems["mailbox_id"] = str(mailbox_id_shape.message)
    if not Mailbox.objects.filter(team=team, environment=environment).exists():
        problems["environment"] = "This team has no mailbox in this environment."
    if problems:
        raise ValidationError(problems)
    with transaction.atomic():
        [sign] = signals.note_signal(
            environment=environment,
            ods_code=code,
            workflow_id=workflow_id,
            kind=NOTICE,
            # Each notice is its own: one that was wrong must not silence the next.
            detail={"words": told, "mailbox": mailbox_id, "answer": timezone.now().isoformat()},
            team=team,
            actor=actor,
        )
        case = sign.case
        if case is None:  # A notice is certain: it always has one.
            raise AssertionError("A notice opened no case.")
        note(case, "notice", actor=actor, words=told)
        audit.record(actor=actor, action="switch.told", target=case, team=team, reason=told)
    return case


def change(*, actor: Actor, case: SwitchCase, **fields: Any) -> SwitchCase:
    """Enters what is known: :data:`FIELDS`. Raises ValidationError by field, Refused for a case that has ended."""
    unknown = set(fields) - set(FIELDS)
    if unknown:
        raise TypeError(f"A case has no field {', '.join(sorted(unknown))} that people enter.")
    with acting(actor, case, "change") as row:
        _check_open(row)
        before = {name: _text(name, getattr(row, name)) for name in fields}
        for name, value in fields.items():
            setattr(row, name, value)
        _check(row)
        row.full_clean(validate_constraints=False, validate_unique=False)
        after = {name: _text(name, getattr(row, name)) for name in fields}
        changed = {name for name in fields if before[name] != after[name]}
        if changed:
            row.save()
            if "go_live" in changed:
                following.watch(row)
            note(
                row,
                "changed",
                actor=actor,
                words="; ".join(f"{_name(name)}: {after[name] or 'nothing'}" for name in sorted(changed)),
            )
            audit.record(
                actor=actor,
                action="switch.changed",
                target=row,
                team=row.team,
                before={name: before[name] for name in changed},
                after={name: after[name] for name in changed},
            )
    return row


def _check(case: SwitchCase) -> None:
    problems = {}
    if case.links_off and case.links_on and case.links_on < case.links_off:
        problems["links_on"] = "Links cannot go on before they go off."
    for name in ("owner", "deputy"):
        person = getattr(case, name)
        if person is not None and not Membership.objects.filter(user=person, team=case.team_id).exists():
            problems[name] = "Only a member of this team can look after the case."
    if case.owner is not None and case.owner == case.deputy:
        problems["deputy"] = "The deputy must be somebody else than the owner."
    if problems:
        raise ValidationError(problems)


def set_address(
    *,
    actor: Actor,
    case: SwitchCase,
    workflow_id: str,
    old_mailbox: str = "",
    old_shared: bool = False,
    new_mailbox: str = "",
    new_shared: bool = False,
) -> CaseAddress:
    """Enters where the practice takes a workflow, before and after. Raises ValidationError by field and Refused."""
    given = {"old_mailbox": old_mailbox.strip().upper(), "new_mailbox": new_mailbox.strip().upper()}
    with acting(actor, case, "change an address") as row:
        _check_open(row)
        problems: dict[str, str] = {}
        if not workflow_id.strip():
            problems["workflow_id"] = "Enter the workflow ID."
        for name, value in given.items():
            if value and not fits(mailbox_id_shape, value):
                problems[name] = str(mailbox_id_shape.message)
        if problems:
            raise ValidationError(problems)
        address = row.addresses.filter(workflow_id=workflow_id.strip()).first() or CaseAddress(
            case=row, workflow_id=workflow_id.strip()
        )
        before = str(address)
        if row.state in (CaseState.SWITCHED, CaseState.PROVING) and address.new_mailbox not in ("", given["new_mailbox"]):
            raise Refused("The switch is done, so the new mailbox cannot be changed any more. Undo the switch first.")
        if address.new_mailbox != given["new_mailbox"]:
            address.answer, address.answers, address.asked_at = "", 0, None
        address.old_mailbox, address.new_mailbox = given["old_mailbox"], given["new_mailbox"]
        address.old_shared, address.new_shared = old_shared, new_shared
        address.full_clean(validate_unique=False, validate_constraints=False, exclude=["case"])
        address.save()
        note(row, "address", actor=actor, words=str(address))
        audit.record(
            actor=actor,
            action="switch.address_set",
            target=row,
            team=row.team,
            before={"address": before},
            after={"address": str(address)},
        )
    return address


def comment(*, actor: Actor, case: SwitchCase, words: str) -> None:
    """Adds a comment. Raises Refused when it is empty."""
    with acting(actor, case, "comment") as row:
        if not words.strip():
            raise Refused("Write something first.")
        note(row, "comment", actor=actor, words=words.strip())
        audit.record(actor=actor, action="switch.commented", target=row, team=row.team)


def safety_officer_told(*, actor: Actor, case: SwitchCase, name: str) -> None:
    """The clinical safety officer ``name`` was told, by whoever says so. Raises Refused."""
    with acting(actor, case, "clinical safety officer told") as row:
        _check_open(row)
        if not name.strip():
            raise Refused("Enter the name of the clinical safety officer.")
        row.safety_officer, row.safety_told_at, row.safety_told_by = name.strip()[:150], timezone.now(), actor.label[:300]
        row.save()
        note(row, "safety", actor=actor, words=row.safety_officer)
        audit.record(actor=actor, action="switch.safety_told", target=row, team=row.team, after={"officer": row.safety_officer})


def tick(*, actor: Actor, case: SwitchCase, point: str, done: bool) -> None:
    """Ticks a point of the checklists off, or takes the tick back. Raises Refused."""
    with acting(actor, case, f"tick {point}") as row:
        _check_open(row)
        if point not in POINTS:
            raise Refused("There is no such point on the checklists.")
        if done:
            _, changed = CaseTick.objects.get_or_create(case=row, point=point, defaults={"by": actor.label[:300]})
        else:
            changed = bool(CaseTick.objects.filter(case=row, point=point).delete()[0])
        if changed:
            note(row, "ticked" if done else "unticked", actor=actor, words=POINTS[point])
            action = "switch.ticked" if done else "switch.unticked"
            audit.record(actor=actor, action=action, target=row, team=row.team, after={"point": point})


def _check_open(case: SwitchCase) -> None:
    if not case.open:
        raise Refused(OVER)


def _name(field: str) -> str:
    return field.replace("_", " ")


def _text(name: str, value: Any) -> str:
    if name == "direction":
        return str(Direction(value).label)
    return "" if value is None else str(getattr(value, "full_name", value))
