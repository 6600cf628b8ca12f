"""Sun's Java keystore (JKS), as older MESH clients keep their key in.

The format is that of ``sun.security.provider.JavaKeyStore``: a magic number, entries, and a SHA-1 over the password, a phrase
and all of it. A key is protected by ``KeyProtector`` of the same package: a stream of SHA-1 digests, each of the password and
the one before, beginning with a salt; and a digest of the password and the key behind it. SHA-1 is the format's choice.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from certificates.reading import der
from certificates.reading.refusals import CannotUse

MAGIC = b"\xfe\xed\xfe\xed"
JCEKS_MAGIC = b"\xce\xce\xce\xce"
_KEY_ENTRY, _CERTIFICATE_ENTRY = 1, 2
_PROTECTOR = "1.3.6.1.4.1.42.2.17.1.1"
_PHRASE = b"Mighty Aphrodite"
_DIGEST = 20
_MAX_ENTRIES = 1000


@dataclass(frozen=True)
class Keystore:
    """What a keystore holds, in its order: keys as PKCS #8, certificates as DER."""

    keys: tuple[bytes, ...] = field(repr=False)
    certificates: tuple[bytes, ...]


class _Cut(Exception):
    """The file ends before what it announces."""


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise _Cut
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def read(data: bytes, passphrase: str, where: str) -> Keystore:
    """The keystore in ``data``. Raises CannotUse when it is damaged, the passphrase is missing or does not open it."""
    damaged = CannotUse("keystore_damaged", f"The Java keystore in {where} is damaged: it ends early or is not in order.")
    if len(data) < 12 + _DIGEST:
        raise damaged
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    try:
        protected, certificates = _entries(_Bytes(body))
    except _Cut:
        raise damaged from None
    if not passphrase:
        raise CannotUse("passphrase_needed", f"The Java keystore in {where} has a passphrase: give it.", about="passphrase")
    secret = passphrase.encode("utf-16-be", errors="replace")
    if not hmac.compare_digest(hashlib.sha1(secret + _PHRASE + body).digest(), digest):  # noqa: S324
        raise CannotUse(
            "passphrase_wrong",
            f"The passphrase does not open the Java keystore in {where}, or the file was altered.",
            about="passphrase",
        )
    return Keystore(tuple(_opened(key, secret, where) for key in protected), tuple(certificates))


def _entries(data: _Bytes) -> tuple[list[bytes], list[bytes]]:
    data.take(4)
    version, number = data.number(4), data.number(4)
    if version not in (1, 2) or number > _MAX_ENTRIES:
        raise _Cut
    keys: list[bytes] = []
    certificates: list[bytes] = []
    for _ in range(number):
        kind = data.number(4)
        data.take(data.number(2) + 8)  # The entry's name and when it was made.
        if kind == _KEY_ENTRY:
            keys.append(data.take(data.number(4)))
            chain = data.number(4)
        elif kind == _CERTIFICATE_ENTRY:
            chain = 1
        else:
            raise _Cut
        for _ in range(chain):
            if version == 2:
                data.take(data.number(2))  # The kind, "X.509".
            certificates.append(data.take(data.number(4)))
    if data.left:
        raise _Cut
    return keys, certificates


def _opened(protected: bytes, secret: bytes, where: str) -> bytes:
    damaged = CannotUse("keystore_damaged", f"A key in the Java keystore in {where} is damaged.")
    if len(protected) > der.MAX_PROTECTED_KEY:
        raise CannotUse("key_too_large", f"A key in the Java keystore in {where} is longer than any that MESH takes.")
    try:
        tree = der.parse(protected)
    except der.Malformed:
        raise damaged from None
    if tree.shape() != [der.SEQUENCE, der.OCTET_STRING] or tree.inside[0].shape()[:1] != [der.OID]:
        raise damaged
    if der.oid(tree.inside[0].inside[0].content) != _PROTECTOR:
        raise CannotUse(
            "keystore_kind",
            f"A key in the Java keystore in {where} is protected in a way that the portal does not read. Convert it with "
            "keytool -importkeystore -deststoretype PKCS12.",
        )
    sealed = tree.inside[1].content
    salt, body, digest = sealed[:_DIGEST], sealed[_DIGEST:-_DIGEST], sealed[-_DIGEST:]
    if len(sealed) <= 2 * _DIGEST:
        raise damaged
    stream = b""
    last = salt
    while len(stream) < len(body):
        last = hashlib.sha1(secret + last).digest()  # noqa: S324
        stream += last
    key = bytes(mask ^ byte for mask, byte in zip(stream, body, strict=False))
    if not hmac.compare_digest(hashlib.sha1(secret + key).digest(), digest):  # noqa: S324
        raise CannotUse(
            "passphrase_wrong",
            f"The passphrase opens the Java keystore in {where} but not the key inside, which has one of its own. Give both the "
            "same with keytool -keypasswd.",
            about="passphrase",
        )
    return key
