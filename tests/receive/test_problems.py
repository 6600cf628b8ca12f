"""What goes wrong between a mailbox and MESH ends in a sentence on its page, and touches no other mailbox (promise P12)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from certificates import services as certificates
from certificates.models import ClientIdentity, TrustBundle
from certificates.reading import Source
from mailboxes import connections
from mailboxes.models import Mailbox, Mode
from meshportal.demo.pki import Pki, create_authority
from messages.models import Message
from messages.states import State
from tests.conftest import Make
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, BOX, Poll

pytestmark = [pytest.mark.django_db, pytest.mark.faults]


def settle(box: Mailbox, poll: Poll, code: str) -> Mailbox:
    """Polls, and checks that the mailbox now says ``code`` with a sentence and advice that a person can use."""
    tally = poll(box)
    assert tally.problem is not None
    assert box.problem_code == code, (box.problem_code, box.problem)
    for text in (box.problem, box.problem_advice):
        assert text.endswith((".", "”."))
        assert len(text) > 20
        assert "Error" not in text
        assert "Traceback" not in text
    assert "password" not in box.problem.lower() or code == "sign_in_refused"
    assert box.problem_since is not None
    assert box.lease_token is None
    assert box.next_poll_at > timezone.now()
    return box


def test_a_wrong_password(box: Mailbox, double: Double, poll: Poll) -> None:
    double.update_mailbox(BOX, password="another")
    settle(box, poll, "sign_in_refused")
    # One retry with a new token, no hammering.
    assert len(double.recorder.records()) <= 2


def test_a_wrong_shared_key(box: Mailbox, double: Double, poll: Poll, settings: Any) -> None:
    settings.MESH_SHARED_KEYS = {**settings.MESH_SHARED_KEYS, "sandbox": "NotTheKey"}
    settle(box, poll, "sign_in_refused")


def test_no_shared_key(box: Mailbox, double: Double, poll: Poll, settings: Any) -> None:
    settings.MESH_SHARED_KEYS = {**settings.MESH_SHARED_KEYS, "sandbox": ""}
    settle(box, poll, "no_shared_key")
    assert "MESHPORTAL_SANDBOX_SHARED_KEY" in box.problem_advice


def test_an_unknown_mailbox(box: Mailbox, double: Double, poll: Poll) -> None:
    Mailbox.objects.update(mailbox_id="X26HC404")
    box.refresh_from_db()
    settle(box, poll, "mailbox_unknown")


def test_an_unknown_mailbox_that_is_told_with_status_200(box: Mailbox, double: Double, poll: Poll) -> None:
    double.configure(unknown_mailbox_status=200)
    Mailbox.objects.update(mailbox_id="X26HC404")
    box.refresh_from_db()
    settle(box, poll, "mailbox_unknown")


def test_an_inactive_mailbox(box: Mailbox, double: Double, poll: Poll) -> None:
    double.update_mailbox(BOX, active=False)
    settle(box, poll, "mailbox_inactive")


@pytest.mark.parametrize(("hours", "way"), [(3, "behind"), (-3, "ahead of")])
def test_a_clock_that_is_hours_off(box: Mailbox, double: Double, poll: Poll, hours: int, way: str) -> None:
    double.advance(hours=hours) if hours > 0 else double.set_clock(timezone.now() + timedelta(hours=hours))
    settle(box, poll, "clock_wrong")
    assert way in box.problem
    assert "3.0 hours" in box.problem


def test_a_clock_that_is_minutes_off_is_only_noted(box: Mailbox, double: Double, poll: Poll) -> None:
    double.advance(seconds=20 * 60)
    poll(box)
    assert box.problem_code == ""
    assert box.clock_skew_seconds is not None
    assert abs(box.clock_skew_seconds + 20 * 60) <= 2


@pytest.fixture
def give(box: Mailbox, team: Any, pki: Pki) -> Any:
    """Gives the mailbox another client certificate."""

    def make(client: Any) -> None:
        identity, _ = certificates.import_identity(
            actor=ACTOR,
            team=team,
            environment="sandbox",
            name="another",
            sources=[Source("the file", client.certificate_pem), Source("the key", client.key_pem)],
        )
        Mailbox.objects.update(identity=identity)
        box.refresh_from_db()

    return make


def test_a_certificate_of_another_authority(box: Mailbox, poll: Poll, give: Any) -> None:
    give(create_authority("Somebody else").client(BOX, "X26"))
    tally = poll(box)
    assert tally.problem is not None
    assert box.problem_code in {"certificate_refused", "connection_dropped"}
    assert "certificate" in box.problem
    assert "expired or been revoked" in box.problem_advice


@pytest.mark.parametrize(
    ("validity", "code"), [("expired", "certificate_expired"), ("not_yet_valid", "certificate_not_yet_valid")]
)
def test_a_certificate_outside_its_time(
    box: Mailbox, double: Double, poll: Poll, give: Any, pki: Pki, validity: Any, code: str
) -> None:
    # One that has expired is refused when it is brought in: it expires here while it is in use.
    late = pki.authority.client(BOX, "X26", validity=validity).certificate
    give(pki.authority.client(BOX, "X26"))
    moved = {"not_before": late.not_valid_before_utc, "not_after": late.not_valid_after_utc}
    ClientIdentity.objects.update(**moved, effective_expiry=late.not_valid_after_utc)
    box.refresh_from_db()
    settle(box, poll, code)
    assert double.connections == 0


def test_a_certificate_with_the_key_of_another(box: Mailbox, double: Double, poll: Poll, pki: Pki) -> None:
    other = pki.authority.client("X26HC999", "X26")
    ClientIdentity.objects.update(private_key=other.key_pem.decode(), fingerprint="1" * 64)
    box.refresh_from_db()
    settle(box, poll, "certificate_unusable")


def test_no_certificate(box: Mailbox, double: Double, poll: Poll) -> None:
    Mailbox.objects.update(identity=None)
    box.refresh_from_db()
    settle(box, poll, "no_certificate")


def test_a_certificate_and_a_key_that_do_not_belong_together_are_refused_when_added(team: Any, pki: Pki) -> None:
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError, match="does not belong"):
        certificates.import_identity(
            actor=ACTOR,
            team=team,
            environment="sandbox",
            name="mixed",
            sources=[
                Source("the file", pki.clients[BOX].certificate_pem),
                Source("the key", pki.authority.client("X26HC999", "X26").key_pem),
            ],
        )


def test_no_trust_bundle(box: Mailbox, double: Double, poll: Poll) -> None:
    TrustBundle.objects.all().delete()
    settle(box, poll, "no_trust_bundle")


def test_a_server_that_the_trust_bundle_does_not_vouch_for(box: Mailbox, double: Double, poll: Poll) -> None:
    other = create_authority("Another")
    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="other", pem=other.certificate_pem)
    settle(box, poll, "server_not_trusted")
    assert double.recorder.records() == []


@pytest.fixture
def another_server(pki: Pki, settings: Any, box: Mailbox) -> Iterator[Any]:
    """Points the environment at a double that shows ``server`` as its certificate."""
    started: list[Double] = []

    def start(server: Any) -> Double:
        made = Double(Pki(pki.authority, server, pki.clients))
        made.start()
        made.add_mailbox(BOX)
        started.append(made)
        settings.MESH_URLS = {**settings.MESH_URLS, "sandbox": made.base_url}
        return made

    yield start
    connections.forget_all()
    for made in started:
        made.stop()


def test_a_server_with_a_certificate_for_another_name(box: Mailbox, poll: Poll, another_server: Any, pki: Pki) -> None:
    another_server(pki.authority.server(host_names=["mesh.example"], addresses=[]))
    settle(box, poll, "host_name_mismatch")


def test_a_server_whose_certificate_expired(box: Mailbox, poll: Poll, another_server: Any, pki: Pki) -> None:
    another_server(pki.authority.server(validity="expired"))
    settle(box, poll, "server_not_trusted")


def test_a_server_with_a_common_name_only(box: Mailbox, poll: Poll, another_server: Any, pki: Pki, settings: Any) -> None:
    another_server(pki.authority.server(host_names=["localhost"], common_name_only=True))
    settle(box, poll, "host_name_mismatch")
    settings.MESH_CHECK_COMMON_NAME = True
    connections.forget_all()
    assert poll(box).problem is None


def test_an_unknown_host(box: Mailbox, poll: Poll, settings: Any) -> None:
    settings.MESH_URLS = {**settings.MESH_URLS, "sandbox": "https://mesh.invalid"}
    settle(box, poll, "host_unknown")
    assert "mesh.invalid" in box.problem


def test_nothing_listens(box: Mailbox, double: Double, poll: Poll) -> None:
    double.down()
    settle(box, poll, "connection_refused")
    double.up()
    poll(box)
    assert (box.problem_code, box.consecutive_failures) == ("", 0)


def test_a_server_that_does_not_answer(box: Mailbox, double: Double, poll: Poll, settings: Any) -> None:
    settings.MESH_READ_TIMEOUT = 1
    double.faults.add(match={"route": "list"}, action=faults.hang(20), times=None)
    settle(box, poll, "timeout")
    assert box.slow


def test_a_black_hole(box: Mailbox, poll: Poll, settings: Any) -> None:
    settings.MESH_CONNECT_TIMEOUT = 1
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # It listens and never shakes hands.
        listener.listen(8)
        settings.MESH_URLS = {**settings.MESH_URLS, "sandbox": f"https://localhost:{listener.getsockname()[1]}"}
        settle(box, poll, "connect_timeout")
        connections.forget_all()


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (faults.status(200, body="html"), "unexpected_answer"),
        (faults.status(200, body="text"), "unexpected_answer"),
        (faults.status(407, body="html"), "unexpected_answer"),
        (faults.redirect("https://mesh.invalid/login"), "unexpected_answer"),
        (faults.status(500, body="soap"), "server_error"),
        (faults.status(503), "unavailable"),
        (faults.status(429), "throttled"),
        (faults.status(400), "bad_request"),
        (faults.drop("before_body"), "connection_lost"),
    ],
    ids=["web page", "text", "proxy asks", "redirect", "XML 500", "503", "429", "400", "dropped"],
)
def test_a_listing_that_fails(box: Mailbox, double: Double, poll: Poll, action: faults.Action, code: str) -> None:
    Mailbox.objects.update(last_handshake_at=timezone.now())
    box.refresh_from_db()
    double.faults.add(match={"route": "list"}, action=action, times=None)
    poll(box)
    expected = {code, "connection_dropped"} if code == "connection_lost" else {code}
    assert box.problem_code in expected, box.problem
    assert Message.objects.count() == 0
    double.faults.clear()
    poll(box)
    assert box.problem_code == ""


def test_a_problem_waits_longer_each_time_up_to_an_hour_and_keeps_its_beginning(box: Mailbox, double: Double, poll: Poll) -> None:
    double.down()
    waits, since = [], set()
    for _ in range(6):
        poll(box)
        waits.append(round((box.next_poll_at - timezone.now()).total_seconds() / 60))
        since.add(box.problem_since)
    assert waits == [5, 10, 20, 40, 60, 60]
    assert len(since) == 1
    assert box.consecutive_failures == 6


def test_one_mailboxs_trouble_is_not_anothers(
    box: Mailbox, double: Double, poll: Poll, mailbox: Make, real_identity: ClientIdentity
) -> None:
    other = mailbox(mailbox_id="X26HC002", identity=real_identity)
    double.add_mailbox("X26HC002")
    double.update_mailbox(BOX, password="another")
    double.put("X26HC002", b"letter")
    poll(box)
    assert poll(other).acknowledged == 1
    assert box.problem_code == "sign_in_refused"
    assert other.problem_code == ""


HOSTILE = {
    "path": "../../etc/passwd",
    "markup": "<script>alert(1)</script>",
    "formula": "=cmd|' /C calc'!A0",
    "long": "x" * 300,
    "controls": "a\tb\x01c\x7fd",
    "order": "\u202egpj.exe".encode(),
    "bytes": b"\xff\xfe\x80",
    "blank": " ",
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_hostile_headers_are_kept_harmless_and_delay_nobody(box: Mailbox, double: Double, poll: Poll, kind: str) -> None:
    value: Any = HOSTILE[kind]
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    bad = double.put(
        BOX,
        b"body",
        file_name=value,
        subject=value,
        local_id=value,
        headers={"mex-workflowid": value if isinstance(value, bytes) else value.encode("latin-1", "replace")},
    )
    good = double.put(BOX, b"good")
    poll(box)
    states = dict(Message.objects.values_list("mesh_id", "state"))
    assert states == {bad.message_id: State.ACKNOWLEDGED, good.message_id: State.ACKNOWLEDGED}, text
    message = Message.objects.get(mesh_id=bad.message_id)
    for column in (message.file_name, message.local_id, message.workflow_id):
        assert all(character.isprintable() or character == "\u202e" for character in column)
    # The storage key is made of the portal's own ids alone.
    assert message.payload.storage_key == f"sandbox/{box.pk}/{message.pk.hex[:2]}/{message.pk.hex}.age"


# --- The command line ---------------------------------------------------------------------------------------------------
def test_the_poll_command_prints_what_it_did(box: Mailbox, double: Double, capsys: pytest.CaptureFixture[str]) -> None:
    put = double.put(BOX, b"letter", workflow_id="TOC_FHIR_IP_DISCH")
    call_command("poll", BOX.lower())
    said = capsys.readouterr().out
    for words in ("Handshake", "Inbox: 1 waiting", f"Stored {put.message_id}: 6 bytes", "Acknowledged", "Done: 1 stored"):
        assert words in said


def test_the_poll_command_fails_with_a_sentence(box: Mailbox, double: Double, capsys: pytest.CaptureFixture[str]) -> None:
    double.update_mailbox(BOX, password="another")
    with pytest.raises(CommandError):
        call_command("poll", BOX)
    assert "MESH refused the sign-in" in capsys.readouterr().out
    with pytest.raises(CommandError, match="There is no mailbox"):
        call_command("poll", "NOBODY")
    Mailbox.objects.update(mode=Mode.PAUSED)
    with pytest.raises(CommandError, match="paused"):
        call_command("poll", BOX)
