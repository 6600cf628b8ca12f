"""Asking MESH where a practice takes its workflows now, while a person waits. No transaction is open meanwhile."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from mailboxes import connections
from mailboxes.models import CaseAddress, Mailbox, Mode, SwitchCase
from mailboxes.problems import UNREADABLE_SECRET, NotConfigured, explain
from mailboxes.switches.refusing import note
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import errors


def look_up(*, actor: Actor, case: SwitchCase) -> str:
    """Asks for every workflow of the case and keeps what was answered; says it in a sentence. Several answers are kept as
    several, never chosen among. Raises Refused when MESH cannot be asked."""
    if case.organisation is None:
        raise Refused("Say which practice it is first: lookup asks by its ODS code.")
    addresses = list(case.addresses.all())
    if not addresses:
        raise Refused("Enter at least one workflow first.")
    boxes = Mailbox.objects.filter(team=case.team_id, environment=case.environment).exclude(mode=Mode.PAUSED)
    mailbox = boxes.select_related("identity").filter(identity__isnull=False).order_by("pk").first()
    if mailbox is None:
        raise Refused("No mailbox of this team can ask MESH: it takes one with a certificate that is not paused.")
    answered: list[tuple[CaseAddress, list[str]]] = []
    try:
        client = connections.client_for(mailbox, somebody_waits=True)
        for address in addresses:
            found = client.lookup(case.organisation.ods_code, address.workflow_id)
            answered.append((address, sorted({one.mailbox_id.strip().upper() for one in found})))
    except NotConfigured as error:
        raise Refused(f"{error.problem.sentence} {error.problem.advice}") from None
    except CannotUnseal:
        raise Refused(f"{UNREADABLE_SECRET.sentence} {UNREADABLE_SECRET.advice}") from None
    except errors.MeshError as error:
        problem = explain(error, host=settings.MESH_URLS[mailbox.environment].removeprefix("https://"))
        raise Refused(f"MESH could not be asked. {problem.sentence} {problem.advice}") from None
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
