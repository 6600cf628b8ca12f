"""Bringing in client identities and trust bundles. A private key is sealed before it is kept, and never shown."""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError
from django.db import transaction

from certificates.models import ClientIdentity, Environment, TrustBundle
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor

MAX_PEM_BYTES = 1024 * 1024


def _certificates(pem: bytes, field: str) -> list[x509.Certificate]:
    if len(pem) > MAX_PEM_BYTES:
        raise ValidationError({field: "The file is too large to be a certificate."})
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValidationError(
            {field: "This is not a PEM certificate: it should begin with “-----BEGIN CERTIFICATE-----”."}
        ) from None


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()


def add_identity(
    *,
    actor: Actor,
    team: Team,
    environment: str,
    name: str,
    certificate_pem: bytes,
    private_key_pem: bytes,
    passphrase: str = "",
) -> ClientIdentity:
    """Adds a client certificate with its key to ``team``.

    Raises ValidationError, by field, when either cannot be read or the two do not belong together.
    """
    chain = _certificates(certificate_pem, "certificate")
    try:
        key = serialization.load_pem_private_key(private_key_pem, passphrase.encode() or None)
    except TypeError:
        need = "has no passphrase; leave it empty" if passphrase else "is protected: give its passphrase"
        raise ValidationError({"private_key": f"The key {need}."}) from None
    except ValueError:
        raise ValidationError({"private_key": "This is not a PEM private key, or its passphrase is wrong."}) from None
    leaf = next((found for found in chain if found.public_key() == key.public_key()), None)
    if leaf is None:
        raise ValidationError({"private_key": "The key does not belong to this certificate."})
    ordered = [leaf, *(found for found in chain if found is not leaf)]
    identity = ClientIdentity(
        team=team,
        environment=environment,
        name=name,
        certificate_pem="".join(found.public_bytes(serialization.Encoding.PEM).decode() for found in ordered),
        private_key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        subject_cn=_name(leaf.subject)[:300],
        issuer=_name(leaf.issuer)[:300],
        serial=f"{leaf.serial_number:x}"[:60],
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
    )
    identity.full_clean()
    with transaction.atomic():
        identity.save()
        audit.record(
            actor=actor,
            action="certificate.added",
            target=identity,
            team=team,
            after={"subject": identity.subject_cn, "fingerprint": identity.fingerprint, "not_after": _iso(identity.not_after)},
        )
    return identity


def replace_trust_bundle(*, actor: Actor, environment: str, name: str, pem: bytes) -> TrustBundle:
    """Makes ``pem`` the CA bundle of ``environment``; the one before is kept, no longer current.

    Bringing in the bundle that is current already changes nothing. Raises ValidationError when it holds no certificate.
    """
    if environment not in Environment.values:
        raise ValidationError({"environment": f"Choose one of {', '.join(Environment.values)}."})
    authorities = _certificates(pem, "bundle")
    text = "".join(found.public_bytes(serialization.Encoding.PEM).decode() for found in authorities)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    with transaction.atomic():
        current = TrustBundle.objects.filter(environment=environment, current=True).first()
        if current is not None and current.fingerprint == fingerprint:
            return current
        TrustBundle.objects.filter(environment=environment, current=True).update(current=False)
        bundle = TrustBundle.objects.create(environment=environment, name=name, pem=text, fingerprint=fingerprint)
        audit.record(
            actor=actor,
            action="trust_bundle.replaced",
            target=bundle,
            before={"fingerprint": current.fingerprint if current else ""},
            after={"fingerprint": fingerprint, "certificates": [_name(found.subject) for found in authorities]},
        )
    return bundle


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
