"""A trust bundle: the authorities (CAs) that the servers of one environment are checked against.

What is wrong with it is found before it is kept: a bundle that TLS cannot load, or that vouches for nobody, silences every
mailbox of its environment.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certificates.reading import authorities
from certificates.reading.containers import CERTIFICATE_LABELS, OTHER_LABELS, blocks, certificates_in, check_size, plain_text
from certificates.reading.examine import EXPIRY_WARNING, Facts, Warned, day, facts_of, is_authority, name_of
from certificates.reading.guard import tried
from certificates.reading.refusals import CannotUse


def read_bundle(data: bytes, where: str, now: datetime) -> list[x509.Certificate]:
    """The authorities of a PEM text, in their order, each once.

    Raises CannotUse with one sentence when something else is in it, a key above all, or none of them can be used at ``now``.
    """
    check_size(data, where)
    if not data.strip():
        raise CannotUse("empty", f"There is nothing in {where}.")
    for label, _, _ in blocks(plain_text(data), where):
        _check_label(label, where)
    found = {one.public_bytes(serialization.Encoding.DER): one for one in certificates_in(data, where)}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for encoded, one in found.items():
        if not _signs_others(one):
            raise CannotUse(
                "no_authority",
                f"{name_of(one.subject)} in {where} is not an authority (CA) but the certificate of one server or client.",
            )
        try:
            context.load_verify_locations(cadata=encoded)
            facts_of(one)
        except Exception:
            # OpenSSL reads more strictly than what read it first, and an unknown key is no ValueError.
            raise CannotUse("unreadable", f"TLS cannot read the certificate of {name_of(one.subject)} in {where}.") from None
    if not any(one.not_valid_before_utc <= now < one.not_valid_after_utc for one in found.values()):
        raise CannotUse("none_valid", f"No authority in {where} is valid now, so no server could be trusted by it.")
    return list(found.values())


def bundle_warnings(facts: Sequence[Facts], *, environment: str, now: datetime, server_issuer: str = "") -> list[Warned]:
    """What to know of the authorities of ``environment`` at ``now``. ``server_issuer``: who issued the server's present
    certificate, or ''."""
    if not any(one.not_before <= now < one.not_after for one in facts):
        return [Warned("none_valid", "No authority in it is valid now: no server is trusted, and no mailbox can be worked.")]
    found = []
    for one in facts:
        authority = authorities.known(one.subject)
        # The server would not be trusted without it.
        whose = "server_issuer" if one.subject == server_issuer else "authority"
        more = " The server’s present certificate was issued by it." if one.subject == server_issuer else ""
        if one.not_after <= now:
            found.append(Warned(f"{whose}_expired", f"{one.subject} expired on {day(one.not_after)}.{more}"))
        elif one.not_before > now:
            found.append(Warned(f"{whose}_not_yet_valid", f"{one.subject} is not valid before {day(one.not_before)}.{more}"))
        elif one.not_after <= now + EXPIRY_WARNING:
            found.append(Warned(f"{whose}_ends_soon", f"{one.subject} ends on {day(one.not_after)}.{more}"))
        if authority is not None and environment in ("live", "int") and authority.environment != environment:
            words = authorities.ENVIRONMENT_WORDS[authority.environment]
            found.append(Warned("other_environment", f"{one.subject} is an authority of the {words} environment."))
    return found


def _check_label(label: str, where: str) -> None:
    if label in CERTIFICATE_LABELS:
        return
    if label.endswith("PRIVATE KEY"):
        raise CannotUse(
            "private_key", f"There is a private key in {where}. A trust bundle holds certificates of authorities (CAs) alone."
        )
    other = f"a block “{label if label.isprintable() else '…'}”, which is no certificate"
    raise CannotUse("other_block", f"There is {OTHER_LABELS.get(label, other)}, in {where}.")


def _signs_others(certificate: x509.Certificate) -> bool:
    # A root of X.509 version 1 says nothing of what it may do.
    by_itself = certificate.subject == certificate.issuer and certificate.version == x509.Version.v1
    return tried(lambda: is_authority(certificate)) or by_itself
