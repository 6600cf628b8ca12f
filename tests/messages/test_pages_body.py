"""Opening a body (promise P9): no byte without a reason, the audit row first, and nothing in it that runs."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.urls import reverse

from meshportal.audit import services as audit
from meshportal.audit.models import AuditEvent
from meshportal.core import payloads
from messages import downloads
from messages.models import MessageEvent, Payload

pytestmark = pytest.mark.django_db

REASON = {"why": "delivery", "detail": "INC0012345"}
KEPT = "Checking a delivery problem: INC0012345"


def url_of(message: Any, route: str = "body") -> str:
    return reverse(f"messages:{route}", kwargs={"team": message.team.slug, "pk": message.pk})


def reads() -> list[tuple[str, str, str]]:
    events = AuditEvent.objects.filter(action__startswith="message.body").order_by("id")
    return list(events.values_list("action", "target_id", "reason"))


@pytest.fixture
def letter(message: Any) -> Any:
    return message(
        body=b"PLANTED-BODY <b>bold</b>",
        subject="PLANTED-SUBJECT <i>Smith</i>",
        recipient_mailbox="",
        recipient_sealed="GPPROVIDER_PLANTED",
        file_name="letter 9434765919.txt",
        headers={"mex-subject": "PLANTED-SUBJECT <i>Smith</i>", "mex-to": "GPPROVIDER_PLANTED"},
    )


# --- The prompt -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_without_the_capability_there_is_no_such_page(signed_in: Any, letter: Any, role: str) -> None:
    browser = signed_in(role)
    assert browser.get(url_of(letter)).status_code == 404
    assert browser.post(url_of(letter), REASON).status_code == 404
    assert browser.post(url_of(letter, "download"), {"reason": KEPT}).status_code == 404
    assert reads() == []


def test_the_prompt_shows_nothing_of_the_message_and_records_nothing(signed_in: Any, letter: Any) -> None:
    answer = signed_in("operator").get(url_of(letter))
    page = answer.content.decode()
    assert "Why are you opening this message?" in page
    assert "This reading is recorded: your name (Operator Person)" in page
    assert "PLANTED" not in page
    assert "9434765919" not in page
    assert "no-store" in answer["Cache-Control"]
    assert reads() == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Say why you are opening this message"),
        ({"why": ""}, "Say why you are opening this message"),
        ({"why": "because"}, "Choose one of the reasons"),
        ({"why": "other"}, "Say in your own words why you are opening this message"),
        ({"why": "other", "detail": "  \n\t "}, "Say in your own words why you are opening this message"),
        ({"why": "other", "detail": "\u200b\u200b."}, "Write it in words"),
        ({"why": "delivery", "detail": "x" * 501}, "Keep it within 500 characters"),
        ({"why": "other", "detail": "a\x00b"}, "Null characters are not allowed"),
    ],
)
def test_an_empty_reason_opens_nothing(signed_in: Any, letter: Any, given: dict[str, str], sentence: str) -> None:
    answer = signed_in("operator").post(url_of(letter), given)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert "There is a problem" in page
    assert "PLANTED" not in page
    assert "no-store" in answer["Cache-Control"]
    assert reads() == []
    assert not MessageEvent.objects.filter(kind="body_read").exists()


def test_wrong_input_comes_back_with_what_was_typed(signed_in: Any, letter: Any) -> None:
    page = signed_in("operator").post(url_of(letter), {"detail": "for <Dr Jones>"}).content.decode()
    assert "for &lt;Dr Jones&gt;" in page


# --- The preview ----------------------------------------------------------------------------------------------------------
def test_a_reason_opens_it_and_is_kept_with_the_name(signed_in: Any, letter: Any) -> None:
    answer = signed_in("operator").post(url_of(letter), REASON)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")
    assert "no-store" in answer["Cache-Control"]
    assert "PLANTED-BODY &lt;b&gt;bold&lt;/b&gt;" in page
    assert "PLANTED-SUBJECT &lt;i&gt;Smith&lt;/i&gt;" in page
    assert "GPPROVIDER_PLANTED" in page
    assert "letter 9434765919.txt" in page
    assert letter.payload.sha256 in page
    assert reads() == [("message.body_read", str(letter.pk), KEPT)]
    event = AuditEvent.objects.get(action="message.body_read")
    assert event.actor_label.startswith("Operator Person")
    assert event.team_label == letter.team.name
    assert audit.verify().broken is None
    assert MessageEvent.objects.get(kind="body_read").actor_label == event.actor_label
    assert "PLANTED" not in repr(event.__dict__)


def test_the_audit_row_is_there_before_the_first_byte(signed_in: Any, letter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = payloads.read_all

    def watched(key: str, *, limit: int) -> Any:
        seen.append(len(reads()))
        return original(key, limit=limit)

    monkeypatch.setattr(payloads, "read_all", watched)
    signed_in("operator").post(url_of(letter), REASON)
    assert seen == [1]


def test_without_an_audit_row_there_is_no_byte(signed_in: Any, letter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_fields: Any) -> None:
        raise RuntimeError("the audit cannot be written")

    def unreachable(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the payload was opened")

    monkeypatch.setattr("messages.services.audit.record", refuse)
    monkeypatch.setattr(payloads, "open_blocks", unreachable)
    browser = signed_in("operator")
    browser.raise_request_exception = False
    for route, given in (("body", REASON), ("download", {"reason": KEPT})):
        answer = browser.post(url_of(letter, route), given)
        assert answer.status_code == 500
        assert b"PLANTED" not in answer.content


def test_a_large_body_is_shown_in_part(signed_in: Any, message: Any, settings: Any) -> None:
    settings.PREVIEW_BYTES = 1000
    row = message(body=b"line\n" * 1000)
    page = signed_in("operator").post(url_of(row), REASON).content.decode()
    assert "The first 1.0 KB are shown." in page
    assert page.count("line\n") <= 201


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "Empty"),
        (b"%PDF-1.7 binary", "PDF document"),
        (b'{"resourceType":"Bundle"}', "FHIR JSON, Bundle"),
        (b"<a><b/></a>", "XML, a"),
        (b"a,b,c\n1,2,3\n4,5,6\n", "Separated values (CSV)"),
        (b"UNB+UNOA:2+A+B+261124:1041+1'UNZ+1+1'", "EDIFACT"),
        (b"<html><script>alert(1)</script></html>", "HTML source"),
        (b"\x00\xff\xfe\x01", "Binary file"),
    ],
)
def test_each_kind_is_named_and_nothing_of_it_is_markup(signed_in: Any, message: Any, body: bytes, expected: str) -> None:
    page = signed_in("operator").post(url_of(message(body=body)), REASON).content.decode()
    assert expected in page
    assert "<script>alert" not in page


# --- Bodies that cannot be read ---------------------------------------------------------------------------------------------
def test_a_message_without_a_body_says_so(signed_in: Any, message: Any) -> None:
    row = message()
    browser = signed_in("operator")
    answer = browser.get(url_of(row))
    assert answer.status_code == 200
    assert "does not hold the body" in answer.content.decode()
    answer = browser.post(url_of(row), REASON)
    assert answer.status_code == 409
    assert "does not hold the body" in answer.content.decode()
    assert reads() == []


@pytest.mark.parametrize("damage", ["missing", "cut", "rubbish", "empty"])
def test_a_damaged_file_is_a_sentence_and_the_reading_stays_recorded(signed_in: Any, letter: Any, damage: str) -> None:
    path = Path(django_settings.PAYLOAD_DIR) / letter.payload.storage_key
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"cut": whole[: len(whole) // 2], "rubbish": b"rubbish", "empty": b""}[damage])
    browser = signed_in("operator")
    answer = browser.post(url_of(letter), REASON)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert ("not in its storage" if damage == "missing" else "cannot be decrypted") in page
    assert "tell whoever runs the portal" in page.lower()
    assert "PLANTED" not in page
    answer = browser.post(url_of(letter, "download"), {"reason": KEPT})
    assert answer.status_code == 302
    assert answer["Location"] == url_of(letter)
    assert "Tell whoever runs the portal" in browser.get(url_of(letter)).content.decode() or damage == "missing"
    assert [action for action, _, _ in reads()] == ["message.body_read", "message.body_downloaded"]


def test_a_body_that_was_purged_is_not_held(signed_in: Any, letter: Any) -> None:
    from django.utils import timezone

    Payload.objects.update(purged_at=timezone.now())
    assert "does not hold the body" in signed_in("operator").get(url_of(letter)).content.decode()


# --- The download -------------------------------------------------------------------------------------------------------------
def test_the_reason_is_carried_on_to_the_download(signed_in: Any, letter: Any) -> None:
    browser = signed_in("operator")
    page = browser.post(url_of(letter), REASON).content.decode()
    assert f'name="reason" value="{KEPT}"' in page
    answer = browser.post(url_of(letter, "download"), {"reason": KEPT})
    assert b"".join(answer.streaming_content) == b"PLANTED-BODY <b>bold</b>"
    assert [(action, reason) for action, _, reason in reads()] == [
        ("message.body_read", KEPT),
        ("message.body_downloaded", KEPT),
    ]


def test_the_download_is_a_file_and_nothing_else(signed_in: Any, message: Any) -> None:
    body = bytes(range(256)) * 2000
    row = message(body=body, file_name="page.html", content_type="text/html")
    answer = signed_in("manager").post(url_of(row, "download"), {"reason": KEPT})
    assert answer.status_code == 200
    assert answer.streaming
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="page.html"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox"
    assert answer["Content-Length"] == str(len(body))
    assert "no-store" in answer["Cache-Control"]
    assert b"".join(answer.streaming_content) == body


def test_an_empty_body_is_an_empty_file(signed_in: Any, message: Any) -> None:
    answer = signed_in("manager").post(url_of(message(body=b""), "download"), {"reason": KEPT})
    assert answer["Content-Length"] == "0"
    assert b"".join(answer.streaming_content) == b""


@pytest.mark.parametrize("reason", ["", "  ", "...", "\u200b", "x" * 700])
def test_a_download_without_a_reason_gives_no_byte(signed_in: Any, letter: Any, reason: str) -> None:
    browser = signed_in("operator")
    answer = browser.post(url_of(letter, "download"), {"reason": reason})
    assert answer.status_code == 302
    assert answer["Location"] == url_of(letter)
    assert "Say why you are opening this message before you download it." in browser.get(url_of(letter)).content.decode()
    assert reads() == []


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_the_address_of_the_download_explains_itself(signed_in: Any, letter: Any, method: str) -> None:
    answer = getattr(signed_in("operator"), method)(url_of(letter, "download"))
    assert answer.status_code == 405
    assert "This address is a button" in answer.content.decode()
    assert f'href="{url_of(letter)}"' in answer.content.decode()
    assert reads() == []


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("letter.pdf", "letter.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\letter.pdf", "letter.pdf"),
        ("..", "20261124000000000001_ABCDEF.dat"),
        ("", "20261124000000000001_ABCDEF.dat"),
        ("///", "20261124000000000001_ABCDEF.dat"),
        ("\u200b.\u202e", "20261124000000000001_ABCDEF.dat"),
        ("\u202egpj.exe", "gpj.exe"),
        ("a\r\nSet-Cookie: x=1.txt", "a_Set-Cookie_ x=1.txt"),
        ('a"b<c>.txt', "a_b_c_.txt"),
        (".bashrc", "bashrc"),
        ("CON.txt", "_CON.txt"),
        ("Bérénice Müller.pdf", "Bérénice Müller.pdf"),
        ("n" * 290 + ".xml", "n" * 146 + ".xml"),
        ("n" * 300, "n" * 150),
    ],
)
def test_the_file_name_is_safe(signed_in: Any, message: Any, sent: str, expected: str) -> None:
    row = message(body=b"x", file_name=sent, mesh_id="20261124000000000001_ABCDEF")
    assert downloads.file_name(row) == expected
    answer = signed_in("operator").post(url_of(row, "download"), {"reason": KEPT})
    header = answer["Content-Disposition"]
    parsed = EmailMessage()
    parsed["Content-Disposition"] = header
    assert parsed.get_content_disposition() == "attachment"
    assert parsed.get_filename() == expected
    assert header.isascii()
    assert b"".join(answer.streaming_content) == b"x"


def test_damage_in_the_middle_ends_the_download_early(signed_in: Any, message: Any) -> None:
    row = message(body=b"0123456789abcdef" * 40_000)
    path = Path(django_settings.PAYLOAD_DIR) / row.payload.storage_key
    path.write_bytes(path.read_bytes()[:-1000])
    answer = signed_in("operator").post(url_of(row, "download"), {"reason": KEPT})
    assert answer.status_code == 200
    received = 0
    with pytest.raises(payloads.PayloadUnreadable):
        for block in answer.streaming_content:
            received += len(block)
    assert 0 < received < row.payload.size
