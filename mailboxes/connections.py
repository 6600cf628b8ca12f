"""Kept MESH connections: one TLS context and one connection pool per identity and process (measured: 40 times cheaper).

The cache key holds everything the connection was made from, so a renewed certificate or a new trust bundle is used from
the next poll on, in every process, without a restart.
"""

from __future__ import annotations

import ssl
import threading
from collections import OrderedDict

from django.conf import settings
from django.utils import timezone

from certificates import servers
from certificates.models import ClientIdentity, TrustBundle
from mailboxes.models import Mailbox
from mailboxes.problems import NotConfigured, london
from meshportal.mesh import Connection, MeshClient, RetryPolicy, Timeouts, tls_context

_LIMIT = 500
# Seconds that a person at a page waits for MESH, at each step.
PATIENCE = 8.0
_kept: OrderedDict[tuple[object, ...], Connection] = OrderedDict()
_lock = threading.Lock()


def client_for(mailbox: Mailbox, *, somebody_waits: bool = False) -> MeshClient:
    """A client for ``mailbox`` on the kept connection of its identity; one that gives up soon when somebody waits for it.

    Raises NotConfigured when something is missing or has expired, and errors of :mod:`meshportal.mesh.errors` when the
    certificate or bundle cannot be used.
    """
    identity, shared_key = needed(mailbox)
    return MeshClient(
        connection_for(identity, somebody_waits=somebody_waits),
        mailbox_id=mailbox.mailbox_id,
        password=mailbox.password,
        shared_key=shared_key,
    )


def handshake(client: MeshClient, *, environment: str) -> None:
    """A handshake of ``client``, and a note of the certificate that the server showed. Raises as :meth:`MeshClient.handshake`."""
    try:
        client.handshake()
    finally:
        # A mailbox that is refused has spoken with the server all the same.
        servers.note(environment=environment, chain=client.server_chain, now=timezone.now())


def needed(mailbox: Mailbox) -> tuple[ClientIdentity, str]:
    """The certificate and the shared key of ``mailbox``. Raises NotConfigured when one of them is missing."""
    environment = mailbox.get_environment_display()
    shared_key = settings.MESH_SHARED_KEYS[mailbox.environment]
    if not shared_key:
        raise NotConfigured(
            "no_shared_key",
            f"The portal has no shared key for the {environment} environment, so this mailbox cannot sign in to MESH.",
            f"Ask whoever runs the portal to set MESHPORTAL_{mailbox.environment.upper()}_SHARED_KEY and restart it.",
        )
    if mailbox.identity is None:
        raise NotConfigured(
            "no_certificate",
            "This mailbox has no client certificate, and MESH answers only to one.",
            "Add the certificate and its key, then choose it for this mailbox.",
        )
    return mailbox.identity, shared_key


def bundle_for(identity: ClientIdentity) -> TrustBundle:
    """The trust bundle that goes with ``identity``. Raises NotConfigured for none, and for a certificate out of its time."""
    now = timezone.now()
    if identity.not_after <= now:
        raise NotConfigured(
            "certificate_expired",
            f"The client certificate “{identity.name}” expired on {london(identity.not_after)}.",
            "Request a new certificate, add it, and choose it for every mailbox that used the old one.",
        )
    if identity.not_before > now:
        raise NotConfigured(
            "certificate_not_yet_valid",
            f"The client certificate “{identity.name}” is not valid before {london(identity.not_before)}.",
            "Use the previous certificate until then, and check this server's clock.",
        )
    bundle = TrustBundle.objects.filter(environment=identity.environment, current=True).first()
    if bundle is None:
        raise NotConfigured(
            "no_trust_bundle",
            f"The portal has no trust bundle for the {identity.get_environment_display()} environment, so it cannot tell "
            "MESH from an impostor.",
            "Ask whoever runs the portal to import the CA bundle (see the README, Going live).",
        )
    return bundle


def connection_for(identity: ClientIdentity, *, somebody_waits: bool = False) -> Connection:
    """The kept connection of ``identity``, made when it is not there yet. Raises as :func:`client_for`."""
    bundle = bundle_for(identity)
    base_url = settings.MESH_URLS[identity.environment]
    key = (identity.pk, identity.fingerprint, identity.updated_at, bundle.fingerprint, base_url, somebody_waits)
    with _lock:
        kept = _kept.get(key)
        if kept is not None:
            _kept.move_to_end(key)
            return kept
    made = fresh(identity, bundle, somebody_waits=somebody_waits)
    with _lock:
        kept = _kept.setdefault(key, made)
        while len(_kept) > _LIMIT:
            # Not closed here: a thread may still be using it; its sockets close when the last user lets go.
            _kept.popitem(last=False)
    if kept is not made:
        made.close()
    return kept


def context_for(identity: ClientIdentity, bundle: TrustBundle) -> ssl.SSLContext:
    """A TLS context of its own. Raises CertificateUnusable, TrustBundleUnusable, CannotUnseal."""
    return tls_context(
        certificate_pem=identity.certificate_pem,
        private_key_pem=identity.private_key,
        ca_pem=bundle.pem,
        check_common_name=settings.MESH_CHECK_COMMON_NAME,
    )


def fresh(identity: ClientIdentity, bundle: TrustBundle, *, somebody_waits: bool) -> Connection:
    """A connection that nobody else uses, for the caller to close. Raises as :func:`context_for`."""
    longest = PATIENCE if somebody_waits else float("inf")
    usual = Timeouts()
    timeouts = Timeouts(
        connect=min(settings.MESH_CONNECT_TIMEOUT, longest),
        read=min(settings.MESH_READ_TIMEOUT, longest),
        pool=min(usual.pool, longest),
        slow_after=min(usual.slow_after, longest),
    )
    retry = RetryPolicy(attempts=1 if somebody_waits else 2)
    context = context_for(identity, bundle)
    return Connection(settings.MESH_URLS[identity.environment], ssl_context=context, timeouts=timeouts, retry=retry)


def forget_all() -> None:
    """Closes every kept connection (at the end of a process, and in tests)."""
    with _lock:
        connections = list(_kept.values())
        _kept.clear()
    for connection in connections:
        connection.close()
