"""Asking MESH where a practice takes its workflows now, while a person waits. No transaction is open meanwhile."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from mailboxes.addresses.askers import Askers, CannotAsk, told
from mailboxes.models import CaseAddress, SwitchCase
from mailboxes.switches.refusing import note
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.mesh import errors


def look_up(*, actor: Actor, case: SwitchCase) -> str:
    """Asks for every workflow of the case and keeps what was answered; says it in a sentence. Several answers are kept as
    several, never chosen among. Raises Refused when MESH cannot be asked."""
    if case.organisation is None:
        raise Refused("Say which practice it is first: lookup asks by its ODS code.")
    addresses = list(case.addresses.all())
    if not addresses:
        raise Refused("Enter at least one workflow first.")
    askers = Askers(case.environment, [case.team_id])
    answered = [(address, sorted(_names(askers, case, address.workflow_id))) for address in addresses]
    said = [f"{address.workflow_id}: {', '.join(names) or 'none'}" for address, names in answered]
    now = timezone.now()
    with transaction.atomic():
        for address, names in answered:
            # Only if the address is the one that was asked about: somebody may have changed it meanwhile.
            CaseAddress.objects.filter(pk=address.pk, new_mailbox=address.new_mailbox).update(
                answer=", ".join(names)[:300], answers=len(names), asked_at=now
            )
        note(case, "looked_up", actor=actor, words="; ".join(said))
        audit.record(actor=actor, action="switch.looked_up", target=case, team=case.team, after={"answers": said})
    return f"MESH answers: {'; '.join(said)}."


def _names(askers: Askers, case: SwitchCase, workflow_id: str) -> set[str]:
    try:
        found = askers.ask([case.team_id], lambda client: client.lookup(case.ods_code, workflow_id))
    except CannotAsk as error:
        problem = error.problem
    except errors.MeshError as error:
        problem = told(error, case.environment)
    else:
        return {one.mailbox_id.strip().upper() for one in found}
    raise Refused(f"MESH could not be asked. {problem.sentence} {problem.advice}")
