"""Taking a private key out of the portal: a manager's act, with a reason, under a passphrase, in the audit before the first byte.

The file is made in memory and is nowhere kept. It is PKCS #12 with the key under AES-256 (PBES2), which OpenSSL, Windows and
Java open. What guards it outside is the passphrase alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import load_pem_x509_certificates
from django.db import transaction

from certificates import reading
from certificates.models import ClientIdentity
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.crypto import CannotUnseal

SHORTEST_PASSPHRASE = 12


@dataclass(frozen=True)
class Exported:
    """A PKCS #12 file."""

    file_name: str
    content: bytes = field(repr=False)


def export_key(*, actor: Actor, identity: ClientIdentity, reason: str, passphrase: str) -> Exported:
    """The key of ``identity`` with its certificate and chain, under ``passphrase``. Raises Refused with a sentence."""
    if len(passphrase) < SHORTEST_PASSPHRASE or not reason.strip():
        raise ValueError("A key leaves with a reason and under a long passphrase only.")
    with transaction.atomic():
        found = ClientIdentity.objects.select_related("team").defer("private_key").get(pk=identity.pk)
        content = _pkcs12(found, passphrase)
        audit.record(
            actor=actor,
            action="certificate.key_exported",
            target=found,
            team=found.team,
            reason=reason,
            after={"subject": found.subject_cn, "fingerprint": found.fingerprint},
        )
    # A common name may hold anything; the header is written by one that quotes.
    return Exported(f"{found.subject_cn or found.pk}.p12", content)


def _pkcs12(identity: ClientIdentity, passphrase: str) -> bytes:
    try:
        leaf, *chain = load_pem_x509_certificates(identity.certificate_pem.encode())
        key = serialization.load_pem_private_key(str(identity.private_key).encode(), None)
    except CannotUnseal:
        raise Refused(
            "The key of this certificate cannot be opened. Ask whoever runs the portal to put the missing key back into "
            "MESHPORTAL_KEYS."
        ) from None
    except ValueError:
        # from None: what a parser says about a key may quote it.
        raise Refused("What is kept of this certificate cannot be read. Add the certificate again, with its key.") from None
    if not reading.same_key(key.public_key(), leaf.public_key()):
        raise Refused("The key that is kept does not belong to this certificate. Add the certificate again, with its key.")
    return pkcs12.serialize_key_and_certificates(
        identity.name.encode(),
        key,  # type: ignore[arg-type]
        leaf,
        chain,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
