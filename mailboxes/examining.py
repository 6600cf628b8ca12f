"""The connection doctor over many mailboxes, by rows that workers lease (:mod:`meshportal.core.waiting`).

| what goes wrong | what stands, and what happens then |
|---|---|
| a worker dies amid an examination | the row's lease runs out and it is examined again, three times at most |
| a mailbox hangs | one thread waits as long as a person would; the others go on |
| MESH is away | every row says so; whoever looks has those that failed examined again |
| a mailbox's password cannot be unsealed, or the doctor itself breaks | its row says so |
| two people ask for those that failed in the same moment | the second finds them waiting, and is told |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.utils import timezone

from mailboxes import doctor
from mailboxes.models import Examination, ExaminationRow, Finding, Mailbox
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core import lease, waiting
from meshportal.core.acts import Refused

log = structlog.get_logger("mailboxes.examining")

QUEUE = "default"
# A person may ask again once something was put right, but not hammer.
GAP = timedelta(seconds=30)
_FINDINGS = {doctor.State.GOOD: Finding.GOOD, doctor.State.WARN: Finding.WARN, doctor.State.BAD: Finding.BAD}
_TELL = "Tell whoever runs the portal, with the mailbox ID."
_DIED = (Finding.BAD, "The portal stopped each time that it examined this mailbox.", _TELL)
_BROKE = (Finding.BAD, "Something unforeseen went wrong when this mailbox was examined.", _TELL)

# Which workflows MESH is asked about: what a mailbox receives is known above this app.
WorkflowsOf = Callable[[Mailbox], Sequence[str]]


def begin(*, actor: Actor, team: Team, environment: str, mailboxes: Sequence[Any]) -> Examination:
    """Has the mailboxes with these ids examined."""
    now = timezone.now()
    with transaction.atomic():
        made = Examination.objects.create(team=team, environment=environment, asked_at=now, **Examination.asked_by_actor(actor))
        rows = [ExaminationRow(examination=made, mailbox_id=pk, due_at=now) for pk in mailboxes]
        ExaminationRow.objects.bulk_create(rows, batch_size=500)
        audit.record(actor=actor, action="examination.begun", target=made, team=team, after={"mailboxes": len(rows)})
    return made


def retry(*, actor: Actor, examination: Examination) -> int:
    """Has those that failed examined again; gives how many. Raises Refused."""
    now = timezone.now()
    with transaction.atomic():
        held = Examination.objects.select_for_update(of=("self",)).select_related("team").get(pk=examination.pk)
        if held.rows.filter(finding=Finding.WAITING).exists():
            raise Refused("Mailboxes are being checked right now. This page shows how far it came.")
        if now - held.asked_at < GAP:
            raise Refused("They were checked a moment ago. Put right what stands here, and check again in half a minute.")
        failed = held.rows.filter(finding=Finding.BAD)
        number = failed.update(
            finding=Finding.WAITING, due_at=now, tries=0, found="", remedy="", examined_at=None, updated_at=now
        )
        if not number:
            raise Refused("No mailbox failed: there is nothing to check again.")
        Examination.objects.filter(pk=held.pk).update(asked_at=now, updated_at=now)
        audit.record(actor=actor, action="examination.retried", target=held, team=held.team, after={"mailboxes": number})
    return number


def run_due(workflows_of: WorkflowsOf) -> int:
    """Examines every mailbox that waits for it; gives how many."""
    return waiting.run_due(ExaminationRow, lambda row: work(row, workflows_of), queue=QUEUE)


def claim_due() -> ExaminationRow | None:
    """Claims the row that has waited for longest, with its try counted; None when none waits."""
    return waiting.claim_due(ExaminationRow)


def work(row: ExaminationRow, workflows_of: WorkflowsOf) -> None:
    """Examines the mailbox of ``row``, whose lease the caller claimed, writes what was found and gives the row back."""
    with lease.kept_alive(row, waiting.duration()):
        finding, found, remedy = _DIED if waiting.died(row) else _examine(row, workflows_of)
    now = timezone.now()
    kept = lease.release(row, finding=finding, found=found, remedy=remedy, due_at=None, examined_at=now, updated_at=now)
    if not kept:
        log.warning("lease_lost", row=str(row.pk))


def _examine(row: ExaminationRow, workflows_of: WorkflowsOf) -> tuple[Finding, str, str]:
    try:
        mailbox = Mailbox.objects.select_related("team", "organisation").defer("password").get(pk=row.mailbox_id)
        results = list(doctor.examine(mailbox, workflows=workflows_of(mailbox)))
    except DatabaseError:
        raise
    except Exception:
        log.exception("examination_broke", row=str(row.pk))
        return _BROKE
    state, sentence = doctor.verdict(results)
    remedy = next((one.remedy for one in results if one.state == state and one.remedy), "")
    return _FINDINGS[state], sentence, remedy
