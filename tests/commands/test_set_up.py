"""From nothing to a polled mailbox by the README's commands; every mistake is a sentence and leaves nothing half-made."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from certificates.models import ClientIdentity, TrustBundle
from mailboxes.models import Mailbox, Mode
from meshportal.accounts.models import Membership, Team, User
from meshportal.audit import services as audit
from meshportal.audit.models import AuditEvent
from meshportal.core import crypto
from meshportal.demo.pki import Pki, create_authority, create_pki, write_pki

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> str:
    said = io.StringIO()
    call_command(name, *arguments, stdout=said, stderr=said)
    return said.getvalue()


@pytest.fixture(scope="module")
def pki() -> Pki:
    return create_pki([("X26HC001", "X26")])


@pytest.fixture
def files(pki: Pki, tmp_path: Path) -> Any:
    return write_pki(pki, tmp_path)


@pytest.fixture(autouse=True)
def _passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHPORTAL_NEW_PASSWORD", "a long and good pass phrase")
    monkeypatch.setenv("MESHPORTAL_MAILBOX_PASSWORD", "PLANTED-mailbox-secret")


IDENTITY = ("--team", "midshire", "--environment", "int", "--name", "INT 2026")
MAILBOX = ("X26HC001", "--team", "midshire", "--environment", "int", "--ods-code", "X26", "--name", "Pathology")


def set_up(files: Any) -> None:
    run("add_team", "Midshire")
    run("add_user", "you@example.org", "--name", "Your Name", "--team", "midshire", "--role", "manager")
    run("import_trust_bundle", "int", "--file", str(files.ca))
    run("add_identity", *IDENTITY, "--certificate", str(files.client("X26HC001")), "--key", str(files.client_key("X26HC001")))
    run("add_mailbox", *MAILBOX, "--identity", "INT 2026")


def test_the_commands_of_the_readme(files: Any) -> None:
    set_up(files)
    mailbox = Mailbox.objects.get()
    assert (mailbox.mode, mailbox.environment, mailbox.password) == (Mode.WATCH, "int", "PLANTED-mailbox-secret")
    assert mailbox.identity == ClientIdentity.objects.get()
    assert Membership.objects.get().role == "manager"
    assert TrustBundle.objects.get(current=True).environment == "int"
    said = run("set_mailbox", "x26hc001", "--mode", "collect", "--reason", "cut-over")
    assert "Changed mode" in said
    mailbox.refresh_from_db()
    assert (mailbox.mode, mailbox.revision) == (Mode.COLLECT, 1)
    actions = list(AuditEvent.objects.order_by("id").values_list("action", flat=True))
    assert actions == [
        "team.added",
        "person.added",
        "member.role_set",
        "trust_bundle.replaced",
        "certificate.added",
        "mailbox.added",
        "mailbox.changed",
    ]
    assert "PLANTED" not in repr(list(AuditEvent.objects.values()))
    assert audit.verify().broken is None
    assert "7 events" in run("verify_audit")


def test_a_second_run_says_that_it_is_there_already(files: Any) -> None:
    set_up(files)
    certificate, key = str(files.client("X26HC001")), str(files.client_key("X26HC001"))
    for again in (
        ("add_team", "Midshire"),
        ("add_mailbox", *MAILBOX, "--identity", "INT 2026"),
        ("add_identity", *IDENTITY, "--certificate", certificate, "--key", key),
    ):
        with pytest.raises(CommandError):
            run(*again)
    # These two change nothing and are no mistake.
    run("import_trust_bundle", "int", "--file", str(files.ca))
    run("add_user", "YOU@example.org", "--team", "midshire", "--role", "manager")
    assert (Team.objects.count(), User.objects.count(), Mailbox.objects.count(), TrustBundle.objects.count()) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("add_user", "x@example.org", "--name", "X", "--team", "nobody", "--role", "viewer"), "There is no team"),
        (("add_user", "not an address", "--name", "X", "--team", "midshire", "--role", "viewer"), "email"),
        (("add_mailbox", "X26 HC", *MAILBOX[1:], "--identity", "INT 2026"), "capital letters and digits"),
        (("add_mailbox", *MAILBOX, "--identity", "none"), "no certificate"),
        (("add_mailbox", *MAILBOX, "--identity", "INT 2026", "--poll-seconds", "60"), "mailbox_poll|often|300"),
        (("add_mailbox", *MAILBOX, "--identity", "INT 2026", "--workflow-filter", "*ACK"), "ends with"),
        (("set_mailbox", "NOBODY", "--mode", "watch"), "There is no mailbox"),
        (("import_trust_bundle", "int", "--file", "/nowhere"), "cannot be read"),
        (("import_trust_bundle", "int", "--file", "manage.py"), "not a PEM certificate"),
        (("import_trust_bundle", "int", "--from-mesh-client", "--folder", "/nowhere"), "no CA bundle"),
    ],
)
def test_a_mistake_is_a_sentence_and_changes_nothing(files: Any, command: tuple[str, ...], said: str) -> None:
    run("add_team", "Midshire")
    run("import_trust_bundle", "int", "--file", str(files.ca))
    run("add_identity", *IDENTITY, "--certificate", str(files.client("X26HC001")), "--key", str(files.client_key("X26HC001")))
    before = AuditEvent.objects.count()
    with pytest.raises(CommandError, match=said):
        run(*command)
    assert AuditEvent.objects.count() == before
    assert not Mailbox.objects.exists()


def test_a_weak_password_and_a_foreign_key_are_refused(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add_team", "Midshire")
    monkeypatch.setenv("MESHPORTAL_NEW_PASSWORD", "short")
    with pytest.raises(CommandError, match="12 characters"):
        run("add_user", "x@example.org", "--name", "X", "--team", "midshire", "--role", "viewer")
    other = create_authority().client("X26HC009", "X26")
    (tmp_path / "other.pem").write_bytes(other.key_pem)
    with pytest.raises(CommandError, match="does not belong"):
        run("add_identity", *IDENTITY, "--certificate", str(files.client("X26HC001")), "--key", str(tmp_path / "other.pem"))
    assert not ClientIdentity.objects.exists()
    assert not User.objects.exists()


def test_keys_that_are_made_are_keys_that_work(settings: Any) -> None:
    made = dict(line.split("=", 1) for line in run("make_keys").splitlines())
    settings.MESHPORTAL_KEYS = [made["MESHPORTAL_KEYS"]]
    assert crypto.unseal(crypto.seal(b"x")) == b"x"
    assert made["MESHPORTAL_PAYLOAD_KEYS"].startswith("AGE-SECRET-KEY-1")


def test_a_key_is_rotated_without_losing_a_value(files: Any, settings: Any) -> None:
    set_up(files)
    old, new = settings.MESHPORTAL_KEYS[0], Fernet.generate_key().decode()
    settings.MESHPORTAL_KEYS = [new, old]
    run("reseal")
    settings.MESHPORTAL_KEYS = [new]
    assert Mailbox.objects.get().password == "PLANTED-mailbox-secret"
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="could not be opened"):
        run("reseal")
    settings.MESHPORTAL_KEYS = [new]
    assert Mailbox.objects.get().password == "PLANTED-mailbox-secret"
