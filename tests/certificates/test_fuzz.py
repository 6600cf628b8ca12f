"""Ten thousand altered files: each is accepted or refused with a sentence, soon, and never ends in another exception."""

from __future__ import annotations

import random
import time

import pytest

from certificates.reading import CannotUse, Source, read
from tests.certificates.making import CN, KEYTOOL_PASSPHRASE, Making, Pair
from tests.certificates.test_matrix import NOW
from tests.conftest import Need

pytestmark = pytest.mark.fuzz
ROUNDS = 10_000
WORDS = [b"-----BEGIN ", b"-----END ", b"-----", b"CERTIFICATE", b"ENCRYPTED ", b"Proc-Type: 4,ENCRYPTED", b"\xff\xfe", b"\0\0"]
NUMBERS = [b"\x02\x04\x7f\xff\xff\xff", b"\x02\x01\x00", b"\x30\x80", b"\x24\x80", b"\x84\xff\xff\xff\xff", b"\x00\x00\x00\x00"]


def altered(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """``data`` with a few of the changes that break readers."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(8):
            case 0 | 1:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                del changed[at : at + rng.choice((1, 4, 50, 5000))]
            case 3:
                changed[at:at] = rng.choice(WORDS)
            case 4:
                number = rng.choice(NUMBERS)
                changed[at : at + len(number)] = number
            case 5:
                other = rng.choice(corpus)
                start = rng.randrange(len(other))
                changed[at:at] = other[start : start + rng.choice((3, 40, 2000))]
            case 6:
                changed[at:at] = changed[at : at + rng.choice((1, 20, 800))]
            case _ if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def test_ten_thousand_altered_files(need: Need, making: Making, good: Pair) -> None:
    need("keytool")
    rsa = making.issue(CN, making.authority, kind="rsa2048")
    secret = ("-passout", f"pass:{KEYTOOL_PASSPHRASE}")
    key = making.openssl("pkcs8", "-topk8", "-in", good.key, *secret)
    corpus = [
        good.pem + good.key_pem + making.chain(),
        key + good.pem,
        making.openssl("pkey", "-in", good.key, "-traditional", "-aes256", *secret) + good.pem,
        rsa.key_pem + rsa.pem,
        making.openssl("x509", "-in", good.certificate, "-outform", "DER"),
        making.openssl("pkcs8", "-topk8", "-in", good.key, "-outform", "DER", *secret),
        making.openssl("pkcs8", "-topk8", "-scrypt", "-in", good.key, "-outform", "DER", *secret),
        making.pkcs12(good, passphrase=KEYTOOL_PASSPHRASE),
        making.pkcs12(good, "-legacy", passphrase=KEYTOOL_PASSPHRASE),
        making.pkcs12(good, "-nomac", "-keypbe", "NONE", "-certpbe", "NONE", passphrase=KEYTOOL_PASSPHRASE),
        making.keystore(good, "JKS"),
        making.keystore(good, "PKCS12"),
        (good.pem + good.key_pem).decode().encode("utf-16"),
    ]
    rng = random.Random(20261125)
    ends: dict[str, int] = {}
    longest = 0.0
    whole = time.monotonic()
    for number in range(ROUNDS):
        data = altered(rng, corpus[number % len(corpus)], corpus)
        passphrase = KEYTOOL_PASSPHRASE if rng.randrange(10) else ""
        sources = [Source("the file", data)]
        if rng.randrange(4) == 0:
            sources.append(Source("the key", altered(rng, key, corpus)))
        began = time.monotonic()
        try:
            material = read(sources, passphrase, environment="int", now=NOW)
            code = "accepted"
            assert material.private_key_pem.startswith("-----BEGIN ")
        except CannotUse as refusal:
            code = refusal.code
            said = str(refusal)
            assert said.endswith(".")
            assert said.isprintable(), said
            assert len(said) < 500
            assert "PLANTED" not in said
        longest = max(longest, time.monotonic() - began)
        ends[code] = ends.get(code, 0) + 1
    print(f"{time.monotonic() - whole:.0f} s, the longest {longest:.2f} s: {sorted(ends.items())}")
    assert longest < 10
    # The changes must not all end at the same early check.
    assert len(ends) >= 12
    assert ends["accepted"] > 50
