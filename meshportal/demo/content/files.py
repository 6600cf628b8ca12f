"""Text, separated values and PDF."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from datetime import date, timedelta

from meshportal.demo.content.patients import Patient, nhs_number

_DAY = date(2026, 3, 2)


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def screening_results(patients: Sequence[Patient]) -> bytes:
    """A bowel screening list: one line a person."""
    header = ["nhs_number", "family_name", "given_name", "date_of_birth", "kit_sent", "kit_returned", "result", "next_step"]
    rows: list[list[object]] = [[*header]]
    for number, patient in enumerate(patients):
        sent = _DAY - timedelta(days=30 + number)
        answered = number % 3 != 2
        result = ("normal", "abnormal", "")[number % 3]
        step = ("recall in 2 years", "colonoscopy clinic, invited", "reminder sent")[number % 3]
        returned = sent + timedelta(days=11) if answered else ""
        rows.append([patient.nhs_number, patient.family, patient.given, patient.born, sent, returned, result, step])
    return _csv(rows)


def notify_daily_report(lines: int) -> bytes:
    """What became of letters and texts sent for a trust: ``lines`` lines, a few megabytes when there are many."""
    chance = random.Random(lines)  # noqa: S311  the same file every time
    channels = (
        ("nhsapp", "read"),
        ("sms", "delivered"),
        ("email", "delivered"),
        ("letter", "dispatched"),
        ("sms", "permanent_failure"),
    )
    rows: list[list[object]] = [
        ["nhs_number", "client_reference", "message_reference", "send_time", "channel", "channel_status", "routing_plan"]
    ]
    for number in range(lines):
        channel, status = channels[min(int(chance.expovariate(0.9)), 4)]
        minute = chance.randrange(600)
        time = f"{_DAY}T{8 + minute // 60:02d}:{minute % 60:02d}:00Z"
        reference = f"{chance.getrandbits(64):016x}"
        rows.append(
            [nhs_number(number % 999_000), f"OPA-{number:06d}", reference, time, channel, status, "outpatient-invitation-v3"]
        )
    return _csv(rows)


def clinic_letter(patient: Patient) -> bytes:
    """An outpatient letter as plain text, in the encoding of an older system (Windows-1252)."""
    text = f"""MIDSHIRE HOSPITALS NHS TRUST                                  Department of Cardiology
                                                               Clinic of Monday 2 March 2026
{patient.name}, born {patient.born:%d %b %Y}, NHS number {patient.spaced}
{patient.street}, {patient.town} {patient.postcode}

Dear Doctor

Diagnosis:    Paroxysmal atrial fibrillation – rate controlled
Plan:         Continue apixaban 5 mg twice daily. 24-hour tape in June. No change to bisoprolol.

Thank you for referring this patient, whom I reviewed today. Palpitations are less frequent: “perhaps once a
fortnight, after café coffee”. Blood pressure 132/78, pulse 68 and irregular. Echocardiogram shows good
left ventricular function, left atrium mildly dilated (42 mm).

I have explained when to call 999. I would be grateful if you could check renal function in three months.

Yours sincerely
Dr Éloise Fairweather, Consultant Cardiologist

This letter is made up for a demonstration. It is about nobody.
"""
    return text.replace("\n", "\r\n").encode("cp1252")


def service_notice(subject: str, sentences: Sequence[str]) -> bytes:
    """A short notice as UTF-8 text."""
    return "\n".join([subject, "=" * len(subject), "", *sentences, ""]).encode()


def pdf(title: str, lines: Sequence[str], *, scan_bytes: int = 0) -> bytes:
    """A one-page PDF in Helvetica; ``scan_bytes`` adds an embedded file of that size, as a scanner's output is large."""
    text = "\n".join(["BT /F1 16 Tf 56 780 Td", f"({_escaped(title)}) Tj", "/F1 11 Tf 0 -30 Td 15 TL"])
    text += "".join(f"\n({_escaped(line)}) Tj T*" for line in lines) + "\nET"
    stream = text.encode("cp1252", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    if scan_bytes:
        scan = random.Random(scan_bytes).randbytes(scan_bytes)  # noqa: S311  the same file every time
        objects.append(b"<< /Type /EmbeddedFile /Length %d >>\nstream\n%s\nendstream" % (len(scan), scan))
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
