"""From bytes to certificates and keys, whatever they stand in: PEM, DER, PKCS #12 or a Java keystore."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from certificates.reading import der, inside, jks
from certificates.reading.examine import facts_of
from certificates.reading.guard import tried
from certificates.reading.refusals import MAX_BYTES, CannotUse

MAX_CERTIFICATES = 50
_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"
CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
# RFC 1421: the cipher and its initialisation vector, which must be as long as a block.
_DEK_INFO = re.compile(rb"DEK-Info:\s*(?:AES-(?:128|192|256)-CBC,[0-9A-Fa-f]{32}|DES-EDE3-CBC,[0-9A-Fa-f]{16})\s")
_PLAIN_KEYS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
OTHER_LABELS = {
    "CERTIFICATE REQUEST": "a certificate request, not the certificate that was issued for it",
    "NEW CERTIFICATE REQUEST": "a certificate request, not the certificate that was issued for it",
    "PKCS7": "a PKCS #7 bundle, which the portal does not read: export it as PEM",
    "OPENSSH PRIVATE KEY": "an SSH key, which MESH does not take",
    "DSA PRIVATE KEY": "a DSA key, which MESH does not take",
    "TRUSTED CERTIFICATE": "a certificate in OpenSSL’s own form: export it as plain PEM",
}


@dataclass(frozen=True)
class Source:
    """Something that was brought: ``where`` names it in sentences ("the file key.pem", "what was pasted")."""

    where: str
    data: bytes = field(repr=False)


@dataclass
class Contents:
    """What all sources held together."""

    certificates: list[x509.Certificate] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list, repr=False)


def certificates_in(data: bytes, where: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, in their order. Raises CannotUse."""
    check_size(data, where)
    text = plain_text(data)
    if _BEGIN not in text:
        raise CannotUse("not_pem", "This is not a PEM certificate: it should begin with “-----BEGIN CERTIFICATE-----”.")
    found = [
        _certificate(_decoded(body, where), where, number)
        for number, (label, body, _) in enumerate(blocks(text, where), 1)
        if label in CERTIFICATE_LABELS
    ]
    if not found:
        raise CannotUse("no_certificate", f"There is no certificate in {where}.")
    return found


def unpack(source: Source, passphrase: str, into: Contents) -> None:
    """Adds what ``source`` holds to ``into``. Raises CannotUse."""
    data, where = source.data, source.where
    check_size(data, where)
    if not data.strip():
        raise CannotUse("empty", f"There is nothing in {where}.")
    text = plain_text(data)
    if _BEGIN in text:
        _unpack_pem(text, where, passphrase, into)
    elif data.startswith(jks.MAGIC):
        _unpack_jks(data, where, passphrase, into)
    elif data.startswith(jks.JCEKS_MAGIC):
        raise CannotUse(
            "keystore_kind",
            f"There is a Java keystore of the kind JCEKS in {where}, which the portal does not read. Convert it with "
            "keytool -importkeystore -deststoretype PKCS12.",
        )
    elif data[:1] == b"\x30":
        _unpack_der(data, where, passphrase, into)
    else:
        raise CannotUse(
            "unknown_format",
            f"There is no certificate or key in {where}: it is neither PEM (“-----BEGIN …”), DER, PKCS #12 (.p12, .pfx) nor a "
            "Java keystore (.jks).",
        )
    if len(into.certificates) > MAX_CERTIFICATES:
        raise CannotUse("too_many", f"There are more than {MAX_CERTIFICATES} certificates in {where}; a chain has three or four.")


def check_size(data: bytes, where: str) -> None:
    """Raises CannotUse for more than :data:`MAX_BYTES`."""
    if len(data) > MAX_BYTES:
        raise CannotUse("too_large", f"Too large to be a certificate: {where} holds more than 1 MB.")


def plain_text(data: bytes) -> bytes:
    """A text in bytes, whatever editor kept it."""
    # Windows' editors keep text in UTF-16.
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace").encode("ascii", errors="replace")
    return data


