"""The made-up messages: valid as far as a receiver would check, and about nobody."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from meshportal.demo import letters, world
from meshportal.demo.content import edifact, files
from meshportal.demo.content.patients import PATIENTS, check_digit, is_nhs_number, nhs_number
from meshportal.demo.letters import Letter
from meshportal.mesh.upload import chunk_total, first_headers
from messages.preview import preview

ALL = letters.letters()


def of(key: str) -> Letter:
    return next(letter for letter in ALL if letter.key == key)


def test_check_digits() -> None:
    # 943 476 5919 is the example of the NHS Data Model and Dictionary.
    assert check_digit("943476591") == 9
    assert is_nhs_number("9434765919")
    assert not is_nhs_number("9434765918")
    assert not is_nhs_number("94347659")
    assert [is_nhs_number(nhs_number(serial)) for serial in range(500)] == [True] * 500


def test_every_nhs_number_is_of_the_test_range() -> None:
    assert len({patient.nhs_number for patient in PATIENTS}) == len(PATIENTS)
    for letter in ALL:
        # The table of a PDF holds offsets of ten digits.
        body = "" if letter.content_type == "application/pdf" else letter.body.decode("latin-1")
        text = body + letter.subject + letter.local_id + letter.file_name
        for found in re.findall(r"(?<![\w.-])\d{3} ?\d{3} ?\d{4}(?![\w.-])", text):
            number = found.replace(" ", "")
            if is_nhs_number(number):
                assert number.startswith("999"), (letter.key, found)
    for patient in PATIENTS:
        assert patient.nhs_number.startswith("999")
        assert is_nhs_number(patient.nhs_number)


def test_letters_are_sendable_and_go_to_somebody() -> None:
    assert len({letter.key for letter in ALL}) == len(ALL)
    for letter in ALL:
        assert letter.recipient in world.BY_ID, letter.key
        assert letter.sender in {*world.BY_ID, *world.OUTSIDE}, letter.key
        assert letter.body, letter.key
        headers = first_headers(
            recipient=letter.recipient,
            workflow_id=letter.workflow_id,
            total=1,
            compress=letter.compress,
            subject=letter.subject,
            local_id=letter.local_id,
            file_name=letter.file_name,
            content_type=letter.content_type,
            checksum="",
            encrypted=False,
            compressed=False,
        )
        assert headers["Mex-To"] == letter.recipient.encode()


def test_the_same_letters_every_time() -> None:
    assert letters.letters() == ALL


def test_every_kind_of_body_is_there() -> None:
    kinds = {
        preview(letter.body[:200_000], truncated=False, file_name=letter.file_name, content_type=letter.content_type).kind
        for letter in ALL
        if world.BY_ID[letter.recipient].collects
    }
    assert kinds == {"text", "xml", "json", "csv", "edifact", "binary"}
    chunks = {letter.key: chunk_total(len(letter.body), letter.chunk_size) for letter in ALL}
    assert chunks["scan-in-chunks"] == 3
    assert chunks["notify-report-in-chunks"] >= 3
    assert of("notify-report-in-chunks").compress
    assert not of("scan-in-chunks").compress


def test_structured_bodies_can_be_read() -> None:
    for letter in ALL:
        if letter.content_type == "application/fhir+xml":
            assert ElementTree.fromstring(letter.body).tag.endswith("}Bundle"), letter.key  # noqa: S314  our own
        elif letter.content_type == "application/fhir+json":
            assert json.loads(letter.body)["resourceType"] == "Bundle", letter.key


@pytest.mark.parametrize("key", [letter.key for letter in ALL if letter.content_type == "application/edifact"][:6])
def test_edifact_counts_its_own_segments(key: str) -> None:
    segments = of(key).body.decode().replace("\r\n", "").split("'")[:-1]
    first, last = (next(at for at, segment in enumerate(segments) if segment.startswith(tag)) for tag in ("UNH+", "UNT+"))
    assert segments[last].split("+")[1] == str(last - first + 1)
    assert segments[0].split("+")[5] == segments[-1].split("+")[2]


def test_edifact_releases_its_service_characters() -> None:
    body = edifact.pathology_report(PATIENTS[0], "TFT", reference=1).decode()
    assert "Patient?'s dose of thyroxine appears right?: TSH" in body


def test_the_pdf_points_at_its_objects() -> None:
    body = files.pdf("Title (draft)", ["one", "back\\slash"], scan_bytes=100)
    start = int(body.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert body[start:].startswith(b"xref\n0 7\n")
    for number, line in enumerate(body[start:].split(b"\n")[3:9], 1):
        assert body[int(line[:10]) :].startswith(b"%d 0 obj" % number)
    assert b"(Title \\(draft\\)) Tj" in body


def test_the_world_is_what_the_tour_needs() -> None:
    assert len(world.TEAMS) == 2
    assert len(world.MAILBOXES) >= 6
    assert len({box.ods_code for box in world.MAILBOXES}) >= 3
    assert {role for person in world.PEOPLE for _team, role in person.roles} == {"viewer", "operator", "manager", "auditor"}
    assert {box.mode for box in world.MAILBOXES} == {"collect", "watch", "paused"}
    assert [box.mailbox_id for box in world.MAILBOXES if box.mode == "collect" and not box.collects] == ["RZ9HC003"]
    assert all(person.email.endswith(".example") for person in world.PEOPLE)
    for report in (letters.EARLY_REPORT, letters.LATE_REPORT):
        assert world.BY_ID[report.mailbox_id].collects
    late = of(letters.LATE_REPORT.about)
    # The portal links a report within a team only.
    assert late.sender == letters.LATE_REPORT.mailbox_id
    assert world.BY_ID[late.recipient].team == world.BY_ID[late.sender].team
