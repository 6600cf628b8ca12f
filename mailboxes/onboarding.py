"""Bringing a mailbox into use, step by step, by whoever has the role. The steps: :mod:`mailboxes.onboarding_steps`.

| what goes wrong | what stands, and what happens then |
|---|---|
| somebody stops in the middle, or their session ends | every step that was saved; anybody with the role goes on from there |
| two people save a step at once | the second is told; nothing of theirs is saved |
| the process dies while the mailbox is added, or goes live | one transaction: mailbox, answers and audit, or nothing |
| MESH cannot be reached at the check | the reason stands at the step; the other steps can be saved |
| certificate or password changed after the check | the check counts no more, and is asked for again |
| the mailbox was added by another way meanwhile | refused, with which one it is |

The mailbox is paused until it goes live: nothing is listed, collected or acknowledged before somebody says so.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from certificates.models import ClientIdentity
from mailboxes import declared, services, trying
from mailboxes.models import Mailbox, Mode, Onboarding
from mailboxes.onboarding_steps import missing
from meshportal.accounts.models import Membership, Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

CHANGED_MEANWHILE = (
    "Somebody else went on with this onboarding after you opened the page, so nothing of yours was saved. Open the step again "
    "and look at what they did."
)
ORGANISATION = ("ods_code", "organisation_name", "organisation_type", "purpose", "environment")
DETAILS = (
    "contact_name", "contact_email", "contact_phone", "third_party_ods", "third_party_contact", "nems", "access", "sends",
    "receives", "file_size",
)  # fmt: skip
# What of the answers the audit repeats: none that names a person.
_AUDITED = {*ORGANISATION, "nems", "access", "sends", "receives", "mode", "applied_on", "third_party_ods"}


def begin(*, actor: Actor, team: Team, **answers: Any) -> Onboarding:
    """Begins with whom the mailbox is for: the fields of ORGANISATION. Raises ValidationError by field."""
    made = Onboarding(team=team, moved_at=timezone.now(), **{name: answers[name] for name in ORGANISATION})
    made.full_clean(exclude={"team"})
    with transaction.atomic():
        made.save()
        audit.record(actor=actor, action="onboarding.begun", target=made, team=team, after=_audited(answers))
    return made


def answer(*, actor: Actor, onboarding: Onboarding, revision: int, **answers: Any) -> Onboarding:
    """Saves answers of one step. Raises ValidationError by field, and when somebody else was quicker."""
    with transaction.atomic():
        held = _locked(onboarding, revision)
        if held.mailbox_id is not None and "environment" in answers and answers["environment"] != held.environment:
            raise ValidationError({"environment": "The mailbox is in the portal already, in another environment."})
        for name in ("owner", "deputy"):
            person = answers.get(name)
            if person is not None and not Membership.objects.filter(team=held.team_id, user=person).exists():
                raise ValidationError({name: "Choose somebody of this team."})
        before = {name: getattr(held, name) for name in answers}
        for name, value in answers.items():
            setattr(held, name, value)
        held.full_clean(exclude={"team", "mailbox"})
        differ = {name: value for name, value in answers.items() if before[name] != value}
        if differ:
            _save(held, differ)
            after = {**_audited(differ), "answers": sorted(differ)}
            audit.record(
                actor=actor, action="onboarding.answered", target=held, team=held.team, before=_audited(before), after=after
            )
    return held


def add_mailbox(*, actor: Actor, onboarding: Onboarding, revision: int, mailbox_id: str, password: str, name: str) -> Mailbox:
    """Adds the mailbox that MESH gave out, paused. Raises ValidationError by field."""
    with transaction.atomic():
        held = _locked(onboarding, revision)
        if held.mailbox_id is not None:
            raise ValidationError("The mailbox is in the portal already. Its password can be changed in its settings.")
        mailbox = services.add_mailbox(
            actor=actor,
            team=held.team,
            environment=held.environment,
            mailbox_id=mailbox_id,
            name=name,
            ods_code=held.ods_code,
            organisation_name=held.organisation_name,
            password=password,
            identity=None,
            mode=Mode.PAUSED,
        )
        pause = {"paused_at": timezone.now(), "pause_reason": "It is being onboarded.", "resume_mode": Mode.WATCH}
        Mailbox.objects.filter(pk=mailbox.pk).update(**pause)
        held.mailbox = mailbox
        _save(held, {"mailbox": mailbox})
        after = {"mailbox_id": mailbox.mailbox_id}
        audit.record(actor=actor, action="onboarding.answered", target=held, team=held.team, after=after)
    return mailbox


def choose_certificate(*, actor: Actor, onboarding: Onboarding, revision: int, identity: ClientIdentity) -> None:
    """Gives the mailbox its certificate. Raises ValidationError by field."""
    with transaction.atomic():
        held = _locked(onboarding, revision)
        if held.mailbox is None:
            raise ValidationError("First enter the mailbox ID and the password.")
        services.change_mailbox(actor=actor, mailbox=held.mailbox, reason="Onboarding", identity=identity)
        _save(held, {})
        audit.record(actor=actor, action="onboarding.answered", target=held, team=held.team, after={"certificate": str(identity)})


def try_connection(*, actor: Actor, onboarding: Onboarding) -> str:
    """One handshake with the mailbox as it is; says that it passed, or raises Refused with the reason, which is kept too."""
    rows = Onboarding.objects.select_related("mailbox__identity", "mailbox__organisation", "team")
    seen = rows.get(pk=onboarding.pk)
    _check_open(seen)
    if seen.mailbox is None or seen.mailbox.identity is None:
        raise Refused("First enter the mailbox ID, the password and the certificate.")
    mailbox, revision = seen.mailbox, seen.mailbox.revision
    services.note_check(actor=actor, mailbox=mailbox)
    # No transaction is held while MESH is asked.
    problem = trying.handshake(mailbox)
    told = (
        {"trouble": "", "trouble_advice": ""}
        if problem is None
        else {"trouble": problem.sentence, "trouble_advice": problem.advice}
    )
    now = timezone.now()
    found = {"tried_at": now, "tried_revision": revision, **told}
    Onboarding.objects.filter(pk=seen.pk).update(**found, moved_at=now, revision=F("revision") + 1)
    if problem is not None:
        raise Refused(f"{problem.sentence} {problem.advice}")
    return f"MESH took the sign-in of {mailbox}."


def go_live(*, actor: Actor, onboarding: Onboarding) -> Onboarding:
    """Puts the mailbox into its mode. Raises Refused while a step is missing."""
    with transaction.atomic():
        held = _locked(onboarding, None)
        lacks = missing(held)
        if lacks or held.mailbox is None:
            raise Refused(f"Not yet: these are to be done first: {', '.join(step.title.lower() for step in lacks)}.")
        try:
            services.change_mailbox(actor=actor, mailbox=held.mailbox, reason="Went live", mode=held.mode)
        except ValidationError as error:
            raise Refused(f"It cannot go live: {' '.join(error.messages)}") from None
        declared.declare(actor=actor, mailbox=held.mailbox, sends=held.sends.split(), receives=held.receives.split())
        _save(held, {"live_at": timezone.now()})
        after = {"mode": held.mode, "mailbox_id": held.mailbox.mailbox_id}
        audit.record(actor=actor, action="onboarding.went_live", target=held, team=held.team, after=after)
    return held


def stop(*, actor: Actor, onboarding: Onboarding) -> str:
    """Gives an onboarding up; the mailbox, when there is one, stays paused. Raises Refused."""
    with transaction.atomic():
        held = _locked(onboarding, None)
        _save(held, {"stopped_at": timezone.now()})
        audit.record(actor=actor, action="onboarding.stopped", target=held, team=held.team)
    rest = " Its mailbox stays paused; close it, or take it up again." if held.mailbox_id else ""
    return f"The onboarding of “{held.purpose}” is stopped.{rest}"


def _locked(onboarding: Onboarding, revision: int | None) -> Onboarding:
    rows = Onboarding.objects.select_for_update(of=("self",)).select_related("team", "mailbox__identity", "mailbox__team")
    held = rows.defer("mailbox__password", "mailbox__identity__private_key").get(pk=onboarding.pk)
    _check_open(held)
    if revision is not None and held.revision != revision:
        raise ValidationError(CHANGED_MEANWHILE, code="changed_meanwhile")
    return held


def _check_open(onboarding: Onboarding) -> None:
    if not onboarding.open:
        raise Refused(f"This onboarding is over: {'the mailbox is live' if onboarding.live_at else 'it was stopped'}.")


def _save(held: Onboarding, facts: dict[str, Any]) -> None:
    now = timezone.now()
    Onboarding.objects.filter(pk=held.pk).update(**facts, moved_at=now, updated_at=now, revision=F("revision") + 1)
    for name, value in facts.items():
        setattr(held, name, value)


def _audited(answers: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in answers.items() if name in _AUDITED}
