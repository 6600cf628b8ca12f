"""What a certificate and its chain say: facts for the inventory, and what a person should know. Needs no key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certificates.reading import authorities
from certificates.reading.guard import tried

# A renewal takes weeks: the request, its approval, five working days at the service desk.
EXPIRY_WARNING = timedelta(days=30)
# MESH API specification, Mutual authentication; the local ID is the mailbox ID or the name of a server.
_COMMON_NAME = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Z0-9]{3,12})\.api\.mesh-client\.nhs\.uk")
_MAX_CHAIN = 10
_WEAK = ("sha1", "md5")
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_LONDON = ZoneInfo("Europe/London")


@dataclass(frozen=True)
class Warned:
    """Something that a person should know of a certificate that can be used."""

    code: str
    sentence: str


@dataclass(frozen=True)
class Facts:
    """One certificate in words. ``serial`` and ``fingerprint`` (SHA-256) are hexadecimal, ``key_size`` is in bits."""

    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    key_kind: str
    key_size: int
    signature: str
    is_authority: bool


@dataclass(frozen=True)
class Examined:
    """A chain, leaf first. ``generation`` is the key of an NHS authority's generation, such as "int-g2", or ''.

    ``effective_expiry`` is the earliest end in the chain, the known end of the issuing authority included;
    ``cut_by`` names the authority that ends before the leaf, or is ''.
    """

    leaf: Facts
    chain: tuple[Facts, ...]
    authority: authorities.Authority | None
    effective_expiry: datetime
    cut_by: str
    local_id: str
    ods_code: str
    warnings: tuple[Warned, ...]

    @property
    def generation(self) -> str:
        return f"{self.authority.environment}-{self.authority.generation}" if self.authority else ""


def day(moment: datetime) -> str:
    """A day as staff read it, such as "4 June 2024"."""
    local = moment.astimezone(_LONDON)
    return f"{local.day} {local:%B %Y}"


def name_of(name: x509.Name) -> str:
    """The common name, or the whole name when there is none."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    value = common[0].value if common else name.rfc4514_string()
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    # Control characters would reach the page, the audit and the terminal.
    return "".join(character if character.isprintable() else "�" for character in text)


def key_of(key: Any) -> tuple[str, int]:
    """Kind and size in bits of a public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}", key.key_size
    return type(key).__name__.strip("_").removesuffix("PublicKey"), getattr(key, "key_size", 0)


def shape_of(common_name: str) -> tuple[str, str] | None:
    """The local ID and the ODS code of a common name as MESH asks for; None for another form."""
    shape = _COMMON_NAME.fullmatch(common_name)
    return (shape[1], shape[2]) if shape else None


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it says that it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except Exception:
        return False


def same_key(first: Any, second: Any) -> bool:
    """Whether two public keys are the same."""
    return _public(first) == _public(second)


def _public(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def facts_of(certificate: x509.Certificate) -> Facts:
    """The facts of one certificate."""
    kind, size = key_of(certificate.public_key())
    digest = certificate.signature_hash_algorithm
    return Facts(
        subject=name_of(certificate.subject),
        issuer=name_of(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key_kind=kind,
        key_size=size,
        signature=_signature_words(digest.name if digest else "", certificate.signature_algorithm_oid),
        is_authority=is_authority(certificate),
    )


def _signature_words(digest: str, algorithm: x509.ObjectIdentifier) -> str:
    name = re.sub(r"^SHA(\d)", r"SHA-\1", digest.upper()) or "no digest"
    return f"{name} with {'ECDSA' if 'ecdsa' in (algorithm._name or '').lower() else 'RSA'}" if digest else algorithm._name


def in_order(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """``leaf``, its issuer, that one's issuer and so on, as far as ``others`` go; and those of ``others`` that are left over."""
    chain, rest = [leaf], list(others)
    while len(chain) < _MAX_CHAIN and chain[-1].subject != chain[-1].issuer:
        issuers = [other for other in rest if _signed_by(chain[-1], other)]
        if not issuers:
            break
        # An authority that was renewed under its old key: the one that lasts longest.
        issuer = max(issuers, key=lambda found: found.not_valid_after_utc)
        chain.append(issuer)
        rest = [other for other in rest if other is not issuer]
    return chain, rest


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    if tried(lambda: _verified(certificate, issuer)):
        return True
    # What is signed with SHA-1 cannot be checked here any more: the ids of the keys must do.
    return _weakly_signed(certificate) and _same_key_id(certificate, issuer)


def _verified(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    certificate.verify_directly_issued_by(issuer)
    return True


def _same_key_id(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        wanted = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        return wanted == issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return True


def examine(chain: Sequence[x509.Certificate], now: datetime) -> Examined:
    """The facts of ``chain`` (leaf first) and what to know of it at ``now``."""
    facts = tuple(facts_of(certificate) for certificate in chain)
    leaf = facts[0]
    authority = authorities.known(leaf.issuer)
    ends = [(one.not_after, one.subject) for one in facts]
    if authority is not None:
        ends.append((authority.ends, authority.name))
    expiry, name = min(ends, key=lambda end: end[0])
    cut_by = name if expiry < leaf.not_after else ""
    shape = shape_of(leaf.subject)
    warnings = list(_warnings(chain, facts, authority, now))
    if cut_by and expiry > now:
        warnings.append(
            Warned(
                "cut_short",
                f"Its issuer, {cut_by}, ends on {day(expiry)}, before the certificate does ({day(leaf.not_after)}).",
            )
        )
    if now < expiry <= now + EXPIRY_WARNING:
        warnings.append(Warned("expires_soon", f"It ends on {day(expiry)}. Request a new one now."))
    return Examined(
        leaf=leaf,
        chain=facts,
        authority=authority,
        effective_expiry=expiry,
        cut_by=cut_by,
        local_id=shape[0] if shape else "",
        ods_code=shape[1] if shape else "",
        warnings=tuple(warnings),
    )


def _warnings(
    chain: Sequence[x509.Certificate], facts: Sequence[Facts], authority: authorities.Authority | None, now: datetime
) -> list[Warned]:
    leaf = facts[0]
    found: list[Warned] = []
    if leaf.not_before > now:
        found.append(Warned("not_yet_valid", f"It is not valid before {day(leaf.not_before)}: until then MESH refuses it."))
    if not _COMMON_NAME.fullmatch(leaf.subject):
        found.append(
            Warned(
                "common_name",
                f"Its common name, “{leaf.subject}”, does not have the form that MESH asks for: "
                "<local ID>.<ODS code>.api.mesh-client.nhs.uk.",
            )
        )
    weak = [one for one, certificate in zip(facts, chain, strict=True) if _weakly_signed(certificate)]
    found += [
        Warned("weak_signature", f"The certificate of {one.subject} is signed with {one.signature}, which is no longer safe.")
        for one in weak
    ]
    if chain[0].subject == chain[0].issuer:
        found.append(Warned("self_signed", "It was signed by nobody but itself: MESH does not know it."))
    elif len(chain) == 1:
        known = "" if authority else " How long that one lasts is not known."
        found.append(Warned("chain_missing", f"The certificate of its issuer, {leaf.issuer}, is not with it.{known}"))
    if not _for_clients(chain[0]):
        found.append(Warned("not_for_clients", "It says that it is not meant for clients, and MESH may refuse it for that."))
    return found


def _weakly_signed(certificate: x509.Certificate) -> bool:
    if certificate.subject == certificate.issuer and is_authority(certificate):
        return False  # Nobody relies on the signature of a root.
    digest = certificate.signature_hash_algorithm
    return digest is not None and digest.name in _WEAK


def _for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage
