"""The workflows of a mailbox: declared, seen in its traffic, and what differs."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import declared
from mailboxes.models import DeclaredWorkflow, Mailbox
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from messages.declared import lines

pytestmark = pytest.mark.django_db
ACTOR = Actor.command("tests")


def address(box: Mailbox) -> str:
    return f"/t/{box.team.slug}/mailboxes/{box.pk}/workflows/"


def said(answer: Any) -> str:
    html = answer.content.decode().replace("<wbr>", "")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_what_is_seen_beside_what_is_declared(mailbox: Any, message: Any, signed_in: Any) -> None:
    box, other = mailbox(), mailbox()
    declared.declare(actor=ACTOR, mailbox=box, sends=["SENDS", "BOTH"], receives=["BOTH", "QUIET"])
    message(mailbox=box, workflow_id="BOTH")
    message(mailbox=box, workflow_id="SENDS")
    message(mailbox=box, workflow_id="BOTH", state="collected", mesh_id="1")
    message(mailbox=box, workflow_id="OLD", seen_at=timezone.now() - timedelta(days=91))
    message(mailbox=box, workflow_id="STRANGE")
    message(mailbox=box, workflow_id="")
    message(mailbox=box, workflow_id="<script>")
    message(mailbox=other, workflow_id="ELSEWHERE")
    assert [(line.workflow_id, line.word[0]) for line in lines(box)] == [
        ("<script>", "Seen, not declared"),
        ("SENDS", "Seen, not declared"),
        ("STRANGE", "Seen, not declared"),
        ("BOTH", "Declared and seen"),
        ("QUIET", "Declared, not seen"),
    ]
    browser = signed_in("manager")
    assert "3 seen and not declared" in said(browser.get(address(box)))
    proposed = browser.get(f"{address(box)}?declare=seen").content.decode()
    assert "QUIET\nSENDS\nSTRANGE</textarea>" in proposed


def test_declaring_by_page(mailbox: Any, signed_in: Any) -> None:
    box = mailbox()
    browser = signed_in("manager")
    seen = declared.mark([])
    fields = {"seen": seen, "sends": "TOC_FHIR_IP_DISCH, X", "receives": "TOC_FHIR_IP_DISCH_ACK\r\nX"}
    assert "The workflows are declared" in said(browser.post(address(box), fields, follow=True))
    assert set(DeclaredWorkflow.objects.values_list("workflow_id", "may_send", "may_receive")) == {
        ("TOC_FHIR_IP_DISCH", True, False),
        ("TOC_FHIR_IP_DISCH_ACK", False, True),
        ("X", True, True),
    }
    event = AuditEvent.objects.get()
    assert event.after["may_send"] == "TOC_FHIR_IP_DISCH, X"
    assert "declared workflows of mailbox" in said(browser.get("/t/midshire/audit/"))
    # Somebody who saw none.
    answer = browser.post(address(box), {**fields, "sends": "Y"})
    assert answer.status_code == 422 and "Somebody else changed" in said(answer)
    again = {**fields, "seen": declared.mark(declared.of(box))}
    assert "Nothing was different" in said(browser.post(address(box), again, follow=True))
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sends": "a b!c"}, "is no workflow ID"),
        ({"receives": "<script>"}, "is no workflow ID"),
        ({"sends": "W" * 301}, "is no workflow ID"),
        ({"sends": "W\x00"}, "Null characters"),
        ({"receives": " ".join(f"W{n}" for n in range(51))}, "more than 50"),
        ({"seen": "x"}, "Somebody else changed"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_declared(mailbox: Any, signed_in: Any, fields: dict[str, str], words: str) -> None:
    box = mailbox()
    answer = signed_in("manager").post(address(box), {"seen": declared.mark([]), "sends": "OK", "receives": "", **fields})
    assert answer.status_code == 422 and words in said(answer)
    assert not DeclaredWorkflow.objects.exists()


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
def test_others_read_and_do_not_declare(role: str, mailbox: Any, message: Any, signed_in: Any) -> None:
    box = mailbox()
    message(mailbox=box, workflow_id="STRANGE")
    browser = signed_in(role)
    page = said(browser.get(address(box)))
    assert "STRANGE" in page and "Put what was seen" not in page
    assert browser.post(address(box), {"seen": declared.mark([]), "sends": "X", "receives": ""}).status_code == 404
    assert not DeclaredWorkflow.objects.exists()
