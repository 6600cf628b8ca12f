"""Pathology results as EDIFACT (the message type NHS003 that laboratories have sent to practices for decades)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from meshportal.demo.content.patients import Patient


@dataclass(frozen=True)
class Result:
    """One analyte: Read code, name, value, unit, reference range, and HI or LO when it is outside."""

    code: str
    name: str
    value: str
    unit: str
    low: str
    high: str
    flag: str = ""


PANELS: dict[str, tuple[str, tuple[Result, ...], str]] = {
    "FBC": (
        "Full blood count",
        (
            Result("423..", "Haemoglobin concentration", "104", "g/L", "115", "165", "LO"),
            Result("42H..", "Total white blood count", "7.2", "10*9/L", "4.0", "11.0"),
            Result("42P..", "Platelet count", "312", "10*9/L", "150", "400"),
            Result("42A..", "Mean corpuscular volume", "76.3", "fL", "80", "100", "LO"),
        ),
        "Microcytic anaemia. Suggest ferritin if not already done.",
    ),
    "UE": (
        "Urea and electrolytes",
        (
            Result("44I5.", "Serum sodium", "139", "mmol/L", "133", "146"),
            Result("44I4.", "Serum potassium", "5.6", "mmol/L", "3.5", "5.3", "HI"),
            Result("44J3.", "Serum creatinine", "128", "umol/L", "60", "120", "HI"),
            Result("451E.", "GFR calculated abbreviated MDRD", "47", "mL/min/1.73m2", "90", "200", "LO"),
        ),
        "Potassium raised, sample not haemolysed. Please repeat within two weeks.",
    ),
    "TFT": (
        "Thyroid function test",
        (
            Result("442W.", "Serum TSH level", "2.1", "mU/L", "0.27", "4.2"),
            Result("442V.", "Serum free T4 level", "15.8", "pmol/L", "12", "22"),
        ),
        "Patient's dose of thyroxine appears right: TSH in range.",
    ),
}


def pathology_report(patient: Patient, panel: str, *, reference: int, requester: str = "FAIRWEATHER") -> bytes:
    """One interchange with one report. Segments end in new lines too, as several laboratories send them."""
    title, results, comment = PANELS[panel]
    taken = datetime(2026, 3, 2, 9, 5) + timedelta(minutes=7 * (reference % 60))  # noqa: DTZ001  local time, as laboratories write it
    reported = taken + timedelta(hours=6)
    body = [
        "BGM+LSR",
        f"DTM+137:{reported:%Y%m%d%H%M}:203",
        f"NAD+MR+{patient.practice}:900++{requester}",
        "NAD+SLA+RZ9:903++MIDSHIRE PATHOLOGY",
        "SPR+PRO",
        "S01+01",
        f"NAD+PO+G9999981:900++{requester}",
        "S02+02",
        "GIS+N",
        f"RFF+SRI:RZ9{reference:08d}",
        "STS++UN",
        f"DTM+ISR:{reported:%Y%m%d%H%M}:203",
        "S06+06",
        f"RFF+RTI:S{reference:08d}",
        "S07+07",
        f"PNA+PAT+{patient.nhs_number}:OPI+++SU:{_free(patient.family)}+FO:{_free(patient.given)}",
        f"DTM+329:{patient.born:%Y%m%d}:102",
        f"PDI+{2 if patient.sex == 'female' else 1}",
        f"ADR++US:{_free(patient.street)}:{_free(patient.town)}+++{patient.postcode}",
        "S16+16",
        "SEQ++1",
        "SPC+TSP+:::Venous blood",
        f"DTM+SCO:{taken:%Y%m%d%H%M}:203",
        "S18+18",
        "GIS+N",
        f"INV+MG+:::{_free(title)}",
        "SEQ++1+1",
        f"FTX+RIT+++{_free(comment)}",
    ]
    for number, result in enumerate(results, 2):
        body += [
            "S18+18",
            "GIS+N",
            f"INV+MQ+{result.code}:911::{_free(result.name)}",
            f"SEQ++{number}+1",
            f"RSL+NV+{result.value}++:::{result.unit}" + (f"+{result.flag}" if result.flag else ""),
            "STS++UN",
            "S20+20",
            f"RND+U+{result.low}+{result.high}",
        ]
    message = [f"UNH+{reference:08d}+MEDRPT:0:1:RT:NHS003", *body]
    message.append(f"UNT+{len(message) + 1}+{reference:08d}")
    interchange = [
        f"UNB+UNOB:2+RZ9HC002:80+{patient.practice}GP001:80+{reported:%y%m%d}:{reported:%H%M}+{reference:08d}++MEDRPT++1",
        *message,
        f"UNZ+1+{reference:08d}",
    ]
    return "".join(f"{segment}'\r\n" for segment in interchange).encode("ascii")


def acknowledgement(reference: int, practice: str) -> bytes:
    """The business acknowledgement of an interchange: all of it was accepted."""
    segments = [
        f"UNB+UNOB:2+{practice}GP001:80+RZ9HC002:80+260302:1644+{reference:08d}++NHSACK++1",
        f"UNH+{reference:08d}+NHSACK:0:1:RT:NHS001",
        "BGM+AFR",
        "DTM+815:202603021644:203",
        f"RFF+IRI:{reference:08d}",
        "STS+A+AP",
        f"UNT+6+{reference:08d}",
        f"UNZ+1+{reference:08d}",
    ]
    return "".join(f"{segment}'\r\n" for segment in segments).encode("ascii")


def _free(text: str) -> str:
    """Text with the service characters released."""
    for mark in "?+:'":
        text = text.replace(mark, f"?{mark}")
    return text