# --- PEM --------------------------------------------------------------------------------------------------------------
def blocks(text: bytes, where: str) -> list[tuple[str, bytes, bytes]]:
    """Each block's label, its inside and the whole of it. Every byte is looked at once, whatever the text is."""
    found: list[tuple[str, bytes, bytes]] = []
    at = 0
    while (start := text.find(_BEGIN, at)) >= 0:
        label_end = text.find(_DASHES, start + len(_BEGIN), start + 80)
        if label_end < 0:
            at = start + len(_BEGIN)
            continue
        label = text[start + len(_BEGIN) : label_end]
        closing = _END + label + _DASHES
        end = text.find(_END, label_end)
        if end < 0 or text[end : end + len(closing)] != closing:
            name = label.decode("ascii", errors="replace")
            if not name.isprintable():
                name = "…"
            raise CannotUse("pem_cut", f"A block in {where} begins with “BEGIN {name}” but has no “END {name}”: part is missing.")
        at = end + len(closing)
        found.append((label.decode("ascii", errors="replace").strip(), text[label_end + len(_DASHES) : end], text[start:at]))
        if len(found) > 4 * MAX_CERTIFICATES:
            raise CannotUse("too_many", f"There are more than {4 * MAX_CERTIFICATES} PEM blocks in {where}.")
    return found


def _unpack_pem(text: bytes, where: str, passphrase: str, into: Contents) -> None:
    number = 0
    usable = False
    other = ""
    for label, body, whole in blocks(text, where):
        if label in CERTIFICATE_LABELS:
            number += 1
            into.certificates.append(_certificate(_decoded(body, where), where, number))
        elif label in _PLAIN_KEYS and b"Proc-Type:" in body:
            into.keys.append(_traditional(body, whole, label, where, passphrase))
        elif label in _PLAIN_KEYS:
            into.keys.append(_key(_decoded(body, where), "", where))
        elif label == "ENCRYPTED PRIVATE KEY":
            into.keys.append(_protected_key(_decoded(body, where), passphrase, where))
        else:
            other = other or OTHER_LABELS.get(label, "")
            continue
        usable = True
    if not usable:
        said = f"There is {other}, in {where}." if other else f"There is no certificate or key in {where}."
        raise CannotUse("unknown_format", said)


def _decoded(body: bytes, where: str) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise CannotUse(
            "pem_damaged", f"A PEM block in {where} is damaged: between BEGIN and END stands something that is not Base64."
        ) from None


def _traditional(body: bytes, whole: bytes, label: str, where: str, passphrase: str) -> Any:
    # OpenSSL's own encryption of PEM: hashed once, so that there is no count to look at.
    if len(body) > 2 * der.MAX_PROTECTED_KEY:
        raise _key_too_large(where)
    if not passphrase:
        raise _needed(where)
    if not _DEK_INFO.search(body):
        raise CannotUse("key_damaged", f"The private key in {where} is damaged, or protected in a way that is not read.")
    lines = [line.strip() for line in whole.strip().splitlines()]
    text = b"\n".join(lines) + b"\n"
    key = tried(lambda: serialization.load_pem_private_key(text, passphrase.encode(errors="replace")))
    if key is None:
        raise _wrong(where)
    return key


