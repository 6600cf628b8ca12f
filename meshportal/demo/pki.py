"""A private certificate authority for the demonstration and the tests.

Makes what the MESH service and its clients need for mutual TLS: an authority, a server certificate for the loopback
host, client identities named as the MESH API specification asks
(``<mailbox>.<ODS code>.api.mesh-client.nhs.uk``), and certificates that are wrong on purpose. Everything good passes
strict X.509 checking, which Python 3.13 and later switch on. Nothing here may be used outside a demonstration.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT_DOMAIN = "api.mesh-client.nhs.uk"
KEEP_FOR = timedelta(days=30)
_ID = re.compile(r"[A-Z0-9]{1,40}")
_LEAF_LIFE = timedelta(days=825)
_CA_LIFE = timedelta(days=3650)
_BACKDATE = timedelta(hours=1)

Validity = Literal["valid", "expired", "not_yet_valid"]
KeyKind = Literal["ec", "rsa"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key, both PEM; the key is PKCS #8 without a passphrase."""

    common_name: str
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The parsed certificate."""
        return x509.load_pem_x509_certificate(self.certificate_pem)

    @property
    def not_after(self) -> datetime:
        """The instant (UTC) after which the certificate is no longer valid."""
        return self.certificate.not_valid_after_utc

    def private_key(self) -> PrivateKey:
        """The parsed private key."""
        key = serialization.load_pem_private_key(self.key_pem, password=None)
        if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise TypeError("The private key is neither elliptic curve nor RSA.")
        return key


@dataclass(frozen=True)
class Authority(Identity):
    """A certificate authority: an identity that may sign others."""

    def server(
        self,
        *,
        host_names: Sequence[str] = ("localhost",),
        addresses: Sequence[str] = ("127.0.0.1",),
        validity: Validity = "valid",
        common_name_only: bool = False,
        key_kind: KeyKind = "ec",
    ) -> Identity:
        """A server certificate for ``host_names`` and IP ``addresses``.

        ``common_name_only`` leaves out the subject alternative names, as the old network's servers do; a client that
        follows RFC 9525 refuses such a certificate.
        """
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in host_names]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        return _issue(
            self,
            host_names[0],
            ExtendedKeyUsageOID.SERVER_AUTH,
            [] if common_name_only else names,
            validity,
            key_kind,
        )

    def client(self, mailbox_id: str, ods_code: str, *, validity: Validity = "valid", key_kind: KeyKind = "ec") -> Identity:
        """A client identity for a mailbox. Raises ValueError when an id is not upper-case letters and digits."""
        name = client_name(mailbox_id, ods_code)
        return _issue(self, name, ExtendedKeyUsageOID.CLIENT_AUTH, [x509.DNSName(name)], validity, key_kind)


@dataclass(frozen=True)
class Pki:
    """One authority, its server certificate, and its client identities by mailbox id."""

    authority: Authority
    server: Identity
    clients: Mapping[str, Identity]

    def with_clients(self, wanted: Iterable[tuple[str, str]]) -> Pki:
        """The same, with a new identity for every (mailbox id, ODS code) that had none."""
        clients = dict(self.clients)
        for mailbox_id, ods_code in wanted:
            held = clients.get(mailbox_id)
            if held is None or held.common_name != client_name(mailbox_id, ods_code):
                clients[mailbox_id] = self.authority.client(mailbox_id, ods_code)
        return Pki(self.authority, self.server, MappingProxyType(clients))


@dataclass(frozen=True)
class PkiFiles:
    """Where a Pki lies on disk."""

    directory: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.directory / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The authority's private key."""
        return self.directory / "ca-key.pem"

    @property
    def server(self) -> Path:
        """The server's certificate."""
        return self.directory / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's private key."""
        return self.directory / "server-key.pem"

    def client(self, mailbox_id: str) -> Path:
        """The certificate of the client identity of a mailbox."""
        return self.directory / "clients" / f"{_checked(mailbox_id)}.pem"

    def client_key(self, mailbox_id: str) -> Path:
        """The private key of the client identity of a mailbox."""
        return self.directory / "clients" / f"{_checked(mailbox_id)}-key.pem"


def client_name(mailbox_id: str, ods_code: str) -> str:
    """The common name of a client certificate (MESH API specification, "Mutual authentication")."""
    return f"{_checked(mailbox_id)}.{_checked(ods_code)}.{CLIENT_DOMAIN}"


