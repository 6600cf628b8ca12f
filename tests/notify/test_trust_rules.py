"""What is wrong with chains of client certificates, trust bundles and servers becomes an alert, and is over when it is mended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certificates import servers, services
from certificates.models import ClientIdentity, ServerCertificate, TrustBundle
from mailboxes import alerts as of_mailboxes
from mailboxes import chain_rules, ladder, trust_rules
from mailboxes.models import Mailbox
from meshportal.audit.actors import Actor
from meshportal.notify import registry, sweep
from meshportal.notify import services as acts
from meshportal.notify.models import Alert, Severity
from tests.certificates.conftest import good, making
from tests.certificates.making import CN, Making, Pair
from tests.conftest import Make

__all__ = ["good", "making"]
pytestmark = pytest.mark.django_db
PERSON = Actor(kind="user", id="1", label="Mina Manage <mina@midshire.example>")
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LEVEL = {"warning": Severity.WARNING, "critical": Severity.CRITICAL, "info": Severity.INFO}


@pytest.fixture(autouse=True)
def _only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {rule.name: rule for rule in (chain_rules.RULE, trust_rules.RULE)}
    monkeypatch.setattr(registry, "_rules", rules)


def swept(now: datetime = NOW) -> dict[str, Alert]:
    """One sweep; the open alerts by kind."""
    sweep.run(now)
    return {alert.kind: alert for alert in Alert.objects.filter(closed_at__isnull=True)}


def held(identity: ClientIdentity, *pems: bytes, environment: str = "int") -> ClientIdentity:
    """``identity`` with this chain, as rows are that are older than the checks."""
    first, *others = x509.load_pem_x509_certificates(b"".join(pems))
    from certificates import reading

    examined = reading.examine(reading.in_order(first, others)[0], NOW)
    pem = b"".join(pems).decode()
    values = {**services.inventory(examined), "certificate_pem": pem, "environment": environment}
    ClientIdentity.objects.filter(pk=identity.pk).update(**values)
    identity.refresh_from_db()
    return identity


@pytest.fixture
def used(mailbox: Make, identity: ClientIdentity) -> Mailbox:
    """A mailbox of the integration environment that uses ``identity``."""
    box: Mailbox = mailbox(environment="int", mailbox_id="X26HC001")
    return box


# --- Client certificates ----------------------------------------------------------------------------------------------
def test_a_good_one_is_no_alert_and_neither_is_one_that_cannot_be_read(
    used: Mailbox, identity: ClientIdentity, making: Making, good: Pair
) -> None:
    assert swept() == {}
    held(identity, good.pem, making.chain())
    assert swept() == {}


CASES: dict[str, tuple[str, str, str]] = {
    "issuer expired": ("certificate.issuer_ends", "critical", "cannot be used any more: its issuer ended on"),
    "issuer ends first": ("certificate.issuer_ends", "warning", "ends sooner than it says: its issuer ends on"),
    "older generation": ("certificate.generation", "warning", "an authority of an older generation"),
    "chain missing": ("certificate.chain", "info", "without the certificate of its issuer"),
    "signed by itself": ("certificate.chain", "critical", "signed by nobody but itself"),
    "another form": ("certificate.common_name", "warning", "a common name of another form"),
    "not for clients": ("certificate.common_name", "warning", "is not meant for clients"),
    "another mailbox": ("certificate.common_name", "warning", "names mailbox X26HC002 in its common name"),
    "SHA-1": ("certificate.weak", "critical", "has SHA-1 or older in its chain"),
    "SHA-1 above it": ("certificate.weak", "critical", "has SHA-1 or older in its chain"),
    "small key": ("certificate.weak", "critical", "has a key of 1,024 bits"),
}


def made(case: str, making: Making) -> list[bytes]:
    """The chain of ``case``."""
    root, authority = making.root, making.authority
    if case == "issuer expired":
        gone = making.issue("Gone Authority", root, extensions="authority", start="20200101000000Z", end="20240604000000Z")
        return [making.issue(CN, gone).pem, gone.pem, root.pem]
    if case == "issuer ends first":
        short = making.issue("Short Authority", root, extensions="authority", end="20280101000000Z")
        return [making.issue(CN, short).pem, short.pem, root.pem]
    if case == "older generation":
        older = making.issue("NHS INT Level 1C", root, extensions="authority", end="20291111000000Z")
        return [making.issue(CN, older, end="20281111000000Z").pem, older.pem, root.pem]
    if case == "chain missing":
        return [making.issue(CN, authority).pem]
    if case == "signed by itself":
        return [making.issue(CN, None).pem]
    if case == "another form":
        return [making.issue("mesh.midshire.example", authority).pem, making.chain()]
    if case == "not for clients":
        return [making.issue(CN, authority, extensions="server").pem, making.chain()]
    if case == "another mailbox":
        return [making.issue(CN.replace("001", "002"), authority).pem, making.chain()]
    if case == "SHA-1":
        return [making.issue(CN, authority, digest="sha1").pem, making.chain()]
    if case == "SHA-1 above it":
        weak = making.issue("Weak Authority", root, extensions="authority", digest="sha1")
        return [making.issue(CN, weak).pem, weak.pem, root.pem]
    assert case == "small key"
    return [making.issue(CN, authority, kind="rsa1024").pem, making.chain()]


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_an_alert_and_over_when_it_is_mended(
    case: str, used: Mailbox, identity: ClientIdentity, making: Making, good: Pair, mailbox: Make
) -> None:
    mailbox(environment="int", mailbox_id="X26HC002", identity=None)
    kind, severity, words = CASES[case]
    held(identity, *made(case, making))
    [(found, alert)] = swept().items()
    assert (found, alert.severity) == (kind, LEVEL[severity])
    assert words in alert.sentence and alert.subject == "Certificate “Midshire 2026”"
    assert alert.address().endswith(f"/certificates/{identity.pk}/")
    # Nothing of what a certificate says of itself leaves the portal.
    for name in ("Authority", "mesh.midshire.example", "Level 1C"):
        assert name not in str(alert)
    assert registry.kind(kind).advice
    # Once more is the same one.
    assert swept(NOW + timedelta(minutes=1))[kind].count == 2
    held(identity, good.pem, making.chain())
    assert swept(NOW + timedelta(minutes=2)) == {}
    assert Alert.objects.get().closed_by == ""


def test_a_certificate_that_nobody_is_worked_with_troubles_nobody(
    used: Mailbox, identity: ClientIdentity, making: Making
) -> None:
    held(identity, *made("signed by itself", making))
    assert set(swept()) == {"certificate.chain"}
    Mailbox.objects.update(mode="paused")
    assert swept(NOW + DAY) == {}
    Mailbox.objects.update(mode="collect", identity=None)
    assert swept(NOW + 2 * DAY) == {}


def test_an_issuer_that_ends_is_told_again_when_it_has_ended(used: Mailbox, identity: ClientIdentity, making: Making) -> None:
    held(identity, *made("issuer ends first", making))
    alert = swept()["certificate.issuer_ends"]
    acts.acknowledge(actor=PERSON, alert=alert)
    alert = swept(datetime(2028, 1, 2, tzinfo=UTC))["certificate.issuer_ends"]
    assert (alert.severity, alert.acknowledged_at) == (Severity.CRITICAL, None)


def test_one_certificate_for_several_mailboxes_is_no_mistake(
    used: Mailbox, identity: ClientIdentity, making: Making, good: Pair, mailbox: Make
) -> None:
    for number in (3, 4):
        mailbox(environment="int", mailbox_id=f"X26HC00{number}", identity=identity)
    held(identity, good.pem, making.chain())
    assert swept() == {}


def test_in_the_sandbox_chains_are_of_no_interest(mailbox: Make, identity: ClientIdentity, making: Making) -> None:
    mailbox(mailbox_id="X26HC001")
    held(identity, *made("chain missing", making), environment="sandbox")
    assert swept() == {}


def test_several_wrongs_are_an_alert_each(used: Mailbox, identity: ClientIdentity, making: Making) -> None:
    held(identity, making.issue("x", making.authority, digest="sha1").pem)
    assert set(swept()) == {"certificate.chain", "certificate.common_name", "certificate.weak"}
    assert Alert.objects.values("key").distinct().count() == 1


def test_a_closed_one_stays_closed_while_it_is_not_worse(used: Mailbox, identity: ClientIdentity, making: Making) -> None:
    held(identity, *made("older generation", making))
    acts.close(actor=PERSON, alert=swept()["certificate.generation"], reason="Replaced next spring.")
    for minute in range(1, 5):
        assert swept(NOW + timedelta(minutes=minute)) == {}
    assert Alert.objects.count() == 1


def test_the_ladder_speaks_of_time_and_these_of_causes(used: Mailbox, identity: ClientIdentity, making: Making) -> None:
    held(identity, *made("issuer expired", making))
    [condition] = ladder.find(NOW)
    assert condition.kind not in {kind.name for kind in chain_rules.KINDS}
    assert set(of_mailboxes.RULES).isdisjoint({chain_rules.RULE, trust_rules.RULE})


# --- Trust bundles ----------------------------------------------------------------------------------------------------
def bundle(*pems: bytes, environment: str = "int") -> TrustBundle:
    """A bundle as it is kept, however old."""
    TrustBundle.objects.filter(environment=environment).update(current=False)
    return TrustBundle.objects.create(environment=environment, name="ca", pem=b"".join(pems).decode(), fingerprint="0" * 64)


def test_authorities_that_end_in_a_bundle(used: Mailbox, making: Making, other_team: Any, mailbox: Make, identity: Any) -> None:
    old = making.issue("Old Authority", None, extensions="authority", start="20200101000000Z", end="20240604000000Z")
    soon = making.issue("Soon Authority", None, extensions="authority", end="20261210000000Z")
    bundle(making.root.pem)
    assert swept() == {}
    bundle(making.root.pem, old.pem)
    alert = swept()["trust.bundle"]
    # As the CA bundle of MESH itself, which holds its old generation.
    assert (alert.severity, alert.level, alert.team) == (Severity.INFO, 2, used.team)
    assert "holds authorities to look at: 1 that expired." in alert.sentence
    assert alert.address() == "/t/midshire/certificates/trust/"
    acts.acknowledge(actor=PERSON, alert=alert)
    bundle(making.root.pem, old.pem, soon.pem)
    alert = swept(NOW + timedelta(minutes=1))["trust.bundle"]
    assert (alert.severity, alert.acknowledged_at) == (Severity.WARNING, None)
    assert "1 that expired and 1 that ends within 30 days." in alert.sentence
    bundle(making.root.pem, old.pem)
    note(making, making.issue("msg.example", old, extensions="server", start="20230101000000Z"), NOW)
    alert = swept(NOW + timedelta(seconds=90))["trust.bundle"]
    assert alert.severity == Severity.WARNING and "present certificate depends on one of them" in alert.sentence
    bundle(old.pem)
    alert = swept(NOW + timedelta(minutes=2))["trust.bundle"]
    assert alert.severity == Severity.CRITICAL and "no server is trusted" in alert.sentence
    # Each team that works mailboxes there has its own, and a team of another environment has none.
    mailbox(team=other_team, environment="int", mailbox_id="RH8HC001")
    sweep.run(NOW + timedelta(minutes=3))
    assert Alert.objects.filter(kind="trust.bundle", closed_at=None).count() == 2
    Mailbox.objects.filter(team=other_team).update(environment="live")
    sweep.run(NOW + timedelta(minutes=4))
    assert [one.team for one in Alert.objects.filter(kind="trust.bundle", closed_at=None)] == [used.team]
    bundle(making.root.pem)
    assert swept(NOW + timedelta(minutes=5)) == {}


def test_no_bundle_and_a_broken_one_are_said_by_their_mailboxes(used: Mailbox) -> None:
    assert swept() == {}
    bundle(b"nothing")
    assert swept() == {}


# --- Servers ----------------------------------------------------------------------------------------------------------
def note(making: Making, pair: Pair, now: datetime) -> None:
    encoded = x509.load_pem_x509_certificate(pair.pem).public_bytes(serialization.Encoding.DER)
    servers.note(environment="int", chain=(encoded,), now=now)


def test_a_server_that_shows_another_certificate(used: Mailbox, making: Making) -> None:
    first = making.issue("msg.example", making.authority, extensions="server")
    same = making.issue("msg.example", making.authority, extensions="server")
    other = making.issue("evil.example", making.root, extensions="server")
    note(making, first, NOW)
    assert swept() == {}
    note(making, same, NOW + DAY)
    alert = swept(NOW + DAY)["trust.server_changed"]
    assert alert.severity == Severity.INFO and "from the same issuer as the one before" in alert.sentence
    assert "example" not in str(alert)
    acts.acknowledge(actor=PERSON, alert=alert)
    assert swept(NOW + DAY)["trust.server_changed"].acknowledged_at is not None
    # Another change on top of it is news.
    note(making, other, NOW + 2 * DAY)
    alert = swept(NOW + 2 * DAY)["trust.server_changed"]
    assert (alert.severity, alert.acknowledged_at) == (Severity.WARNING, None)
    assert "from another issuer than the one before" in alert.sentence
    assert Alert.objects.filter(kind="trust.server_changed").count() == 1
    # Shown for a week, it is what the server shows, and the one in between goes with it after a month.
    for day in range(3, 10):
        note(making, other, NOW + day * DAY)
    assert swept(NOW + 10 * DAY)["trust.server_changed"].severity == Severity.INFO
    for day in range(10, 33):
        note(making, other, NOW + day * DAY)
    assert swept(NOW + 32 * DAY) == {}


def test_a_person_may_close_it_and_it_stays_closed(used: Mailbox, making: Making) -> None:
    note(making, making.issue("one", making.authority, extensions="server"), NOW)
    note(making, making.issue("two", making.root, extensions="server"), NOW + DAY)
    acts.close(actor=PERSON, alert=swept(NOW + DAY)["trust.server_changed"], reason="Announced by NHS England.")
    for minute in range(1, 30):
        assert swept(NOW + DAY + timedelta(minutes=minute)) == {}
    note(making, making.issue("three", making.root, extensions="server"), NOW + 2 * DAY)
    assert set(swept(NOW + DAY + timedelta(minutes=30))) == {"trust.server_changed"}


def test_a_team_of_another_environment_is_not_told(mailbox: Make, making: Making) -> None:
    mailbox(environment="live")
    note(making, making.issue("one", making.authority, extensions="server"), NOW)
    note(making, making.issue("two", making.authority, extensions="server"), NOW + DAY)
    assert swept(NOW + DAY) == {}
    assert ServerCertificate.objects.count() == 2
