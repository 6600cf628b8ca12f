"""Which certificate the servers of MESH show: recorded at each handshake, so that a change is noticed.

| what goes wrong | what stands, and what happens then |
|---|---|
| the process dies before the record | nothing; the next handshake of any mailbox records it |
| many mailboxes shake hands at once | one row: the database takes each certificate of a host once |
| the server shows something that cannot be read | nothing is recorded; the handshake counts all the same |
| a server shows another certificate each time | the newest :data:`KEPT` are kept |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings

from certificates import reading
from certificates.models import ServerCertificate

KEPT = 50
# Thousands of handshakes a day say the same.
_AS_SEEN = timedelta(minutes=10)


def host_of(environment: str) -> str:
    """The server of ``environment``, as rows name it."""
    return urlsplit(settings.MESH_URLS[environment]).netloc[:260]


def note(*, environment: str, chain: Sequence[bytes], now: datetime) -> None:
    """The server of ``environment`` showed ``chain`` (DER, its own certificate first). Without TLS there is none."""
    facts = [_facts(encoded) for encoded in chain[:10]]
    own = facts[0] if facts else None
    if own is None:
        return
    host = host_of(environment)
    rows = ServerCertificate.objects.filter(environment=environment, host=host)
    known = rows.filter(fingerprint=own.fingerprint).first()
    if known is not None:
        if known.last_seen < now - _AS_SEEN:
            rows.filter(pk=known.pk, last_seen__lt=now).update(last_seen=now)
        return
    row = ServerCertificate(
        environment=environment,
        host=host,
        fingerprint=own.fingerprint,
        subject=own.subject[:300],
        issuer=own.issuer[:300],
        not_after=own.not_after,
        above=[one.subject[:300] for one in facts[1:] if one is not None],
        first_seen=now,
        last_seen=now,
    )
    ServerCertificate.objects.bulk_create([row], ignore_conflicts=True)
    old = list(rows.order_by("-last_seen", "-pk").values_list("pk", flat=True)[KEPT:])
    if old:
        rows.filter(pk__in=old).delete()


def _facts(encoded: bytes) -> reading.Facts | None:
    return reading.tried(lambda: reading.facts_of(x509.load_der_x509_certificate(encoded)))