# --- DER --------------------------------------------------------------------------------------------------------------
def _unpack_der(data: bytes, where: str, passphrase: str, into: Contents) -> None:
    try:
        tree = der.check_cost(data, where)
    except der.Malformed:
        raise CannotUse(
            "damaged", f"What is in {where} begins like a certificate or key but is damaged, or part of it is missing."
        ) from None
    shape = tree.shape()
    if shape[:2] == [der.INTEGER, der.SEQUENCE] and tree.inside[1].shape()[:2] == [der.OID, 0xA0]:
        _unpack_pkcs12(data, tree, where, passphrase, into)
    elif shape == [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        into.certificates.append(_certificate(data, where, 1))
    elif shape == [der.SEQUENCE, der.OCTET_STRING]:
        into.keys.append(_protected_key(data, passphrase, where))
    elif shape[:1] == [der.OID]:
        raise CannotUse("unknown_format", f"There is {OTHER_LABELS['PKCS7']}, in {where}.")
    else:
        into.keys.append(_key(data, "", where))


def _certificate(data: bytes, where: str, number: int) -> x509.Certificate:
    found = tried(lambda: _parsed(data))
    if found is None:
        raise CannotUse("certificate_damaged", f"Certificate {number} in {where} is damaged or of a kind that is not read.")
    return found


def _parsed(data: bytes) -> x509.Certificate:
    found = x509.load_der_x509_certificate(data)
    # Parsed only when asked for, and then anything can come up.
    found.subject.rfc4514_string()
    found.issuer.rfc4514_string()
    list(found.extensions)
    facts_of(found)
    return found


def _key(data: bytes, passphrase: str, where: str) -> Any:
    try:
        der.check_cost(data, where)
    except der.Malformed:
        raise CannotUse("key_damaged", f"The private key in {where} is damaged.") from None
    key = tried(lambda: serialization.load_der_private_key(data, passphrase.encode(errors="replace") or None))
    if key is None:
        if passphrase:
            raise _wrong(where)
        raise CannotUse("key_damaged", f"The private key in {where} is damaged or of a kind that is not read.")
    return key


def _protected_key(data: bytes, passphrase: str, where: str) -> Any:
    if len(data) > der.MAX_PROTECTED_KEY:
        raise _key_too_large(where)
    if not passphrase:
        raise _needed(where)
    return _key(data, passphrase, where)


def _unpack_pkcs12(data: bytes, tree: der.Node, where: str, passphrase: str, into: Contents) -> None:
    for node in der.everything(tree):
        # EncryptedPrivateKeyInfo of a shrouded key.
        protected = node.shape() == [der.SEQUENCE, der.OCTET_STRING] and node.inside[0].shape()[:1] == [der.OID]
        if protected and len(node.inside[1].content) > der.MAX_PROTECTED_KEY:
            raise _key_too_large(where)
    tries = [passphrase.encode(errors="replace")] if passphrase else [b"", None]
    for secret in tries:
        found = _opened(data, secret) if inside.check(tree, secret, where) else None
        if found is None:
            continue
        if found.key is not None:
            into.keys.append(found.key)
        held = [found.cert] if found.cert is not None else []
        for number, one in enumerate([*held, *found.additional_certs], 1):
            into.certificates.append(_certificate(one.certificate.public_bytes(serialization.Encoding.DER), where, number))
        return
    if not passphrase:
        raise _needed(where)
    raise CannotUse("passphrase_wrong", f"The passphrase does not open {where}, or the file is damaged.", about="passphrase")


def _opened(data: bytes, secret: bytes | None) -> pkcs12.PKCS12KeyAndCertificates | None:
    return tried(lambda: pkcs12.load_pkcs12(data, secret))


def _unpack_jks(data: bytes, where: str, passphrase: str, into: Contents) -> None:
    keystore = jks.read(data, passphrase, where)
    if len(keystore.certificates) > MAX_CERTIFICATES and not keystore.keys:
        raise CannotUse("no_key", f"There are only certificates in {where}: it is a truststore. Choose the keystore.")
    into.keys += [_key(key, "", where) for key in keystore.keys]
    into.certificates += [_certificate(one, where, number) for number, one in enumerate(keystore.certificates, 1)]


def _needed(where: str) -> CannotUse:
    return CannotUse("passphrase_needed", f"The key in {where} is protected: give its passphrase.", about="passphrase")


def _wrong(where: str) -> CannotUse:
    return CannotUse(
        "passphrase_wrong", f"The passphrase does not open the key in {where}, or the key is damaged.", about="passphrase"
    )


def _key_too_large(where: str) -> CannotUse:
    return CannotUse("key_too_large", f"The key in {where} is longer than any that MESH takes (RSA of 8,192 bits).")
