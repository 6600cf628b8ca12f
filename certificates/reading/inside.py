"""What stands encrypted inside a PKCS #12 file, looked at before a parser works through it.

Opening the outer layer may bring up a key that is protected once more, with a count of its own (RFC 7292 allows it). So that
layer is opened here first, and what is in it is measured like the rest.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from certificates.reading import der, rc2
from certificates.reading.guard import tried
from certificates.reading.refusals import CannotUse

_PBES2, _PBKDF2 = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12"
_DIGESTS = {f"1.2.840.113549.2.{number}": name for number, name in ((7, "sha1"), (8, "sha224"), (9, "sha256"), (10, "sha384"))}
_DIGESTS["1.2.840.113549.2.11"] = "sha512"
_AES = {"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}
_3DES_CBC = "1.2.840.113549.3.7"
# RFC 7292, appendix C: the length of the key; 3DES with two or three keys, RC2 with 128 or 40 bits.
_LEGACY = {f"1.2.840.113549.1.12.1.{number}": size for number, size in ((3, 24), (4, 16), (5, 16), (6, 5))}
_RC2 = ("1.2.840.113549.1.12.1.5", "1.2.840.113549.1.12.1.6")
# The old derivation and RC2 are worked here in Python.
_MAX_LEGACY_ITERATIONS = 300_000
_MAX_LEGACY_BYTES = 128 * 1024
_KEY, _START = 1, 2


def check(tree: der.Node, secret: bytes | None, where: str) -> bool:
    """False when ``secret`` does not open what is encrypted in the PKCS #12 file ``tree``. Raises CannotUse as check_cost."""
    for node in der.everything(tree):
        if node.shape()[:2] != [der.OID, der.SEQUENCE] or len(node.inside) != 3 or node.inside[2].tag not in (0x80, 0xA0):
            continue
        algorithm, content = node.inside[1], node.inside[2]
        if algorithm.shape() != [der.OID, der.SEQUENCE]:
            return False
        # BER may cut it into pieces.
        data = b"".join(piece.content for piece in content.inside) if content.tag == 0xA0 else content.content
        clear = _opened(algorithm, data, secret, where)
        if clear is None:
            return False
        try:
            der.check_cost(clear, where)
        except der.Malformed:
            return False
    return True


def _opened(algorithm: der.Node, data: bytes, secret: bytes | None, where: str) -> bytes | None:
    name, parameters = der.oid(algorithm.inside[0].content), algorithm.inside[1]
    if name == _PBES2:
        return tried(lambda: _modern(parameters, data, secret or b""))
    if name not in _LEGACY:
        raise CannotUse(
            "unknown_format",
            f"What is in {where} is encrypted in a way that the portal does not read. Export it again with AES or 3DES.",
        )
    if parameters.shape() != [der.OCTET_STRING, der.INTEGER]:
        return None
    salt, count = parameters.inside[0].content, int.from_bytes(parameters.inside[1].content, "big")
    if count > _MAX_LEGACY_ITERATIONS or len(data) > _MAX_LEGACY_BYTES:
        raise CannotUse("iterations", f"Opening {where} would take too long: it is encrypted in an old way, at great length.")
    return tried(lambda: _legacy(name, salt, count, data, secret))


def _modern(parameters: der.Node, data: bytes, secret: bytes) -> bytes | None:
    derivation, cipher = parameters.inside
    if der.oid(derivation.inside[0].content) != _PBKDF2:
        return None
    given = derivation.inside[1].inside
    salt, count = given[0].content, int.from_bytes(given[1].content, "big")
    named = next((node for node in given if node.tag == der.SEQUENCE), None)
    digest = _DIGESTS[der.oid(named.inside[0].content)] if named else "sha1"
    kind, start = der.oid(cipher.inside[0].content), cipher.inside[1].content
    size = 24 if kind == _3DES_CBC else _AES[kind]
    key = hashlib.pbkdf2_hmac(digest, secret, salt, count, size)
    return _cbc(TripleDES(key) if kind == _3DES_CBC else AES(key), start, data)


def _legacy(name: str, salt: bytes, count: int, data: bytes, secret: bytes | None) -> bytes:
    password = b"" if secret is None else secret.decode().encode("utf-16-be") + b"\0\0"
    size = _LEGACY[name]
    key = _derived(password, salt, count, _KEY, size)
    start = _derived(password, salt, count, _START, 8)
    if name in _RC2:
        return rc2.decrypt_cbc(key, 8 * size, start, data)
    return _cbc(TripleDES(key if size == 24 else key + key[:8]), start, data)


def _cbc(cipher: AES | TripleDES, start: bytes, data: bytes) -> bytes:
    decryptor = Cipher(cipher, modes.CBC(start)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def _derived(password: bytes, salt: bytes, count: int, purpose: int, size: int) -> bytes:
    """The key derivation of RFC 7292, appendix B.2, with SHA-1."""
    block = 64

    def filled(part: bytes) -> bytes:
        whole = -(-len(part) // block) * block
        return (part * (whole // max(len(part), 1) + 1))[:whole]

    mixed = filled(salt) + filled(password)
    found = b""
    while len(found) < size:
        digest = bytes([purpose]) * block + mixed
        for _ in range(max(count, 1)):
            digest = hashlib.sha1(digest).digest()  # noqa: S324
        found += digest
        add = int.from_bytes((digest * 4)[:block], "big") + 1
        parts = (mixed[at : at + block] for at in range(0, len(mixed), block))
        mixed = b"".join(((int.from_bytes(part, "big") + add) % (1 << 8 * block)).to_bytes(block, "big") for part in parts)
    return found[:size]
