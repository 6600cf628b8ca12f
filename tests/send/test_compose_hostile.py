"""Sending from the browser against whoever means harm, and what is slow, breaks or happens in the same moment."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mailboxes import connections
from mailboxes.models import Mailbox
from meshportal.core import payloads
from meshportal.core.acts import Refused
from meshportal.web import uploads
from messages import compose, outbox
from messages.models import Composed, Message
from tests.double import Double, faults
from tests.send.conftest import ACTOR, BOX, WORKFLOW, Put
from tests.send.test_compose import at, begin, browser, fields, kept_files, send, upload

__all__ = ["browser"]
pytestmark = pytest.mark.django_db

FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\na letter\r\n'
SCRIPTED = {"Accept": "application/json"}


def raw(browser: Client, composed: Composed, body: bytes, kind: str = "multipart/form-data; boundary=b", **more: Any) -> Any:
    return browser.post(at("composed-file", composed), body, content_type=kind, headers=SCRIPTED, **more)


def part(disposition: bytes, body: bytes = b"a letter", more: bytes = b"") -> bytes:
    return b"--b\r\nContent-Disposition: " + disposition + b"\r\n" + more + b"\r\n" + body + b"\r\n"


@pytest.mark.fuzz
@pytest.mark.parametrize(
    "body",
    [
        FILE + part(b'form-data; name="more"', b"x" * 1_100_000) + b"--b--\r\n",
        FILE + b"".join(part(b'form-data; name="more"', b"") for _ in range(1100)) + b"--b--\r\n",
        FILE + b"".join(part(b'form-data; name="more"; filename="b"', b"") for _ in range(110)) + b"--b--\r\n",
        FILE + part(b'form-data; name="more"', b"", b"X-Long: " + b"x" * 100_000 + b"\r\n") + b"--b--\r\n",
        FILE + part(b"form-data; name*=a; name*0*=b", b"") + b"--b--\r\n",
        part(b'form-data; name="file"; filename*=a; filename*0*=b') + b"--b--\r\n",
        part(b'form-data; name="file"; filename="a"', b"a?b=", b"Content-Transfer-Encoding: base64\r\n") + b"--b--\r\n",
    ],
)
def test_a_form_that_cannot_be_read_gets_a_sentence_and_its_file_is_not_kept(
    double: Double, box: Mailbox, browser: Client, body: bytes
) -> None:
    composed = begin(browser, box)
    before = kept_files()
    answer = raw(browser, composed, body)
    assert (answer.status_code, bool(answer.json()["sentence"])) == (422, True)
    assert kept_files() == before


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (FILE, "multipart/form-data"),
        (FILE, "multipart/form-data; boundary=" + "b" * 300),
        (FILE, "multipart/mixed; boundary=b"),
        (FILE, "text/plain"),
        (b"file=a+letter", "application/x-www-form-urlencoded"),
        (b"x" * 1_100_000, "application/x-www-form-urlencoded"),
        (FILE, "application/x-www-form-urlencoded; charset=latin-1"),
        (part(b'form-data; name="file"') + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (part(b'form-data; name="file"; filename=""') + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (part(b'form-data; name="file"; filename="..\\\\.."') + b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b"\x00" * 3000, "multipart/form-data; boundary=b"),
    ],
)
def test_what_is_no_form_with_a_file_gets_a_sentence(
    double: Double, box: Mailbox, browser: Client, body: bytes, kind: str
) -> None:
    composed = begin(browser, box)
    answer = raw(browser, composed, body, kind)
    assert (answer.status_code, bool(answer.json()["sentence"])) == (422, True)


@pytest.mark.fuzz
@pytest.mark.parametrize("length", ["garbage", "-5", "1e3", "٣", "9" * 5000])
def test_a_length_that_is_none_gets_a_sentence(double: Double, box: Mailbox, browser: Client, length: str) -> None:
    composed = begin(browser, box)
    answer = raw(browser, composed, FILE + b"--b--\r\n", CONTENT_LENGTH=length)
    assert (answer.status_code, bool(answer.json()["sentence"])) == (422, True)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", [b"a\x00b.pdf", b"&#0;.pdf", b"x" * 290, b"\xff\xfe.pdf", b"O\xe2\x80\x99Neil.pdf", b" .pdf "])
def test_a_strange_name_is_kept_or_refused_with_a_sentence(double: Double, box: Mailbox, browser: Client, name: bytes) -> None:
    composed = begin(browser, box)
    before = kept_files()
    answer = raw(browser, composed, part(b'form-data; name="file"; filename="' + name + b'"') + b"--b--\r\n")
    assert answer.status_code in (200, 422)
    assert kept_files() - before == (1 if answer.status_code == 200 else 0)


def test_two_files_are_the_first(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    before = kept_files()
    other = part(b'form-data; name="file"; filename="b.pdf"', b"another letter")
    assert raw(browser, composed, FILE + other + b"--b--\r\n").status_code == 200
    composed.refresh_from_db()
    assert (composed.file_name, composed.size, kept_files() - before) == ("a.pdf", 8, 1)


class Line:
    """What the web server reads from: ``body``, then whatever happens at its end."""

    def __init__(self, body: bytes, at_the_end: Callable[[], Any]) -> None:
        self._left = body
        self._at_the_end = at_the_end

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._at_the_end()
        taken, self._left = self._left[: max(size, 0)], self._left[max(size, 0) :]
        return taken

    readline = read


def silent() -> None:
    raise TimeoutError("timed out")


class Socket:
    """Of gunicorn: it remembers how long it may be silent."""

    patience: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self.patience = seconds


def streamed(browser: Client, composed: Composed, body: bytes, at_the_end: Callable[[], Any], **more: Any) -> Any:
    given: dict[str, Any] = {"wsgi.input": Line(body, at_the_end), "CONTENT_LENGTH": "1000000", **more}
    return raw(browser, composed, b"x", **given)


def test_who_falls_silent_is_given_up_and_told_so(double: Double, box: Mailbox, browser: Client) -> None:
    """Also where the cross-site check is made, which takes such a form for one without its token."""
    composed = begin(browser, box)
    before, socket = kept_files(), Socket()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.cookies
    strict.get(at("composed", composed))
    begun = FILE[:-2] + b"x" * 100_000
    for one, body in ((browser, begun), (strict, begun), (browser, FILE + part(b'form-data; name="more"', b"x" * 100_000))):
        answer = streamed(one, composed, body, silent, **{"gunicorn.socket": socket})
        assert (answer.status_code, answer.json()["sentence"][:36]) == (422, "The upload ended before the file did")
    assert socket.patience == uploads.SILENCE
    assert kept_files() == before


def test_uploads_leave_threads_for_the_pages(
    double: Double, box: Mailbox, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = begin(browser, box)
    places = threading.BoundedSemaphore(1)
    monkeypatch.setattr(uploads, "_places", places)
    with places:
        assert "Too many files" in raw(browser, composed, FILE + b"--b--\r\n").json()["sentence"]
    streamed(browser, composed, FILE[:-2], silent)
    assert raw(browser, composed, FILE + b"--b--\r\n").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_no_connection_to_the_database_is_held_while_a_file_comes_in(double: Double, box: Mailbox, browser: Client) -> None:
    """Hours later a firewall would have forgotten it, and the file with it."""
    composed = begin(browser, box)
    held = []
    rest = FILE + b"--b--\r\n"
    line = Line(rest, lambda: held.append(connection.connection))
    given: dict[str, Any] = {"wsgi.input": line, "CONTENT_LENGTH": str(len(rest) + 1)}
    answer = raw(browser, composed, b"x", **given)
    assert answer.status_code == 200
    assert held[0] is None


@contextmanager
def answer_of_the_commit_lost() -> Iterator[None]:
    with transaction.atomic():
        yield
    raise OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("module", ["compose", "outbox"])
def test_a_file_that_a_committed_row_names_is_never_deleted(
    double: Double, box: Mailbox, put: Put, browser: Client, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """A commit whose answer is lost has happened all the same."""
    composed = begin(browser, box)
    monkeypatch.setattr(f"messages.{module}.transaction", SimpleNamespace(atomic=answer_of_the_commit_lost))
    with pytest.raises(OperationalError):
        if module == "compose":
            kept = payloads.write(compose.storage_key(composed), [b"a letter"])
            compose.attach(actor=ACTOR, composed=composed, kept=kept, file_name="a.pdf")
        else:
            put(b"another letter")
    monkeypatch.undo()
    key = Composed.objects.get().storage_key if module == "compose" else Message.objects.get().payload.storage_key
    assert payloads.exists(key)


def test_a_long_upload_is_not_swept_away_under_the_person(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    Composed.objects.update(updated_at=timezone.now() - timedelta(hours=23))

    def five_hours_pass() -> None:
        Composed.objects.update(updated_at=F("updated_at") - timedelta(hours=5))
        assert compose.sweep() == 0

    rest = FILE + b"--b--\r\n"
    answer = streamed(browser, composed, rest, five_hours_pass, CONTENT_LENGTH=str(len(rest) + 1))
    assert answer.json() == {"next": at("composed", composed)}


def test_what_somebody_took_up_again_meanwhile_is_not_swept(
    double: Double, box: Mailbox, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = begin(browser, box)
    upload(browser, composed)
    Composed.objects.update(updated_at=timezone.now() - timedelta(hours=25))
    discard = compose.discard

    def meanwhile(*args: Any, **given: Any) -> Any:
        upload(browser, composed, b"another letter")
        return discard(*args, **given)

    monkeypatch.setattr(compose, "discard", meanwhile)
    compose.sweep()
    assert payloads.exists(Composed.objects.get().storage_key)


def test_a_subject_that_cannot_be_opened_is_said_and_the_rest_works(
    double: Double, box: Mailbox, browser: Client, settings: Any
) -> None:
    composed = begin(browser, box)
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    assert upload(browser, composed).status_code == 302
    assert "cannot be opened" in browser.get(at("composed", composed)).content.decode()
    answer = browser.post(at("composed-send", composed), {"version": version(composed), "meant": "on"})
    assert (answer.status_code, "cannot be opened" in answer.content.decode()) == (422, True)
    assert not Message.objects.exists()
    assert browser.get(at("composed-details", composed)).status_code == 200
    browser.post(at("composed-details", composed), fields(box, subject="written again"))
    assert "written again" in browser.get(at("composed", composed)).content.decode()
    Composed.objects.update(subject="sealed with this key")
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    assert browser.post(at("composed-discard", composed)).status_code == 302
    assert not Composed.objects.exists()


def version(composed: Composed) -> str:
    return Composed.objects.values_list("updated_at", flat=True).get(pk=composed.pk).isoformat()


def test_a_second_press_of_the_button_leads_to_the_message(double: Double, box: Mailbox, browser: Client) -> None:
    composed = begin(browser, box)
    upload(browser, composed)
    first = send(browser, composed, meant="on")
    message = Message.objects.get()
    for again in (True, False):
        answer = browser.post(at("composed-send", composed)) if again else browser.get(at("composed", composed))
        assert answer["Location"] == first["Location"]
        assert "It was not sent a second time" in browser.get(answer["Location"]).content.decode()
    assert Message.objects.get() == message


def test_only_the_team_is_led_to_what_was_sent(
    double: Double, box: Mailbox, browser: Client, mailbox: Any, message: Any, other_team: Any
) -> None:
    theirs = message(mailbox=mailbox(team=other_team, mailbox_id="RH8HC001"), direction="out", state="accepted")
    for key in (theirs.pk, uuid.uuid4()):
        there = {"team": box.team.slug, "pk": key}
        assert browser.get(reverse("messages:composed", kwargs=there)).status_code == 404
        assert browser.post(reverse("messages:composed-send", kwargs=there)).status_code == 404


def test_the_command_says_that_an_empty_recipient_is_none(double: Double, box: Mailbox, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_bytes(b"a letter")
    with pytest.raises(CommandError, match="recipient's mailbox ID"):
        call_command("send", BOX, str(letter), "--to", "", "--workflow", WORKFLOW)


def test_a_name_that_no_column_holds_stops_nothing(double: Double, box: Mailbox, browser: Client) -> None:
    double.add_mailbox("RH8HC001", ods_code="RH8", name="Ward\x00 1 \ud800\u202eB" + "x" * 400, workflows={WORKFLOW})
    for given in ({"recipient": "", "ods_code": "RH8"}, {"recipient": "RH8HC001"}):
        Composed.objects.all().delete()
        name = begin(browser, box, **given).recipient_name
        assert (name.startswith("Ward"), name.isprintable(), len(name) <= 300) == (True, True, True)


def test_an_answer_that_drips_does_not_hold_the_person(
    double: Double, box: Mailbox, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.6)
    connections.forget_all()
    double.faults.add(match={"route": "search"}, action=faults.drip(block=1, interval=0.2), times=None)
    began = time.monotonic()
    assert begin(browser, box).known == Composed.Known.NOT_ASKED
    assert time.monotonic() - began < 5
    connections.forget_all()


@pytest.mark.django_db(transaction=True)
def test_the_same_document_composed_twice_goes_once(
    double: Double, box: Mailbox, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people in the same moment: neither is asked for a reason before the other's is queued."""
    for _ in range(2):
        answer = browser.post(reverse("messages:compose", kwargs={"team": box.team.slug}), fields(box))
        upload(browser, Composed.objects.get(pk=answer["Location"].rstrip("/").rpartition("/")[2]))
    both, refusals, twin = threading.Barrier(2), [], outbox.twin

    def looked(*args: Any) -> Message | None:
        found = twin(*args)
        with suppress(threading.BrokenBarrierError):
            both.wait(1)
        return found

    def press(one: Composed) -> None:
        try:
            compose.send(actor=ACTOR, composed=one, meant=True)
        except Refused as refusal:
            refusals.append(str(refusal))
        finally:
            connection.close()

    monkeypatch.setattr(outbox, "twin", looked)
    threads = [threading.Thread(target=press, args=[one]) for one in Composed.objects.select_related("mailbox__team")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Message.objects.count(), len(refusals)) == (1, 1)
    assert "The same document went to" in refusals[0]
