"""The messages that the demonstration's mailboxes send through the portal's own outbox: one of each kind of end.

The sandbox plays its part honestly. Two things that only time would bring are made to happen, as MESH makes them known, by
a report in the sender's inbox: that a message was not collected within five days, and that a mailbox was deactivated.
Import only after Django was set up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django.db import transaction

from mailboxes.models import Mailbox
from meshportal.demo import world
from meshportal.demo.content import edifact, fhir, files
from meshportal.demo.content.patients import PATIENTS
from meshportal.demo.sandbox import Sandbox
from meshportal.demo.seed import ACTOR
from meshportal.demo.sending import Register
from messages import outbox
from messages.models import Message
from messages.states import State

# A start that was cut off may have queued the same documents already.
AGAIN = outbox.Again(reason="The demonstration was cut off", asked_by="the demonstration")

# No mailbox of the sandbox has this ID.
_NOBODY = "Z99099GP001"


@dataclass(frozen=True)
class Told:
    """The report about a message once MESH has accepted it."""

    status: str
    code: str
    description: str


@dataclass(frozen=True)
class Wanted:
    """One message and what becomes of it. ``key`` is its name for ever: what was queued under it is not queued again."""

    key: str
    sender: str
    recipient: str
    workflow_id: str
    body: bytes
    file_name: str
    state: State
    subject: str = ""
    told: Told | None = None


def wanted() -> list[Wanted]:
    """All of them, in the order in which they are queued."""
    return [*_collected(), *_on_the_way(), *_troubled()]


def _discharge(
    number: int, key: str, recipient: str, state: State, *, sender: str = "RZ9HC001", told: Told | None = None
) -> Wanted:
    patient = PATIENTS[number % len(PATIENTS)]
    return Wanted(
        key=f"outbox-{key}",
        sender=sender,
        recipient=recipient,
        workflow_id="TOC_FHIR_IP_DISCH",
        body=fhir.discharge_summary(patient, number=500 + number),
        subject=f"Discharge summary for {patient.name}, NHS number {patient.nhs_number}",
        file_name=f"discharge-{500 + number:06d}.xml",
        state=state,
        told=told,
    )


def _collected() -> list[Wanted]:
    rows = [_discharge(number, f"discharge-{number}", "Z99011GP001", State.COLLECTED) for number in range(3)]
    notice = files.service_notice("Fellside Surgery is closed on Friday", ["Letters are read again on Monday."])
    rows.append(
        Wanted("outbox-notice", "Z99011GP001", "Z99010OT001", "TOC_FHIR_OP_ATTEN", notice, "closed-friday.txt", State.COLLECTED)
    )
    return rows


def _on_the_way() -> list[Wanted]:
    """With MESH, where nobody collects them, and with the portal, which cannot or may not send them."""
    rows = [_discharge(number, f"not-collected-{number}", world.NORTHMOOR, State.ACCEPTED) for number in (3, 4)]
    consultation = fhir.consultation_report(PATIENTS[5], number=500)
    rows.append(
        Wanted(
            *("outbox-consultation", "Z99010OT001", "Z99012GP002", "GPFED_CONSULT_REPORT", consultation),
            *("consultation-500.json", State.ACCEPTED),
        )
    )
    screening = files.screening_results(PATIENTS[:3])
    rows.append(
        Wanted(
            "outbox-refused-sign-in", "RZ9HC003", "Z99011GP001", "SCRN_BCS_MEDRPT_V4", screening, "screening.csv", State.QUEUED
        )
    )
    for number in range(2):
        image = files.clinic_letter(PATIENTS[6 + number])
        rows.append(
            Wanted(
                *(f"outbox-paused-{number}", "RZ9OT004", "Z99012GP001", "TOC_OUTP_ATT_DMS", image),
                *(f"radiology-{number}.txt", State.QUEUED),
            )
        )
    return rows


def _troubled() -> list[Wanted]:
    panel = next(iter(edifact.PANELS))
    result = edifact.pathology_report(PATIENTS[2], panel, reference=90_001)
    too_late = Told("undeliverable", "14", "Message not collected by recipient after 5 days")
    deactivated = Told("error", "14", "Message not delivered as the mailbox is deactivated")
    return [
        Wanted("outbox-unknown", "RZ9HC002", _NOBODY, "PATH_MEDRPT_V3", result, "00090001.edi", State.REFUSED),
        _discharge(8, "returned", world.NORTHMOOR, State.RETURNED, told=too_late),
        _discharge(9, "deactivated", world.NOTIFY, State.RETURNED, told=deactivated),
        _discharge(10, "cancelled", world.NORTHMOOR, State.CANCELLED),
    ]


def put(register: Register) -> int:
    """Queues what the register does not have; gives how many."""
    boxes = {row.mailbox_id: row for row in Mailbox.objects.select_related("team")}
    count = 0
    for one in wanted():
        if one.key in register.ids:
            continue
        draft = outbox.Draft(
            recipient=one.recipient, workflow_id=one.workflow_id, subject=one.subject, file_name=one.file_name, compress=True
        )
        # A worker sees the message when it is cancelled already: so it is, before anything of it was sent.
        with transaction.atomic():
            # The register may have been lost where the database was not.
            row = outbox.put(actor=ACTOR, mailbox=boxes[one.sender], draft=draft, body=[one.body], again=AGAIN)
            if one.state == State.CANCELLED:
                outbox.cancel(actor=ACTOR, message=row, reason="It held the letter of another patient.")
        register.note(one.key, str(row.pk))
        count += 1
    return count


def tell(register: Register, server: Sandbox) -> bool:
    """Lets the sandbox report on each message of which something is to be told, once MESH has accepted it. True when all is
    told."""
    open_ones = [one for one in wanted() if one.told is not None and f"{one.key}-told" not in register.ids]
    for one in open_ones:
        row = _row(register, one)
        if one.told is None or row is None or row.state != State.ACCEPTED:
            continue
        report = server.report(
            one.sender,
            linked_message_id=row.mesh_id,
            code=one.told.code,
            description=one.told.description,
            workflow_id=one.workflow_id,
            status=one.told.status,
        )
        register.note(f"{one.key}-told", report)
    return not open_ones


def missing(register: Register) -> list[str]:
    """A sentence for every message that is not in its state."""
    found = []
    for one in wanted():
        row = _row(register, one)
        state = "not known to the portal" if row is None else row.state
        if state != one.state:
            found.append(f"{one.key} is {state}, but should be {one.state}.")
    return found


def counts(register: Register) -> dict[str, int]:
    """How many of them are in which state."""
    rows = [_row(register, one) for one in wanted()]
    return dict(sorted(Counter(str(row.state) for row in rows if row is not None).items()))


def _row(register: Register, one: Wanted) -> Message | None:
    key = register.ids.get(one.key)
    return Message.objects.filter(pk=key).only("state", "mesh_id").first() if key else None
