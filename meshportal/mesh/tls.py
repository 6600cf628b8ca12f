"""A TLS context from PEM texts in memory; no key ever lies on a disk in the clear.

Python's ssl module loads keys from files only. On Linux the file is a memfd, which has no place on any disk; elsewhere
a private temporary file that is removed at once. In both the key is encrypted under a random passphrase that is used once.

Verification is always on. Python 3.13's ``ssl.create_default_context`` also demands RFC 5280 form of CA certificates,
which the older NHS authorities (G1, in use until 2029) lack although they are valid; here the same is accepted on every
Python: strict checking is off unless ``strict_x509`` asks for it.
"""

from __future__ import annotations

import os
import secrets
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from meshportal.mesh.errors import CertificateUnusable, TrustBundleUnusable


def tls_context(
    certificate_pem: str | bytes,
    private_key_pem: str | bytes,
    ca_pem: str | bytes,
    *,
    check_common_name: bool = False,
    private_key_password: str | bytes | None = None,
    strict_x509: bool = False,
) -> ssl.SSLContext:
    """A client context: TLS 1.2 or newer, our certificate, and no authority trusted but those of ``ca_pem``.

    ``certificate_pem`` holds the leaf and any intermediate certificates, in any order. ``check_common_name`` accepts a
    server certificate without subject alternative name by its common name, as the HSCN hosts need (MESH API
    specification, environments). Raises CertificateUnusable, or its child TrustBundleUnusable, with one sentence
    that says what is wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = check_common_name
    # A bundle may pin the issuing authority alone.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if strict_x509:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    for authority in _certificates(ca_pem, TrustBundleUnusable, "trust bundle"):
        try:
            context.load_verify_locations(cadata=authority.public_bytes(serialization.Encoding.DER))
        except ssl.SSLError as error:
            # OpenSSL reads more strictly than what read it first.
            raise TrustBundleUnusable("The trust bundle holds a certificate that cannot be read.") from error
    key = _private_key(private_key_pem, private_key_password)
    chain = _chain(_certificates(certificate_pem, CertificateUnusable, "client certificate"), key)
    passphrase = secrets.token_hex(32)
    material = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    ) + b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)
    with _as_file(material) as path:
        try:
            context.load_cert_chain(path, password=passphrase)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise CertificateUnusable(f"TLS does not accept the client certificate ({reason}).") from error
    return context


def _certificates(pem: str | bytes, kind: type[CertificateUnusable], what: str) -> list[x509.Certificate]:
    data = pem.encode(errors="replace") if isinstance(pem, str) else pem
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise kind(f"The {what} holds no certificate in PEM form.")
    try:
        return x509.load_pem_x509_certificates(data)
    except Exception as error:  # an unknown version or algorithm is no ValueError
        raise kind(f"The {what} holds a certificate that cannot be read.") from error


def _private_key(pem: str | bytes, password: str | bytes | None) -> PrivateKeyTypes:
    data = pem.encode(errors="replace") if isinstance(pem, str) else pem
    secret = password.encode(errors="replace") if isinstance(password, str) else password
    try:
        return serialization.load_pem_private_key(data, secret or None)
    except TypeError:
        # from None, here and below: what a parser says about a key may quote it.
        said = "needs no password, but one was given" if secret else "is protected by a password, and none was given"
        raise CertificateUnusable(f"The private key {said}.") from None
    except Exception:
        said = ", or its password is wrong" if secret else ""
        raise CertificateUnusable(f"The private key cannot be read as PEM{said}.") from None


def _chain(certificates: list[x509.Certificate], key: PrivateKeyTypes) -> list[x509.Certificate]:
    """The leaf, then each certificate's issuer: TLS 1.2 demands that order, and OpenSSL sends what it is given."""
    public = _public(key.public_key())
    for certificate in certificates:
        try:
            ours = _public(certificate.public_key()) == public
        except Exception:
            ours = False
        if ours:
            chain, rest = [certificate], [other for other in certificates if other is not certificate]
            while issuer := next((other for other in rest if other.subject == chain[-1].issuer), None):
                chain.append(issuer)
                rest.remove(issuer)
            return chain + rest
    raise CertificateUnusable("The private key does not belong to the client certificate.")


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


@contextmanager
def _as_file(material: bytes) -> Iterator[str]:
    descriptor = _memory_file()
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(material)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    descriptor, name = tempfile.mkstemp(prefix="mesh-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(material)
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


def _memory_file() -> int | None:
    if sys.platform != "linux" or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.memfd_create("mesh", os.MFD_CLOEXEC)
    except OSError:
        return None
