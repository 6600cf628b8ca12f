"""Filling the portal, and sending its letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from certificates.models import ClientIdentity, TrustBundle
from mailboxes.models import Mailbox
from meshportal.accounts.models import Membership, Team, User
from meshportal.audit.models import AuditEvent
from meshportal.demo import letters, seed, sending, world
from meshportal.demo.pki import Pki, create_pki
from meshportal.demo.sandbox import Sandbox
from meshportal.demo.stage import DemoError

PASSWORD = "abcd-efgh-jkmn-pqrs"


@pytest.fixture(scope="module")
def pki() -> Pki:
    return create_pki([(team.certificate_for, world.BY_ID[team.certificate_for].ods_code) for team in world.TEAMS])


def rows() -> dict[str, int]:
    kinds = (Team, User, Membership, ClientIdentity, TrustBundle, Mailbox, AuditEvent)
    return {kind.__name__: kind._default_manager.count() for kind in kinds}


@pytest.mark.django_db
def test_seeding_twice_is_seeding_once(pki: Pki) -> None:
    assert seed.is_new()
    seed.seed(pki, password=PASSWORD)
    first = rows()
    assert first["Mailbox"] == len(world.MAILBOXES)
    assert first["Team"] == 2
    assert not seed.is_new()
    seed.seed(pki, password=PASSWORD)
    assert rows() == first
    seed.refuse_strangers()
    for person in world.PEOPLE:
        assert User.objects.get(email=person.email).check_password(PASSWORD)
    assert {(row.mailbox_id, row.mode, row.password) for row in Mailbox.objects.all()} == {
        (spec.mailbox_id, spec.mode, spec.password) for spec in world.MAILBOXES
    }


@pytest.mark.django_db
def test_a_new_authority_and_a_new_password_take_over(pki: Pki) -> None:
    seed.seed(pki, password=PASSWORD)
    fresh = create_pki([(team.certificate_for, world.BY_ID[team.certificate_for].ods_code) for team in world.TEAMS])
    seed.seed(fresh, password="another-good-password")
    current = {f"{issued.certificate.serial_number:x}" for issued in fresh.clients.values()}
    assert {row.identity.serial for row in Mailbox.objects.all() if row.identity} == current
    assert TrustBundle.objects.get(current=True).pem.encode() == fresh.authority.certificate_pem
    assert all(user.check_password("another-good-password") for user in User.objects.all())


@pytest.mark.django_db
def test_a_database_in_use_is_left_alone(pki: Pki, team: Any, mailbox: Any) -> None:
    Team.objects.filter(pk=team.pk).update(slug="dales")
    mailbox(environment="live", identity=None, mailbox_id="RAJ01HC001")
    with pytest.raises(DemoError, match="in real use"):
        seed.refuse_strangers()
    Mailbox.objects.all().delete()
    seed.refuse_strangers()
    Team.objects.filter(pk=team.pk).update(slug="a-real-team")
    with pytest.raises(DemoError, match="in real use"):
        seed.refuse_strangers()


@pytest.mark.django_db
def test_other_keys_are_noticed(pki: Pki, settings: Any) -> None:
    seed.seed(pki, password=PASSWORD)
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(DemoError, match="other keys"):
        seed.is_new()


@pytest.mark.peer
def test_letters_go_once_and_a_report_waits_for_its_message(sandbox: Sandbox, tmp_path: Path) -> None:
    for mailbox_id in (*world.BY_ID, *world.OUTSIDE):
        sandbox.add_mailbox(mailbox_id)
    pki = sandbox.pki.with_clients([world.SENDER])
    some = [
        letter for letter in letters.letters() if letter.key in ("hostile-names", "scan-in-chunks", letters.LATE_REPORT.about)
    ]
    register = sending.Register.read(tmp_path / "sent.json")
    with sending.connect(sandbox, pki, pki.clients[world.NORTHMOOR]) as connection:
        assert sending.send(some, register, connection, shared_key=sandbox.shared_key) == len(some)
        again = sending.Register.read(tmp_path / "sent.json")
        assert sending.send(some, again, connection, shared_key=sandbox.shared_key) == 0
    asked: list[str] = []

    def unknown(message_id: str) -> bool:
        asked.append(message_id)
        return False

    assert not sending.report(letters.LATE_REPORT, register, sandbox, known=unknown)
    assert asked == [register.ids[letters.LATE_REPORT.about]]
    assert sending.report(letters.LATE_REPORT, register, sandbox)
    reported = dict(register.ids)
    assert sending.report(letters.LATE_REPORT, register, sandbox, known=unknown)
    assert register.ids == reported
