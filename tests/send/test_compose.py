"""Sending from the browser: what it says, its file, the checks, the last word. Nothing is half-kept, and it goes once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.conf import settings as portal
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core import payloads
from meshportal.core.acts import Refused
from messages import compose, outbox, recipients
from messages.models import Composed, Message, ResendPolicy, Workflow
from messages.states import State
from tests.double import Double, faults
from tests.receive.conftest import BOX
from tests.send.conftest import ACTOR, TO, WORKFLOW, Rounds, arrived

pytestmark = pytest.mark.django_db

Page = Callable[[str, Composed], str]


@pytest.fixture
def browser(box: Mailbox, signed_in: Any) -> Client:
    operator: Client = signed_in("operator")
    return operator


def at(name: str, composed: Composed) -> str:
    return reverse(f"messages:{name}", kwargs={"team": composed.team.slug, "pk": composed.pk})


def fields(box: Mailbox, **changed: str) -> dict[str, str]:
    return {"mailbox": str(box.pk), "workflow_id": WORKFLOW, "recipient": TO, "subject": "about a letter", **changed}


def begin(browser: Client, box: Mailbox, **changed: str) -> Composed:
    answer = browser.post(reverse("messages:compose", kwargs={"team": box.team.slug}), fields(box, **changed))
    assert answer.status_code == 302, answer.content.decode()
    return Composed.objects.get()


def refused(browser: Client, box: Mailbox, **changed: str) -> str:
    answer = browser.post(reverse("messages:compose", kwargs={"team": box.team.slug}), fields(box, **changed))
    assert answer.status_code == 422
    assert not Composed.objects.exists()
    return answer.content.decode()


def upload(browser: Client, composed: Composed, body: bytes = b"a letter", name: str = "letter.pdf", **more: Any) -> Any:
    return browser.post(at("composed-file", composed), {"file": SimpleUploadedFile(name, body)}, **more)


def send(browser: Client, composed: Composed, **given: str) -> Any:
    composed.refresh_from_db()
    return browser.post(at("composed-send", composed), {"version": composed.updated_at.isoformat(), **given})


def kept_files() -> int:
    return len([path for path in portal.PAYLOAD_DIR.rglob("*") if path.is_file()])


def test_from_the_first_field_to_mesh(double: Double, box: Mailbox, browser: Client, rounds: Rounds) -> None:
    double.add_mailbox("RH8HC001", ods_code="RH8", name="Devon", workflows={WORKFLOW})
    composed = begin(browser, box, recipient="", ods_code="rh8")
    assert (composed.recipient, composed.recipient_name, composed.known) == ("RH8HC001", "Devon", "lookup")
    answer = upload(browser, composed, b"a letter" * 50_000)
    assert answer["Location"] == at("composed", composed)
    page = browser.get(at("composed", composed)).content.decode()
    assert "Recipient found" in page
    assert "Not sent before" in page
    answer = send(browser, composed)
    message = Message.objects.get()
    assert answer["Location"] == reverse("messages:detail", kwargs={"team": box.team.slug, "pk": message.pk})
    assert not Composed.objects.exists()
    assert (message.file_name, message.subject, message.state) == ("letter.pdf", "about a letter", State.QUEUED)
    acts = list(AuditEvent.objects.filter(target_id=str(message.pk)).order_by("pk").values_list("action", flat=True))
    assert acts == ["message.composed", "message.file_added", "message.queued"]
    rounds()
    assert arrived(double) == [b"a letter" * 50_000]


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"recipient": ""}, "Enter the recipient’s ODS code"),
        ({"recipient": "x y"}, "mailbox ID: capital letters and digits"),
        ({"workflow_id": ""}, "Enter the workflow ID"),
        ({"subject": "a\r\nMex-To: X"}, "subject"),
        ({"subject": "x" * 501}, "500"),
        ({"local_id": "patient 999 000 0018"}, "holds an NHS number"),
        ({"file_name": "9990000018.pdf"}, "holds an NHS number"),
        ({"mailbox": "00000000-0000-0000-0000-000000000000"}, "Select one of the mailboxes"),
        ({"mailbox": ""}, "Select the mailbox that sends"),
        ({"recipient": "", "ods_code": "R/8"}, "An ODS code is letters and digits"),
        ({"recipient": "", "ods_code": "NONE"}, "MESH names no mailbox of NONE"),
    ],
)
def test_a_wrong_field_gets_a_sentence_and_nothing_is_kept(
    double: Double, box: Mailbox, browser: Client, changed: dict[str, str], sentence: str
) -> None:
    assert sentence in refused(browser, box, **changed)


def test_of_several_mailboxes_a_person_chooses(double: Double, box: Mailbox, browser: Client) -> None:
    for number in (1, 2):
        double.add_mailbox(f"RH8HC00{number}", ods_code="RH8", name=f"Ward {number}", workflows={WORKFLOW})
    page = refused(browser, box, recipient="", ods_code="RH8")
    assert "MESH names 2 mailboxes of RH8: RH8HC001 (Ward 1) and RH8HC002 (Ward 2)." in page
    assert 'type="radio"' in page
    assert "MESH does not name X26HC009" in refused(browser, box, recipient="X26HC009", ods_code="RH8")
    composed = begin(browser, box, recipient="RH8HC002", ods_code="RH8")
    assert (composed.recipient, composed.recipient_name, composed.known) == ("RH8HC002", "Ward 2", "lookup")


def test_when_mesh_cannot_be_asked_a_mailbox_id_still_serves(double: Double, box: Mailbox, browser: Client) -> None:
    for route in ("lookup", "search"):
        double.faults.add(match={"route": route}, action=faults.status(503), times=None)
    assert "or enter the recipient’s mailbox ID instead" in refused(browser, box, recipient="", ods_code="RH8")
    composed = begin(browser, box)
    assert composed.known == Composed.Known.NOT_ASKED
    upload(browser, composed)
    assert "Recipient not checked" in browser.get(at("composed", composed)).content.decode()
    assert send(browser, composed).status_code == 302


def test_a_recipient_that_mesh_does_not_name_must_be_meant(double: Double, box: Mailbox, browser: Client) -> None:
    double.add_mailbox("RH8HC001", ods_code="RH8", workflows={WORKFLOW})
    composed = begin(browser, box, recipient="RH8HC009")
    assert composed.known == Composed.Known.NOT_FOUND
    upload(browser, composed)
    answer = send(browser, composed)
    assert answer.status_code == 422
    assert "Tick the box to confirm that you have checked the mailbox ID" in answer.content.decode()
    assert not Message.objects.exists()
    with pytest.raises(Refused):
        compose.send(actor=ACTOR, composed=Composed.objects.get())
    assert send(browser, composed, meant="on").status_code == 302


def test_a_known_recipient_is_known_by_traffic(double: Double, box: Mailbox, put: Any, rounds: Rounds) -> None:
    put()
    rounds()
    assert recipients.known(box, TO, WORKFLOW) == (Composed.Known.TRAFFIC, "")
    assert [record for record in double.recorder.records() if record.route == "search"] == []


@pytest.mark.parametrize(("body", "sentence"), [(b"", "The file is empty"), (b"x" * 2_000_001, "larger than the 1 MB")])
@pytest.mark.parametrize("scripted", [True, False])
def test_a_wrong_file_gets_a_sentence_and_is_not_kept(
    double: Double, box: Mailbox, browser: Client, settings: Any, body: bytes, sentence: str, scripted: bool
) -> None:
    settings.MESH_MAX_MESSAGE_BYTES = 1024 * 1024
    composed = begin(browser, box)
    before = kept_files()
    answer = upload(browser, composed, body, headers={"Accept": "application/json"} if scripted else {})
    if scripted:
        assert answer.status_code == 422
        assert sentence in answer.json()["sentence"]
    else:
        assert answer["Location"] == at("composed", composed)
        assert sentence in browser.get(at("composed", composed)).content.decode()
    assert kept_files() == before
    composed.refresh_from_db()
    assert composed.kept is None


def test_no_file_is_said(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    answer = browser.post(at("composed-file", composed), {"other": BytesIO(b"x")}, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["sentence"]) == (422, "Choose the file that is to be sent.")
    assert browser.post(at("composed-send", composed), {"version": composed.updated_at.isoformat()}).status_code == 422


def test_a_file_name_with_an_nhs_number_is_refused_with_its_file(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    before = kept_files()
    answer = upload(browser, composed, name="9990000018.pdf", headers={"Accept": "application/json"})
    assert "holds an NHS number" in answer.json()["sentence"]
    assert kept_files() == before
    named = begin(browser, box, file_name="letter.pdf") if not Composed.objects.exists() else composed
    browser.post(at("composed-details", named), fields(box, file_name="letter.pdf"))
    assert upload(browser, named, name="9990000018.pdf").status_code == 302
    named.refresh_from_db()
    assert (named.file_name, named.size) == ("letter.pdf", 8)


def test_an_upload_that_is_cut_keeps_nothing(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    before = kept_files()
    whole = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n' + b"x" * 500_000
    answer = browser.post(
        at("composed-file", composed),
        whole,
        content_type="multipart/form-data; boundary=b",
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == 422
    assert "The upload ended before the file did" in answer.json()["sentence"]
    assert kept_files() == before


def test_storage_that_fails_keeps_nothing(double: Double, box: Mailbox, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = begin(browser, box)

    def full(*_args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyrage.encrypt_io", full)
    answer = upload(browser, composed, b"x" * 5_000_000, headers={"Accept": "application/json"})
    assert (answer.status_code, "its storage failed" in answer.json()["sentence"]) == (422, True)
    composed.refresh_from_db()
    assert composed.kept is None


def test_the_cross_site_check_holds_for_the_file_too(double: Double, box: Mailbox, signed_in: Any) -> None:
    browser = signed_in("operator")
    composed = begin(browser, box)
    before = kept_files()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.cookies
    assert upload(strict, composed).status_code == 403
    assert kept_files() == before
    strict.get(at("composed", composed))
    token = strict.cookies["csrftoken"].value
    answer = strict.post(
        at("composed-file", composed), {"csrfmiddlewaretoken": token, "file": SimpleUploadedFile("letter.pdf", b"a letter")}
    )
    assert answer.status_code == 302
    composed.refresh_from_db()
    assert composed.size == 8


def test_another_file_replaces_the_first(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    upload(browser, composed, b"the wrong letter")
    files = kept_files()
    upload(browser, composed, b"the right letter!")
    composed.refresh_from_db()
    assert composed.kept is not None
    assert payloads.read_all(composed.storage_key, limit=100)[0] == b"the right letter!"
    assert kept_files() == files


def test_a_twin_is_warned_of_and_needs_a_reason(double: Double, box: Mailbox, browser: Client, put: Any) -> None:
    earlier = put(b"a letter")
    Workflow.objects.filter(workflow_id=WORKFLOW).update(resend_policy=ResendPolicy.ON_REQUEST)
    composed = begin(browser, box)
    upload(browser, composed)
    page = browser.get(at("composed", composed)).content.decode()
    assert "Sent before" in page
    assert earlier.local_id in page
    answer = send(browser, composed, meant="on")
    assert answer.status_code == 422
    assert "Say why the same document is sent again" in answer.content.decode()
    assert "Say who asked for it to be sent again" in answer.content.decode()
    assert Message.objects.count() == 1
    answer = send(browser, composed, meant="on", reason="they lost it", asked_by="their reception")
    assert answer.status_code == 302
    new = Message.objects.exclude(pk=earlier.pk).get()
    assert (new.outgoing.resend_of, new.outgoing.reason, new.outgoing.asked_by) == (earlier, "they lost it", "their reception")


def test_the_rule_never_holds_on_the_page(double: Double, box: Mailbox, browser: Client, put: Any) -> None:
    put(b"a letter")
    Workflow.objects.filter(workflow_id=WORKFLOW).update(resend_policy=ResendPolicy.NEVER)
    composed = begin(browser, box)
    upload(browser, composed)
    page = browser.get(at("composed", composed)).content.decode()
    assert "It cannot be sent." in page
    assert "Send it again" not in page
    assert send(browser, composed, meant="on", reason="all the same", asked_by="me").status_code == 422
    assert Message.objects.count() == 1


def test_what_changed_in_another_window_is_looked_at_again(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    upload(browser, composed)
    seen = Composed.objects.get()
    browser.post(at("composed-details", composed), fields(box, recipient="RH8HC009"))
    answer = browser.post(at("composed-send", composed), {"version": seen.updated_at.isoformat(), "meant": "on"})
    assert answer["Location"] == at("composed", composed)
    assert not Message.objects.exists()
    with pytest.raises(Refused, match="in another window"):
        compose.send(actor=ACTOR, composed=seen, meant=True)
    assert not Message.objects.exists()
    assert payloads.exists(seen.storage_key)
    composed.refresh_from_db()
    assert (composed.recipient, composed.size) == ("RH8HC009", 8)


@pytest.mark.django_db(transaction=True)
def test_two_windows_send_it_once(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    upload(browser, composed)
    seen = [Composed.objects.select_related("mailbox__team").get() for _ in range(2)]
    start, refusals = threading.Barrier(2), []

    def press(one: Composed) -> None:
        try:
            start.wait(10)
            compose.send(actor=ACTOR, composed=one, meant=True)
        except Refused as refusal:
            refusals.append(str(refusal))
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=[one]) for one in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Message.objects.count() == 1
    assert len(refusals) == 1
    assert payloads.read_all(Message.objects.get().payload.storage_key, limit=100)[0] == b"a letter"


def test_discarded_with_its_file(double: Double, box: Mailbox, browser: Client) -> None:
    before = kept_files()
    composed = begin(browser, box)
    upload(browser, composed)
    answer = browser.post(at("composed-discard", composed))
    assert answer.status_code == 302
    assert not Composed.objects.exists()
    assert kept_files() == before
    assert browser.get(at("composed", composed)).status_code == 404
    assert AuditEvent.objects.filter(action="message.unsent_discarded", target_id=str(composed.pk)).count() == 1


def test_what_nobody_sends_is_swept_after_a_day(double: Double, box: Mailbox, browser: Client) -> None:
    before = kept_files()
    composed = begin(browser, box)
    upload(browser, composed)
    assert compose.sweep() == 0
    Composed.objects.update(updated_at=timezone.now() - timedelta(hours=25))
    assert compose.sweep() == 1
    assert kept_files() == before


def test_a_colleague_finishes_it_without_seeing_the_subject(
    double: Double, box: Mailbox, browser: Client, signed_in: Any
) -> None:
    composed = begin(browser, box)
    upload(browser, composed)
    colleague = signed_in("manager")
    for name in ("composed", "composed-details"):
        page = colleague.get(at(name, composed)).content.decode()
        assert "about a letter" not in page
    colleague.post(at("composed-details", composed), {**fields(box, file_name="other.pdf"), "subject": "taken over"})
    composed.refresh_from_db()
    assert (composed.subject, composed.file_name) == ("about a letter", "other.pdf")
    assert send(colleague, composed, meant="on").status_code == 302
    assert Message.objects.get().subject == "about a letter"


def test_a_paused_mailbox_cannot_be_chosen(double: Double, box: Mailbox, browser: Client) -> None:
    Mailbox.objects.update(mode=Mode.PAUSED)
    page = browser.get(reverse("messages:compose", kwargs={"team": box.team.slug})).content.decode()
    assert "No mailbox of your team can send" in page
    assert "Select one of the mailboxes" in refused(browser, box) or "Select a mailbox" in refused(browser, box)


def test_the_command_asks_for_the_mailbox_of_an_ods_code(double: Double, box: Mailbox, tmp_path: Any, capsys: Any) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_bytes(b"a letter")
    with pytest.raises(CommandError, match="MESH names no mailbox of RH8"):
        call_command("send", BOX, str(letter), "--ods", "rh8", "--workflow", WORKFLOW)
    double.add_mailbox("RH8HC001", ods_code="RH8", workflows={WORKFLOW})
    call_command("send", BOX, str(letter), "--ods", "rh8", "--workflow", WORKFLOW)
    assert Message.objects.get().recipient_mailbox == "RH8HC001"
    double.add_mailbox("RH8HC002", ods_code="RH8", workflows={WORKFLOW})
    with pytest.raises(CommandError, match="Choose the right one"):
        call_command("send", BOX, str(letter), "--ods", "rh8", "--workflow", WORKFLOW, "--again", "a test", "--asked-by", "x")


def test_the_service_raises_by_field(double: Double, box: Mailbox) -> None:
    draft: dict[str, Any] = {
        "recipient": TO,
        "workflow_id": WORKFLOW,
        "subject": "",
        "local_id": "",
        "content_type": "",
        "compress": False,
    }
    with pytest.raises(ValidationError) as caught:
        compose.save(actor=Actor.system("test"), mailbox=box, file_name="9990000018", **draft)
    assert set(caught.value.error_dict) == {"file_name"}
    assert outbox.Draft(**draft, file_name="").recipient == TO
