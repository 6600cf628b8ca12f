"""At each handshake the server's certificate is recorded; a new trust bundle is used without a restart."""

from __future__ import annotations

import hashlib
import ssl
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from django.utils import timezone

from certificates import selectors, servers
from certificates import services as certificates
from certificates.models import ServerCertificate, TrustBundle
from mailboxes import connections
from mailboxes.models import Mailbox
from meshportal.demo.pki import Identity, Pki, create_authority, load_identity
from meshportal.mesh.connection import Answer
from tests.double import Double
from tests.receive.conftest import ACTOR, Poll

pytestmark = pytest.mark.django_db


def shows(double: Double, server: Identity) -> None:
    """The server restarts with another certificate."""
    assert double._tls is not None
    load_identity(double._tls, server)
    connections.forget_all()


def fingerprint(identity: Identity) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(identity.certificate_pem.decode())).hexdigest()


def again(box: Mailbox) -> Mailbox:
    Mailbox.objects.filter(pk=box.pk).update(last_handshake_at=None)
    box.refresh_from_db()
    return box


def test_it_is_recorded_at_each_handshake_and_a_new_one_is_a_change(box: Mailbox, double: Double, pki: Pki, poll: Poll) -> None:
    assert poll(box).handshake
    first = ServerCertificate.objects.get()
    assert (first.environment, first.host) == ("sandbox", f"localhost:{double.port}")
    assert (first.subject, first.issuer) == ("localhost", pki.authority.common_name)
    assert first.fingerprint == fingerprint(pki.server)
    ServerCertificate.objects.update(last_seen=timezone.now() - timedelta(days=1), first_seen=timezone.now() - timedelta(days=9))
    # A poll without a handshake records nothing.
    assert not poll(box).handshake
    first.refresh_from_db()
    assert timezone.now() - first.last_seen > timedelta(hours=23)
    assert poll(again(box)).handshake
    first.refresh_from_db()
    assert timezone.now() - first.last_seen < timedelta(minutes=1)
    assert selectors.trusted("sandbox", timezone.now()).changes == ()
    other = pki.authority.server()
    shows(double, other)
    assert poll(again(box)).problem is None
    [change] = selectors.trusted("sandbox", timezone.now()).changes
    assert change.fingerprint == fingerprint(other)


def test_a_mailbox_that_is_refused_has_seen_the_server_too(box: Mailbox, double: Double, poll: Poll) -> None:
    box.password = "another"
    box.save(update_fields=["password"])
    tally = poll(box)
    assert tally.problem is not None and tally.problem.code == "sign_in_refused"
    assert ServerCertificate.objects.count() == 1


def test_an_answer_that_is_closed_has_nothing_to_show(box: Mailbox, double: Double) -> None:
    """The connection may be gone by then, and that is no error."""
    client = connections.client_for(box)
    exchange = client._exchange
    call = exchange.call("GET", "list", f"{client._mailbox}/inbox")
    answer = exchange.open(call, 1, expected=(200,))
    [shown] = answer.server_chain()
    assert x509.load_der_x509_certificate(shown).subject.rfc4514_string() == "CN=localhost"
    answer.close()
    connections.forget_all()
    assert answer.server_chain() == ()


def test_without_tls_there_is_nothing_to_record(box: Mailbox, settings: Any, poll: Poll) -> None:
    with Double(None) as plain:
        plain.add_mailbox(box.mailbox_id)
        settings.MESH_URLS = {**settings.MESH_URLS, "sandbox": plain.base_url}
        poll(box)
        connections.forget_all()
    assert not ServerCertificate.objects.exists()


def test_a_server_that_is_not_trusted_is_not_recorded(box: Mailbox, double: Double, poll: Poll) -> None:
    certificates.replace_trust_bundle(
        actor=ACTOR, environment="sandbox", name="other", pem=create_authority("Another").certificate_pem
    )
    assert poll(box).problem is not None
    assert not ServerCertificate.objects.exists()


def test_a_certificate_that_cannot_be_noted_stops_no_poll(
    box: Mailbox, double: Double, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "server_chain", lambda self: (b"\x30\x80no certificate",))
    tally = poll(box)
    assert tally.problem is None and tally.handshake
    assert not ServerCertificate.objects.exists()


def test_a_kept_connection_uses_a_new_bundle_from_the_next_poll_on(box: Mailbox, double: Double, pki: Pki, poll: Poll) -> None:
    """In the process that polls, without a restart; and back again."""
    assert poll(box).problem is None
    other = create_authority("Another")
    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="other", pem=other.certificate_pem)
    tally = poll(again(box))
    assert tally.problem is not None and tally.problem.code == "server_not_trusted"
    both = other.certificate_pem + pki.authority.certificate_pem
    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="both", pem=both)
    assert poll(again(box)).problem is None
    # A broken one leaves what works.
    with pytest.raises(Exception, match="private key"):
        certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="x", pem=both + pki.authority.key_pem)
    assert TrustBundle.objects.get(current=True).name == "both"
    assert poll(again(box)).problem is None
    assert servers.host_of("sandbox") == f"localhost:{double.port}"
