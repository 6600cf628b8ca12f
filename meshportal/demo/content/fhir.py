"""FHIR: Transfer of Care discharge summaries (STU3, XML) and GP Connect messages (STU3, JSON)."""

from __future__ import annotations

import json
import uuid
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from meshportal.demo.content.patients import Patient

_NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
_ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
_EVENT = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-2"
_WHEN = "2026-03-02T15:20:00+00:00"
_SPACE = uuid.UUID("5d8b3f0a-6f7e-4c55-9a7f-0f6d6e2f1c11")


def stable_id(*parts: object) -> str:
    """The same UUID for the same parts."""
    return str(uuid.uuid5(_SPACE, "/".join(map(str, parts))))


def discharge_summary(patient: Patient, *, number: int) -> bytes:
    """A hospital's discharge summary as an ITK3 message bundle in XML."""
    reason, medicines, actions = _ADMISSIONS[number % len(_ADMISSIONS)]
    sections = (
        ("Patient demographics", f"{patient.name}, {patient.sex}, born {patient.born:%d/%m/%Y}, NHS number {patient.spaced}"),
        ("Admission details", f"Admitted to Midshire General as an emergency. {reason}"),
        ("Medications and medical devices", medicines),
        ("Plan and requested actions", actions),
        ("Information and advice given", "Leaflet given. Told to call 111 if worse, 999 in an emergency."),
    )
    written = "".join(
        f'<section><title value={quoteattr(title)}/><text><status value="generated"/>'
        f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(text)}</p></div></text></section>'
        for title, text in sections
    )
    header_id, composition_id, patient_id = (
        stable_id(kind, "discharge", number) for kind in ("header", "composition", "patient")
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Bundle xmlns="http://hl7.org/fhir"><id value="{stable_id("bundle", "discharge", number)}"/>\
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/ITK-Message-Bundle-1"/></meta><type value="message"/>
<entry><fullUrl value="urn:uuid:{header_id}"/><resource><MessageHeader><id value="{header_id}"/>\
<event><system value="{_EVENT}"/><code value="ITK006D"/><display value="ITK eDischarge"/></event>\
<timestamp value="{_WHEN}"/>\
<source><name value="Midshire Hospitals NHS Trust"/><endpoint value="urn:nhs-uk:addressing:ods:RZ9"/></source>\
<focus><reference value="urn:uuid:{composition_id}"/></focus></MessageHeader></resource></entry>
<entry><fullUrl value="urn:uuid:{composition_id}"/><resource><Composition><id value="{composition_id}"/><status value="final"/>\
<type><coding><system value="http://snomed.info/sct"/>\
<code value="373942005"/><display value="Discharge summary"/></coding></type>\
<subject><reference value="urn:uuid:{patient_id}"/></subject><date value="{_WHEN}"/><title value="Discharge summary"/>{written}\
</Composition></resource></entry>
<entry><fullUrl value="urn:uuid:{patient_id}"/><resource><Patient><id value="{patient_id}"/>\
<identifier><system value="{_NHS_NUMBER}"/><value value="{patient.nhs_number}"/></identifier>\
<name><use value="official"/><family value={quoteattr(patient.family)}/><given value={quoteattr(patient.given)}/></name>\
<gender value="{patient.sex}"/><birthDate value="{patient.born}"/>\
<generalPractitioner><identifier><system value="{_ODS}"/><value value="{patient.practice}"/></identifier></generalPractitioner>\
</Patient></resource></entry>
</Bundle>
""".encode()


_ADMISSIONS = (
    (
        "Fall at home with a fractured left neck of femur; hemiarthroplasty, uneventful.",
        "Started: apixaban 2.5 mg twice daily until 6 April. Stopped: naproxen. Unchanged: amlodipine 5 mg.",
        "GP to: check haemoglobin in one week; stop apixaban on 6 April; refer for a bone density scan.",
    ),
    (
        "Community-acquired pneumonia, right lower lobe. Treated with intravenous, then oral antibiotics.",
        "Started: doxycycline 100 mg daily until 7 March. Unchanged: all others.",
        "GP to: arrange a chest X-ray in six weeks. Patient to: book an appointment if still breathless.",
    ),
    (
        "Chest pain. Troponin not raised twice; ECG unchanged. Musculoskeletal pain is likely.",
        "No change to medicines.",
        "GP to: review blood pressure, which was 158/92 on two readings. No hospital follow-up.",
    ),
)


def discharge_acknowledgement(number: int) -> bytes:
    """The business acknowledgement of a discharge summary: the practice's system took it."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Bundle xmlns="http://hl7.org/fhir"><id value="{stable_id("bundle", "ack", number)}"/><type value="message"/>
<entry><resource><MessageHeader><event><system value="{_EVENT}"/><code value="ITK007C"/><display value="ITK Response"/></event>\
<timestamp value="{_WHEN}"/>\
<response><identifier value="{stable_id("bundle", "discharge", number)}"/><code value="ok"/></response>\
</MessageHeader></resource></entry>
<entry><resource><OperationOutcome><issue><severity value="information"/><code value="informational"/>\
<details><coding><code value="20013"/><display value="Message accepted for processing"/></coding></details></issue>\
</OperationOutcome></resource></entry>
</Bundle>
""".encode()


def _bundle(kind: str, number: int, event: str, resources: list[dict[str, Any]]) -> bytes:
    header = {
        "resourceType": "MessageHeader",
        "id": stable_id("header", kind, number),
        "event": {"system": _EVENT, "code": event},
        "timestamp": _WHEN,
        "source": {"endpoint": "urn:nhs-uk:addressing:ods:Z99010"},
        "focus": [{"reference": f"urn:uuid:{resources[0]['id']}"}],
    }
    bundle = {
        "resourceType": "Bundle",
        "id": stable_id("bundle", kind, number),
        "meta": {"profile": ["https://fhir.nhs.uk/STU3/StructureDefinition/ITK-Message-Bundle-1"]},
        "type": "message",
        "entry": [{"fullUrl": f"urn:uuid:{entry['id']}", "resource": entry} for entry in (header, *resources)],
    }
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


def _patient(patient: Patient, kind: str, number: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": stable_id("patient", kind, number),
        "identifier": [{"system": _NHS_NUMBER, "value": patient.nhs_number}],
        "name": [{"use": "official", "family": patient.family, "given": [patient.given]}],
        "gender": patient.sex,
        "birthDate": str(patient.born),
    }


def consultation_report(patient: Patient, *, number: int) -> bytes:
    """GP Connect Messaging: a federated consultation, told to the patient's own practice."""
    subject = {"reference": f"urn:uuid:{stable_id('patient', 'consultation', number)}"}
    encounter = {
        "resourceType": "Encounter",
        "id": stable_id("encounter", number),
        "status": "finished",
        "type": [{"coding": [{"system": "http://snomed.info/sct", "code": "185317003", "display": "Telephone encounter"}]}],
        "subject": subject,
        "period": {"start": "2026-03-02T18:10:00+00:00", "end": "2026-03-02T18:22:00+00:00"},
    }
    finding = {
        "resourceType": "Observation",
        "id": stable_id("observation", number),
        "status": "final",
        "code": {"text": "Examination"},
        "subject": subject,
        "valueString": "Sore throat for four days. Temperature 37.9 °C, FeverPAIN score 2. No red flags.",
    }
    plan = {
        "resourceType": "ProcedureRequest",
        "id": stable_id("plan", number),
        "status": "active",
        "intent": "plan",
        "code": {"text": "Delayed prescription: phenoxymethylpenicillin 500 mg four times daily, 5 days"},
        "subject": subject,
    }
    return _bundle("consultation", number, "ITK008M", [encounter, finding, plan, _patient(patient, "consultation", number)])


def update_record(patient: Patient, *, number: int) -> bytes:
    """GP Connect Update Record: what a pharmacy did, for the patient's record."""
    subject = {"reference": f"urn:uuid:{stable_id('patient', 'update', number)}"}
    supply = {
        "resourceType": "MedicationStatement",
        "id": stable_id("supply", number),
        "status": "completed",
        "medicationCodeableConcept": {"text": "Nitrofurantoin 100 mg modified-release capsules, 6 capsules"},
        "subject": subject,
        "effectiveDateTime": "2026-03-02",
        "taken": "unk",
        "note": [
            {"text": "Pharmacy First: uncomplicated urinary tract infection. Advised to drink fluids and to return if feverish."}
        ],
    }
    return _bundle("update", number, "ITK016M", [supply, _patient(patient, "update", number)])
