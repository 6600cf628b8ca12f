"""Signs that a practice's address changed: each is kept, and enough of them open a case.

| what comes in | what becomes of it |
|---|---|
| a sign about a practice that has an open case | evidence of that case |
| a strong one, or enough medium ones of different kinds in 14 days | evidence, and a case |
| the very sign that was called a false alarm, within its time | evidence that opens nothing and adds nothing up |
| a report about a mailbox, of which nobody said whose it is | the one practice whose ODS code people typed for that mailbox;
  else, several or none, a case about the mailbox, and a person says whose it is |
| two workers with signs about one practice in the same moment | one case, by a constraint of the database |
| the process dies | with the caller's transaction: the report comes again, and its sign with it |
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from certificates.models import Environment
from mailboxes.models import CaseAddress, CaseEvent, Evidence, Mailbox, Organisation, Suppression, SwitchCase
from mailboxes.models.organisation import ods_code_shape
from mailboxes.switches import asking
from mailboxes.switches.scores import SIGNS, WINDOW, enough
from mailboxes.switches.shapes import fits
from mailboxes.switches.states import ENDED, CaseState, Direction
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor

log = structlog.get_logger("mailboxes.switches")

WATCH = Actor.system("switch watch")


def note_signal(
    *,
    environment: str,
    ods_code: str,
    workflow_id: str,
    kind: str,
    detail: Mapping[str, Any],
    team: Team | None = None,
    actor: Actor = WATCH,
) -> list[Evidence]:
    """Keeps a sign, and opens a case where it is enough. Works in the caller's transaction.

    ``kind`` is one of :data:`mailboxes.switches.scores.SIGNS`. ``detail`` holds plain facts, never a subject or a patient:
    ``mailbox`` (the address that it is about), ``answer`` (what was said instead), ``code``, and whatever helps a reader.
    ``ods_code`` may be '' where only the mailbox is known. ``team`` None: every team that sends to the practice, or, where
    none is known to, every team with a mailbox in the environment. Raises ValueError for an unknown kind or environment.
    """
    if kind not in SIGNS:
        raise ValueError(f"{kind!r} is no sign of a switch.")
    if environment not in Environment.values:
        raise ValueError(f"There is no environment {environment!r}.")
    facts = {name: str(value)[:300] for name, value in detail.items()}
    mailbox_id = facts.get("mailbox", "").strip().upper()[:100]
    code = ods_code.strip().upper()
    if code and not fits(ods_code_shape, code):
        code = ""
    if not code and not mailbox_id:
        raise ValueError("A sign is about a practice, or about a mailbox.")
    kept = []
    for one in [team] if team is not None else _teams(environment, code, mailbox_id):
        sign = Evidence(
            team=one,
            environment=environment,
            ods_code=code or _whose(one, environment, mailbox_id),
            mailbox_id=mailbox_id,
            workflow_id=workflow_id[:300],
            kind=kind,
            score=SIGNS[kind].score,
            detail=facts,
        )
        sign.fingerprint = fingerprint(sign)
        kept.append(_keep(sign, actor))
    return kept


def fingerprint(sign: Evidence) -> str:
    """The same for the same sign seen again: another answer of the lookup, or another code, is another sign."""
    said = [sign.detail.get(name, "") for name in ("answer", "code")]
    parts = [sign.kind, sign.ods_code, sign.mailbox_id, sign.workflow_id, *said]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _teams(environment: str, code: str, mailbox_id: str) -> list[Team]:
    known = asking.messages().teams_that_send(environment=environment, ods_code=code, mailbox_id=mailbox_id)
    if not known:
        known = list(Mailbox.objects.filter(environment=environment).order_by().values_list("team_id", flat=True).distinct())
    return list(Team.objects.filter(pk__in=known).order_by("pk"))


def _whose(team: Team, environment: str, mailbox_id: str) -> str:
    """The ODS code of the mailbox, where all that people typed for it is one; '' for none or several: never a guess."""
    codes = asking.messages().traffic(team_id=team.pk, environment=environment, mailbox_id=mailbox_id).ods_codes
    return codes[0] if len(codes) == 1 else ""


def _keep(sign: Evidence, actor: Actor) -> Evidence:
    now = timezone.now()
    with transaction.atomic():
        case = open_case_about(sign)
        if case is None:
            taught = Suppression.objects.filter(
                team_id=sign.team_id, environment=sign.environment, fingerprint=sign.fingerprint, until__gt=now
            )
            sign.suppressed = taught.exists()
            if not sign.suppressed and enough(_kinds_lately(sign)):
                case = _open(sign, actor)
        if case is not None:
            sign.case = case
            learn(case, sign.workflow_id, sign.mailbox_id)
        sign.save(force_insert=True)
        if case is not None:
            _about(sign).filter(case__isnull=True, suppressed=False, at__gt=now - WINDOW).update(case=case)
    log.info("switch_signal", kind=sign.kind, opened=bool(case), suppressed=sign.suppressed)
    return sign


def open_case_about(sign: Evidence) -> SwitchCase | None:
    """The open case of the practice, or, where only the mailbox is known, of whoever has it alone."""
    cases = SwitchCase.objects.filter(team_id=sign.team_id, environment=sign.environment).exclude(state__in=ENDED)
    if sign.ods_code:
        found = cases.filter(organisation__ods_code=sign.ods_code).first()
        if found is not None or not sign.mailbox_id:
            return found
        return cases.filter(organisation__isnull=True, about_mailbox=sign.mailbox_id).first()
    alone = Q(addresses__old_mailbox=sign.mailbox_id, addresses__old_shared=False) & ~Q(direction=Direction.FROM_TPP)
    return cases.filter(alone | Q(organisation__isnull=True, about_mailbox=sign.mailbox_id)).distinct().first()


def _about(sign: Evidence) -> Any:
    rows = Evidence.objects.filter(team_id=sign.team_id, environment=sign.environment)
    if sign.ods_code:
        return rows.filter(ods_code=sign.ods_code)
    return rows.filter(ods_code="", mailbox_id=sign.mailbox_id)


def _kinds_lately(sign: Evidence) -> set[str]:
    # What another case was about already does not count again.
    rows = _about(sign).filter(at__gt=timezone.now() - WINDOW, suppressed=False, case__isnull=True)
    return {sign.kind, *rows.values_list("kind", flat=True)}


def _open(sign: Evidence, actor: Actor) -> SwitchCase:
    organisation = None
    if sign.ods_code:
        organisation, _ = Organisation.objects.get_or_create(ods_code=sign.ods_code)
    case = SwitchCase(
        team_id=sign.team_id,
        environment=sign.environment,
        organisation=organisation,
        about_mailbox="" if organisation else sign.mailbox_id,
        state=CaseState.SUSPECTED,
    )
    try:
        with transaction.atomic():
            case.save(force_insert=True)
    except IntegrityError:
        # Somebody else opened it in the very moment.
        found = open_case_about(sign)
        if found is None:
            raise
        return found
    CaseEvent.objects.create(
        case=case, kind="opened", to_state=case.state, actor_label=actor.label[:300], words=SIGNS[sign.kind].sentence
    )
    audit.record(actor=actor, action="switch.suspected", target=case, team=sign.team, after={"sign": sign.kind})
    return case


def learn(case: SwitchCase, workflow_id: str, mailbox_id: str, *, shared: bool = False) -> None:
    """Adds what is known of the old address: the workflow, and whatever else the team sends to the same mailbox."""
    if not mailbox_id or case.addresses.filter(new_mailbox=mailbox_id).exists():
        return
    names = {workflow_id} if workflow_id else set()
    traffic = asking.messages().traffic(team_id=case.team_id, environment=case.environment, mailbox_id=mailbox_id)
    several = shared or len(traffic.ods_codes) > 1
    if not several:
        names.update(traffic.workflows)
    known = set(case.addresses.values_list("workflow_id", flat=True))
    CaseAddress.objects.bulk_create(
        [CaseAddress(case=case, workflow_id=name, old_mailbox=mailbox_id, old_shared=several) for name in sorted(names - known)],
        ignore_conflicts=True,
    )