def create_authority(
    common_name: str = "MESH demonstration CA", *, validity: Validity = "valid", key_kind: KeyKind = "ec"
) -> Authority:
    """A new self-signed authority."""
    key = _new_key(key_kind)
    name = _name(common_name)
    start, end = _period(validity, _CA_LIFE)
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(ski, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(common_name, certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def create_pki(clients: Iterable[tuple[str, str]] = ()) -> Pki:
    """A new authority with a loopback server certificate and one identity per (mailbox id, ODS code)."""
    authority = create_authority()
    return Pki(authority, authority.server(), MappingProxyType({})).with_clients(clients)


def write_pki(pki: Pki, directory: Path) -> PkiFiles:
    """Write everything under ``directory``; folders are private to the user (0700), files 0600."""
    files = PkiFiles(directory)
    for folder in (directory, directory / "clients"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    _write(files.ca_key, pki.authority.key_pem)
    _write(files.ca, pki.authority.certificate_pem)
    _write(files.server_key, pki.server.key_pem)
    _write(files.server, pki.server.certificate_pem)
    for mailbox_id, identity in pki.clients.items():
        _write(files.client_key(mailbox_id), identity.key_pem)
        _write(files.client(mailbox_id), identity.certificate_pem)
    return files


def load_pki(directory: Path, *, keep_for: timedelta = KEEP_FOR) -> Pki | None:
    """What ``write_pki`` wrote, or None when it is absent, damaged, or ends within ``keep_for``.

    A client identity that fails those checks is left out; a bad authority or server certificate loses everything.
    """
    files = PkiFiles(directory)
    found = _read(files.ca, files.ca_key, None, keep_for)
    if found is None:
        return None
    authority = Authority(found.common_name, found.certificate_pem, found.key_pem)
    server = _read(files.server, files.server_key, authority, keep_for)
    if server is None:
        return None
    clients = {}
    for path in sorted((directory / "clients").glob("*.pem")):
        if _ID.fullmatch(path.stem):
            identity = _read(path, files.client_key(path.stem), authority, keep_for)
            if identity is not None:
                clients[path.stem] = identity
    return Pki(authority, server, MappingProxyType(clients))


def load_or_create(directory: Path, clients: Iterable[tuple[str, str]]) -> tuple[Pki, PkiFiles]:
    """The Pki kept in ``directory`` if it is still good, else a new one; missing client identities are added."""
    wanted = list(clients)
    kept = load_pki(directory)
    pki = kept.with_clients(wanted) if kept is not None else create_pki(wanted)
    return pki, write_pki(pki, directory)


def client_context(ca_pem: bytes, identity: Identity | None = None, *, strict: bool = True) -> ssl.SSLContext:
    """A client-side TLS context that trusts only ``ca_pem``; without ``identity`` it offers no certificate."""
    context = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if identity is not None:
        load_identity(context, identity)
    return context


def server_context(server: Identity, ca_pem: bytes | None) -> ssl.SSLContext:
    """A server-side TLS context; with ``ca_pem`` it demands a client certificate signed by that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_identity(context, server)
    if ca_pem is not None:
        context.load_verify_locations(cadata=ca_pem.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Put an identity into a TLS context. The standard library reads files only, so one is written for a moment."""
    with tempfile.TemporaryDirectory(prefix="mesh-demo-") as folder:
        path = Path(folder) / "identity.pem"
        _write(path, identity.key_pem + identity.certificate_pem)
        context.load_cert_chain(path)


def _issue(
    authority: Authority,
    common_name: str,
    usage: x509.ObjectIdentifier,
    names: Sequence[x509.GeneralName],
    validity: Validity,
    key_kind: KeyKind,
) -> Identity:
    key = _new_key(key_kind)
    issuer = authority.certificate
    start, end = _period(validity, _LEAF_LIFE)
    issuer_ski = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(encipher=isinstance(key, rsa.RSAPrivateKey)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_ski), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(authority.private_key(), hashes.SHA256())
    return Identity(common_name, certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def _period(validity: Validity, life: timedelta) -> tuple[datetime, datetime]:
    now = datetime.now(UTC).replace(microsecond=0)
    if validity == "expired":
        return now - timedelta(days=30), now - timedelta(days=1)
    if validity == "not_yet_valid":
        return now + timedelta(days=1), now + timedelta(days=30)
    return now - _BACKDATE, now + life


def _new_key(kind: KeyKind) -> PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _key_usage(*, sign_certificates: bool = False, encipher: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _checked(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is not made of 1 to 40 upper-case letters and digits.")
    return identifier


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    Path(temporary).replace(path)


def _read(certificate: Path, key: Path, issuer: Authority | None, keep_for: timedelta) -> Identity | None:
    try:
        certificate_pem, key_pem = certificate.read_bytes(), key.read_bytes()
        parsed = x509.load_pem_x509_certificate(certificate_pem)
        parsed.verify_directly_issued_by(issuer.certificate if issuer is not None else parsed)
        common_name = str(parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        identity = Identity(common_name, certificate_pem, key_pem)
        if identity.private_key().public_key() != parsed.public_key():
            return None
    except (OSError, ValueError, TypeError, IndexError, InvalidSignature):
        return None
    now = datetime.now(UTC)
    if parsed.not_valid_before_utc > now or parsed.not_valid_after_utc - now <= keep_for:
        return None
    return identity
