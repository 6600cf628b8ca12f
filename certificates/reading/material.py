"""A certificate with its key and chain, put together from whatever was brought, or refused with a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certificates.reading import authorities
from certificates.reading.containers import Contents, Source, unpack
from certificates.reading.examine import Examined, Facts, Warned, day, examine, in_order, is_authority, name_of, same_key
from certificates.reading.refusals import CannotUse

MAX_PASSPHRASE = 500
MIN_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@dataclass(frozen=True)
class Material:
    """What is kept: PEM of the chain (leaf first) and of the key (PKCS #8, in clear: to be sealed at once)."""

    certificate_pem: str
    private_key_pem: str = field(repr=False)
    examined: Examined
    warnings: tuple[Warned, ...]


def read(sources: Sequence[Source], passphrase: str = "", *, environment: str, now: datetime) -> Material:
    """The one certificate with its key in ``sources``, for mailboxes of ``environment``.

    Raises CannotUse with one sentence when there is none, more than one, or one that MESH would refuse at ``now``.
    """
    if len(passphrase) > MAX_PASSPHRASE:
        raise CannotUse("passphrase_wrong", f"A passphrase has at most {MAX_PASSPHRASE} characters here.", about="passphrase")
    contents = Contents()
    for source in sources:
        unpack(source, passphrase, contents)
    certificates = list({found.public_bytes(serialization.Encoding.DER): found for found in contents.certificates}.values())
    where = " and ".join(source.where for source in sources) or "what was given"
    key, leaf = _pair(contents.keys, certificates, where)
    if is_authority(leaf):
        raise CannotUse(
            "authority_as_leaf",
            f"The key belongs to {name_of(leaf.subject)}, the certificate of an authority (CA) and not of a client.",
        )
    _check_key(key)
    chain, left_out = in_order(leaf, [found for found in certificates if found is not leaf])
    examined = examine(chain, now)
    _check_signatures(examined)
    _check_time(examined, now)
    warnings = [*_check_environment(examined, environment), *examined.warnings]
    if left_out:
        names = ", ".join(sorted({name_of(found.subject) for found in left_out})[:5])
        warnings.append(Warned("left_out", f"Left out, because not in the chain of this certificate: {names}."))
    return Material(
        certificate_pem="".join(found.public_bytes(serialization.Encoding.PEM).decode() for found in chain),
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        examined=examined,
        warnings=tuple(warnings),
    )


def _pair(keys: Sequence[Any], certificates: Sequence[x509.Certificate], where: str) -> tuple[Any, x509.Certificate]:
    if not keys and not certificates:
        raise CannotUse("nothing", f"There is neither a certificate nor a key in {where}.")
    if not keys:
        names = name_of(certificates[0].subject)
        raise CannotUse(
            "no_key", f"There is no private key in {where}, only the certificate of {names}. Add the key it was requested with."
        )
    if not certificates:
        raise CannotUse("no_certificate", f"There is a private key in {where} but no certificate. Add the certificate.")
    pairs: dict[bytes, tuple[Any, x509.Certificate]] = {}
    for key in keys:
        for certificate in certificates:
            if same_key(key.public_key(), certificate.public_key()):
                pairs[certificate.public_bytes(serialization.Encoding.DER)] = (key, certificate)
    if not pairs:
        leaf = next((found for found in certificates if not is_authority(found)), certificates[0])
        raise CannotUse(
            "key_mismatch",
            f"The private key does not belong to the certificate of {name_of(leaf.subject)}: it was requested with another key.",
        )
    clients = [pair for pair in pairs.values() if not is_authority(pair[1])] or list(pairs.values())
    if len(clients) > 1:
        names = ", ".join(
            f"{name_of(certificate.subject)} (until {day(certificate.not_valid_after_utc)})" for _, certificate in clients[:5]
        )
        raise CannotUse("several", f"There are {len(clients)} certificates with keys in {where}: {names}. Bring one at a time.")
    return clients[0]


def _check_key(key: Any) -> None:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise CannotUse("key_too_small", f"The key is RSA of {key.key_size} bits; MESH takes no less than {MIN_RSA_BITS}.")
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, _CURVES):
        raise CannotUse("key_kind", "The key is neither RSA nor on an elliptic curve that TLS clients use (P-256, P-384, P-521).")


def too_small(facts: Facts) -> bool:
    """Whether the key is smaller than MESH takes."""
    return facts.key_kind == "RSA" and facts.key_size < MIN_RSA_BITS


def _check_signatures(examined: Examined) -> None:
    weak = next((warned for warned in examined.warnings if warned.code == "weak_signature"), None)
    if weak is not None:
        # Tried: OpenSSL's default level refuses to load it (CA_MD_TOO_WEAK), so no mailbox could be polled with it.
        raise CannotUse(weak.code, f"{weak.sentence} TLS refuses it.")


def _check_time(examined: Examined, now: datetime) -> None:
    leaf = examined.leaf
    if leaf.not_after <= now:
        raise CannotUse("expired", f"The certificate of {leaf.subject} expired on {day(leaf.not_after)}.")
    if examined.effective_expiry <= now:
        raise CannotUse(
            "issuer_expired",
            f"The certificate of {leaf.subject} cannot be used: its issuer, {examined.cut_by}, expired on "
            f"{day(examined.effective_expiry)}.",
        )


def _check_environment(examined: Examined, environment: str) -> list[Warned]:
    authority = examined.authority
    if authority is None or authority.environment == environment:
        return []
    words = authorities.ENVIRONMENT_WORDS
    said = f"was issued by {authority.name}, for the {words[authority.environment]} environment"
    if environment in ("live", "int"):
        raise CannotUse("environment", f"This certificate {said}, not for {words[environment]}.")
    return [Warned("environment", f"It {said}.")]
