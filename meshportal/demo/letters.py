"""The demonstration's messages: who sends what to whom. Every kind of body that a mailbox sees, and one hostile sender."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meshportal.demo.content import edifact, fhir, files
from meshportal.demo.content.patients import PATIENTS, Patient
from meshportal.demo.world import NORTHMOOR, NOTIFY

WHOLE = 20_000_000
_PANELS = tuple(edifact.PANELS)


@dataclass(frozen=True)
class Letter:
    """One message. ``key`` is its name for ever: what was sent under it is not sent again."""

    key: str
    sender: str
    recipient: str
    workflow_id: str
    body: bytes
    subject: str = ""
    local_id: str = ""
    file_name: str = ""
    content_type: str = "application/octet-stream"
    chunk_size: int = WHOLE
    compress: bool = False


@dataclass(frozen=True)
class Report:
    """A report that MESH itself puts into ``mailbox_id``; ``about`` is a letter's key, or a message id of long ago."""

    key: str
    mailbox_id: str
    about: str
    workflow_id: str
    subject: str
    local_id: str
    status: str = "undeliverable"
    code: str = "14"
    description: str = "Message not collected by recipient after 5 days"


def letters() -> list[Letter]:
    """All of them, in the order in which they are sent."""
    return [*_discharges(), *_results(), *_consultations(), *_from_outside(), *_waiting()]


# Its message is one that the portal only watches, so that the report finds it.
LATE_REPORT = Report(
    key="report-not-collected",
    mailbox_id="Z99010OT001",
    about="watched-consultation-0",
    workflow_id="GPFED_CONSULT_REPORT",
    subject="Consultation report",
    local_id="Z99010",
)
EARLY_REPORT = Report(
    key="report-unknown-address",
    mailbox_id="RZ9HC001",
    about="20260224101533207141_8D41C2",
    workflow_id="TOC_FHIR_IP_DISCH",
    subject="Discharge summary",
    local_id="RZ9-DISCH-000071",
    status="error",
    code="12",
    description="Unregistered to address",
)


def _letterbox(patient: Patient) -> str:
    return f"{patient.practice}GP001"


def _discharges() -> Iterator[Letter]:
    for number, patient in enumerate(PATIENTS):
        yield Letter(
            key=f"discharge-{number}",
            sender="RZ9HC001",
            recipient=_letterbox(patient),
            workflow_id="TOC_FHIR_IP_DISCH",
            body=fhir.discharge_summary(patient, number=number),
            subject=f"Discharge summary for {patient.name}, NHS number {patient.nhs_number}",
            local_id=f"RZ9-DISCH-{number:06d}",
            file_name=f"discharge-{number:06d}.xml",
            content_type="application/fhir+xml",
            compress=number % 2 == 0,
        )
        if number % 4 != 3:  # Not everybody answers.
            yield Letter(
                key=f"discharge-ack-{number}",
                sender=_letterbox(patient),
                recipient="RZ9HC001",
                workflow_id="TOC_FHIR_IP_DISCH_ACK",
                body=fhir.discharge_acknowledgement(number),
                local_id=f"RZ9-DISCH-{number:06d}",
                content_type="application/fhir+xml",
            )


def _results() -> Iterator[Letter]:
    reference = 20_417
    for panel in _PANELS:
        for patient in PATIENTS:
            reference += 1
            yield Letter(
                key=f"result-{reference}",
                sender="RZ9HC002",
                recipient=_letterbox(patient),
                workflow_id="PATH_MEDRPT_V3",
                body=edifact.pathology_report(patient, panel, reference=reference),
                local_id=f"{reference:08d}",
                file_name=f"{reference:08d}.edi",
                content_type="application/edifact",
            )
            if reference % 3 == 0:
                yield Letter(
                    key=f"result-ack-{reference}",
                    sender=_letterbox(patient),
                    recipient="RZ9HC002",
                    workflow_id="PATH_MEDRPT_V3_ACK",
                    body=edifact.acknowledgement(reference, patient.practice),
                    local_id=f"{reference:08d}",
                    content_type="application/edifact",
                )


def _consultations() -> Iterator[Letter]:
    for number, patient in enumerate(PATIENTS[:6]):
        yield Letter(
            key=f"consultation-{number}",
            sender="Z99010OT001",
            recipient=_letterbox(patient),
            workflow_id="GPFED_CONSULT_REPORT",
            body=fhir.consultation_report(patient, number=number),
            subject=f"Consultation Report for {patient.name}, NHS Number {patient.nhs_number}, seen at Z99010",
            # GP Connect asks for the sender's ODS code here, so this one is never unique.
            local_id="Z99010",
            file_name=f"consultation-{number}.json",
            content_type="application/fhir+json",
        )
    for number, patient in enumerate(PATIENTS[6:9]):
        yield Letter(
            key=f"update-{number}",
            sender=NORTHMOOR,
            recipient=_letterbox(patient),
            workflow_id="GPCONNECT_UPDATE_RECORD",
            body=fhir.update_record(patient, number=number),
            subject=f"Pharmacy First for {patient.name}, NHS Number {patient.nhs_number}",
            local_id="FZZ91",
            content_type="application/fhir+json",
        )


def _from_outside() -> Iterator[Letter]:
    patient = PATIENTS[1]
    yield Letter(
        key="clinic-letter",
        sender=NORTHMOOR,
        recipient=_letterbox(patient),
        workflow_id="TOC_OUTP_ATT_DMS",
        body=files.clinic_letter(patient),
        subject=f"Cardiology clinic letter, {patient.name}",
        local_id="RZ8-OPA-55120",
        file_name="cardiology letter 02 March 2026.txt",
        content_type="text/plain; charset=windows-1252",
    )
    yield Letter(
        key="document",
        sender=NORTHMOOR,
        recipient=_letterbox(PATIENTS[0]),
        workflow_id="GPCONNECT_SEND_DOCUMENT",
        body=files.pdf(
            "Northmoor NHS Foundation Trust",
            [f"Falls clinic: {PATIENTS[0].name}", f"NHS number {PATIENTS[0].spaced}", "", "Made up for a demonstration."],
        ),
        subject=f"Falls clinic letter for {PATIENTS[0].name}, NHS Number {PATIENTS[0].nhs_number}",
        local_id="RZ8-DOC-1107",
        file_name="falls-clinic.pdf",
        content_type="application/pdf",
    )
    yield Letter(
        key="scan-in-chunks",
        sender=NORTHMOOR,
        recipient=_letterbox(PATIENTS[4]),
        workflow_id="GPCONNECT_SEND_DOCUMENT",
        body=files.pdf("Scanned notes", [f"Notes of {PATIENTS[4].name}", "Sent in three chunks."], scan_bytes=700_000),
        subject=f"Scanned notes for {PATIENTS[4].name}, NHS Number {PATIENTS[4].nhs_number}",
        local_id="RZ8-DOC-1108",
        file_name="scanned-notes.pdf",
        content_type="application/pdf",
        chunk_size=300_000,
    )
    yield Letter(
        key="notify-report-in-chunks",
        sender=NOTIFY,
        recipient="Z99010OT001",
        workflow_id="NHS_NOTIFY_DAILY_REPORT",
        body=files.notify_daily_report(30_000),
        subject="b838b13c-f98c-4def-93f0-515d4e4f4ee1",
        local_id="2026-03-02",
        file_name="nhs-notify-daily-report-2026-03-02.csv",
        content_type="text/csv",
        chunk_size=1_000_000,
        compress=True,
    )
    yield Letter(
        key="screening-list",
        sender=NORTHMOOR,
        recipient="Z99011GP001",
        workflow_id="SCRN_BCS_MEDRPT_V4",
        body=files.screening_results([patient for patient in PATIENTS if patient.practice == "Z99011"]),
        local_id="BCSP-2026-09",
        file_name="bowel-screening-week-09.csv",
        content_type="text/csv",
        compress=True,
    )
    yield Letter(
        key="notice",
        sender=NORTHMOOR,
        recipient="RZ9HC001",
        workflow_id="TOC_FHIR_OP_ATTEN",
        body=files.service_notice(
            "Change of mailbox on 1 April",
            [
                "Northmoor's outpatient letters will come from a new mailbox from Wednesday 1 April 2026.",
                "Nothing changes in the letters themselves. Questions: digital.letters@northmoor.example",
            ],
        ),
        subject="Change of mailbox on 1 April",
        file_name="notice.txt",
        content_type="text/plain",
    )
    yield Letter(
        key="hostile-names",
        sender=NORTHMOOR,
        recipient="Z99010OT001",
        workflow_id="../../<script>",
        body=b"<script>alert('from a message')</script>\n=cmd|' /C calc'!A0\n",
        subject="<img src=x onerror=alert('subject')>",
        local_id='=HYPERLINK("x")\'; DROP TABLE messages; --',
        file_name="../../../etc/passwd<script>alert(1)</script>=cmd|' -C calc'!A0.html",
        content_type="text/html",
    )
    yield Letter(
        key="bare", sender=NORTHMOOR, recipient="RZ9HC002", workflow_id="PATH_MEDRPT_V2", body=b"\x00\x01\x02 not text \xff"
    )


def _waiting() -> Iterator[Letter]:
    """What stays in the inbox: nobody at the portal collects it."""
    harbour = [patient for patient in PATIENTS if patient.practice == "Z99012"]
    for number, patient in enumerate(harbour[:4]):
        yield Letter(
            key=f"watched-consultation-{number}",
            sender="Z99010OT001",
            recipient="Z99012GP002",
            workflow_id="GPFED_CONSULT_REPORT",
            body=fhir.consultation_report(patient, number=100 + number),
            subject=f"Consultation Report for {patient.name}, NHS Number {patient.nhs_number}, seen at Z99010",
            local_id="Z99010",
            file_name=f"consultation-{100 + number}.json",
            content_type="application/fhir+json",
        )
    for number in range(3):
        yield Letter(
            key=f"unreachable-{number}",
            sender=NORTHMOOR,
            recipient="RZ9HC003",
            workflow_id="SCRN_BCS_MEDRPT_V4",
            body=files.screening_results(PATIENTS[number : number + 4]),
            local_id=f"BSS-2026-{number:02d}",
            file_name=f"breast-screening-{number}.csv",
            content_type="text/csv",
        )
