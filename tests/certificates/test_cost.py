"""Files that would keep a worker busy are refused before they are opened."""

from __future__ import annotations

import hashlib
import random
import time

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from certificates.reading import MAX_BYTES, rc2
from tests.certificates.making import PASSPHRASE
from tests.certificates.test_matrix import refused


def test_size_is_looked_at_before_anything_else() -> None:
    noise = random.Random(3).randbytes(1_000_000) * 50
    for start in (b"", b"\x30\x84", b"-----BEGIN CERTIFICATE-----", b"\xfe\xed\xfe\xed"):
        began = time.monotonic()
        assert refused(start + noise, passphrase=PASSPHRASE).code == "too_large"
        assert time.monotonic() - began < 0.5
    # As much as is taken, in the form that gives a reader most to do.
    for unit in (
        b"-----BEGIN ",
        b"-----BEGIN A-----",
        b"-----BEGIN A-----\n-----END B-----",
        b"\x30\x80",
        b"\x24\x80",
        b"0",
        b"\x30\x00",
    ):
        began = time.monotonic()
        refused((unit * MAX_BYTES)[:MAX_BYTES], passphrase=PASSPHRASE)
        assert time.monotonic() - began < 3
    keystore = b"\xfe\xed\xfe\xed\0\0\0\2\xff\xff\xff\xff" + b"\0" * 1000
    assert refused(keystore, passphrase=PASSPHRASE).code == "keystore_damaged"


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + content


def number(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


OIDS = {
    "pbes2": "2a864886f70d01050d",
    "pbkdf2": "2a864886f70d01050c",
    "scrypt": "2b06010401da47040b",
    "aes": "60864801650304012a",
    "3des": "2a864886f70d010c0103",
    "data": "2a864886f70d010701",
    "shrouded": "2a864886f70d010c0a0102",
    "sha1": "2b0e03021a",
}


def oid(name: str) -> bytes:
    return tlv(6, bytes.fromhex(OIDS[name]))


def protected_key(derivation: bytes) -> bytes:
    cipher = sequence(oid("aes"), tlv(4, bytes(16)))
    return sequence(sequence(oid("pbes2"), sequence(derivation, cipher)), tlv(4, bytes(64)))


def pfx(*, bag: int = 2048, mac: int = 2048, cut: bool = False) -> bytes:
    key = sequence(sequence(oid("3des"), sequence(tlv(4, bytes(8)), number(bag))), tlv(4, bytes(64)))
    bags = sequence(sequence(oid("shrouded"), tlv(0xA0, key)))
    safe = sequence(sequence(oid("data"), tlv(0xA0, tlv(4, bags))))
    held = tlv(0x24, tlv(4, safe[:30]), tlv(4, safe[30:])) if cut else tlv(4, safe)
    digest = sequence(sequence(oid("sha1"), tlv(5)), tlv(4, bytes(20)))
    return sequence(number(3), sequence(oid("data"), tlv(0xA0, held)), sequence(digest, tlv(4, bytes(8)), number(mac)))


@pytest.mark.parametrize("count", [2**31 - 1, 2**31, 2**63, 3_000_001])
def test_a_passphrase_that_is_to_be_hashed_for_ever(count: int) -> None:
    bombs = [
        protected_key(sequence(oid("pbkdf2"), sequence(tlv(4, bytes(8)), number(count)))),
        pfx(bag=count),
        pfx(mac=count),
        pfx(bag=count, cut=True),
    ]
    for bomb in bombs:
        refusal = refused(bomb, passphrase=PASSPHRASE)
        assert refusal.code == "iterations"
        assert "too long" in str(refusal)


def test_scrypt_that_takes_all_memory_negative_counts_and_many_small_ones() -> None:
    for n, r, p in ((2**30, 8, 1), (2**14, 2**20, 1), (2**14, 8, 2**30)):
        kdf = sequence(oid("scrypt"), sequence(tlv(4, bytes(8)), number(n), number(r), number(p)))
        assert refused(protected_key(kdf), passphrase=PASSPHRASE).code == "iterations"
    negative = sequence(oid("pbkdf2"), sequence(tlv(4, bytes(8)), tlv(2, b"\xff")))
    assert refused(protected_key(negative), passphrase=PASSPHRASE).code == "iterations"
    many = sequence(*[sequence(tlv(4, bytes(8)), number(400_000)) for _ in range(20)])
    assert refused(sequence(number(3), sequence(oid("data"), tlv(0xA0, tlv(4, many)))), passphrase="x").code == "iterations"
    huge = sequence(number(0), number(2**80_000 + 1), number(65537))
    assert refused(huge).code == "key_too_large"
    assert refused(
        protected_key(sequence(oid("pbkdf2"), sequence(tlv(4, bytes(8)), number(1)))) + b"x" * 6000, passphrase="x"
    ).code in {"key_too_large"}


def test_a_key_that_is_protected_once_more_inside_what_is_encrypted() -> None:
    """Only whoever knows the passphrase sees that count: the outer layer is opened, and the inner one measured."""
    bag = sequence(sequence(oid("3des"), sequence(tlv(4, bytes(8)), number(2**31 - 1))), tlv(4, bytes(64)))
    bags = sequence(sequence(oid("shrouded"), tlv(0xA0, bag)))
    key, start = hashlib.pbkdf2_hmac("sha1", b"x", bytes(8), 2048, 32), bytes(16)
    padding = 16 - len(bags) % 16
    encryptor = Cipher(AES(key), modes.CBC(start)).encryptor()
    hidden = encryptor.update(bags + bytes([padding]) * padding) + encryptor.finalize()
    derivation = sequence(oid("pbkdf2"), sequence(tlv(4, bytes(8)), number(2048)))
    algorithm = sequence(oid("pbes2"), sequence(derivation, sequence(oid("aes"), tlv(4, start))))
    encrypted = sequence(number(0), sequence(oid("data"), algorithm, tlv(0x80, hidden)))
    safe = sequence(sequence(tlv(6, bytes.fromhex("2a864886f70d010706")), tlv(0xA0, encrypted)))
    assert refused(sequence(number(3), sequence(oid("data"), tlv(0xA0, tlv(4, safe)))), passphrase="x").code == "iterations"
    assert refused(sequence(number(3), sequence(oid("data"), tlv(0xA0, tlv(4, safe)))), passphrase="y").code == "passphrase_wrong"


def test_rc2_as_others_have_it() -> None:
    """RFC 2268, section 5; and against the library, which knows keys of 128 bits only."""
    for key, bits, clear, sealed in (
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
    ):
        assert rc2.decrypt_cbc(bytes.fromhex(key), bits, bytes(8), bytes.fromhex(sealed)).hex() == clear
    rng = random.Random(5)
    for _ in range(100):
        secret, start, text = rng.randbytes(16), rng.randbytes(8), rng.randbytes(32)
        encryptor = Cipher(RC2(secret), modes.CBC(start)).encryptor()
        assert rc2.decrypt_cbc(secret, 128, start, encryptor.update(text) + encryptor.finalize()) == text
