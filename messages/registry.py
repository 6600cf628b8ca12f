"""The workflow registry of a team: known ids with their rules, and unknown ones, which appear by themselves.

MESH API specification, Workflow: an acknowledgement by the recipient's system has the same workflow ID with ``_ACK`` behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from messages.models import ResendPolicy, Workflow

ACK = "_ACK"
FIELDS = ("name", "ack_workflow_id", "resend_policy", "patient_subjects", "owner")
# Ids that many organisations use (MESH endpoint lookup guide; pathology messaging): name, and whether a second copy does harm.
_KNOWN: dict[str, tuple[str, ResendPolicy]] = {
    "PATH_MEDRPT_V2": ("Pathology report, version 2", ResendPolicy.ON_REQUEST),
    "PATH_MEDRPT_V3": ("Pathology report, version 3", ResendPolicy.ON_REQUEST),
    "SCRN_BCS_MEDRPT_V4": ("Bowel cancer screening report", ResendPolicy.ON_REQUEST),
    "TOC_FHIR_IP_DISCH": ("Inpatient discharge summary", ResendPolicy.ALLOWED),
    "TOC_FHIR_MH_DISCH": ("Mental health discharge summary", ResendPolicy.ALLOWED),
    "TOC_FHIR_EC_DISCH": ("Emergency care discharge summary", ResendPolicy.ALLOWED),
    "TOC_FHIR_OP_ATTEN": ("Outpatient letter", ResendPolicy.ALLOWED),
    "TOC_OUTP_ATT_DMS": ("Outpatient letter as a document", ResendPolicy.ALLOWED),
    "GPFED_CONSULT_REPORT": ("Federated consultation report", ResendPolicy.ON_REQUEST),
    "GPCONNECT_UPDATE_RECORD": ("GP Connect: update record", ResendPolicy.ON_REQUEST),
    "GPCONNECT_SEND_DOCUMENT": ("GP Connect: send document", ResendPolicy.ALLOWED),
}


def _row(team_id: Any, workflow_id: str) -> Workflow:
    """What is assumed of a workflow that no manager has reviewed. An acknowledgement is never sent again: it would tell of
    a second document."""
    if workflow_id.endswith(ACK):
        about = _KNOWN.get(workflow_id.removesuffix(ACK))
        name = f"{about[0]}: acknowledgement" if about else ""
        return Workflow(team_id=team_id, workflow_id=workflow_id, name=name, resend_policy=ResendPolicy.NEVER)
    name, policy = _KNOWN.get(workflow_id, ("", ResendPolicy.ON_REQUEST))
    return Workflow(
        team_id=team_id,
        workflow_id=workflow_id,
        name=name,
        ack_workflow_id=f"{workflow_id}{ACK}" if workflow_id in _KNOWN else "",
        resend_policy=policy,
    )


def see(team_id: Any, workflow_ids: Iterable[str]) -> None:
    """Adds workflow ids that the team has not met before, as not reviewed. Harmless when two do it at once."""
    wanted = {one for one in workflow_ids if one}
    if not wanted:
        return
    there = set(Workflow.objects.filter(team_id=team_id, workflow_id__in=wanted).values_list("workflow_id", flat=True))
    new = [_row(team_id, workflow_id) for workflow_id in sorted(wanted - there)]
    if new:
        Workflow.objects.bulk_create(new, ignore_conflicts=True)


def of(team: Team) -> QuerySet[Workflow]:
    """The team's workflows, the unknown ones first, then those that nobody reviewed. Well-known ids are there from the start."""
    see(team.pk, [*_KNOWN, *(f"{workflow_id}{ACK}" for workflow_id in _KNOWN)])
    return Workflow.objects.filter(team=team).order_by(F("reviewed_at").asc(nulls_first=True), "name", "workflow_id")


def known(team_id: Any, workflow_id: str) -> Workflow:
    """The team's entry for a workflow id, which is made when there is none."""
    rows = Workflow.objects.filter(team_id=team_id, workflow_id=workflow_id)
    found = rows.first()
    if found is None and workflow_id:
        see(team_id, [workflow_id])
        found = rows.first()
    return found or _row(team_id, workflow_id)


def rules(team_id: Any, workflow_ids: Iterable[str]) -> dict[str, str]:
    """The resend policy of each workflow id."""
    wanted = set(workflow_ids)
    see(team_id, wanted)
    found = Workflow.objects.filter(team_id=team_id, workflow_id__in=wanted)
    return dict(found.values_list("workflow_id", "resend_policy"))


def permit_again(workflow: Workflow, *, reason: str, asked_by: str) -> None:
    """Raises Refused where the workflow's rule does not let a document go out a second time.

    The one place that decides it, for page, command line and whatever else sends.
    """
    if workflow.resend_policy == ResendPolicy.NEVER:
        raise Refused(
            f"Your team never sends messages of {workflow} again: the recipient's system would act on them twice. Only a "
            "manager can change that rule, among the workflows."
        )
    if not reason.strip():
        raise Refused("Say why the document is sent again. The reason is kept with your name.")
    if workflow.resend_policy == ResendPolicy.ON_REQUEST and not asked_by.strip():
        raise Refused(
            f"Your team sends messages of {workflow} again only when the recipient asks for it: say who asked. A manager can "
            "change that rule, among the workflows."
        )


def change(*, actor: Actor, workflow: Workflow, **changes: Any) -> Workflow:
    """What a manager says of a workflow, which is reviewed with it. Raises ValidationError by field."""
    if unknown := set(changes) - set(FIELDS):
        raise TypeError(f"Not facts of a workflow: {sorted(unknown)}")
    with transaction.atomic():
        workflow = Workflow.objects.select_for_update(of=("self",)).select_related("team").get(pk=workflow.pk)
        before = {name: getattr(workflow, name) for name in changes}
        for name, value in changes.items():
            setattr(workflow, name, value)
        workflow.full_clean(exclude={"team"})
        workflow.reviewed_at = timezone.now()
        workflow.reviewed_by = actor.label[:300]
        workflow.save()
        differ = {name for name in changes if before[name] != changes[name]}
        audit.record(
            actor=actor,
            action="workflow.reviewed",
            target=workflow,
            team=workflow.team,
            before={name: before[name] for name in differ},
            after={name: changes[name] for name in differ},
        )
    return workflow
