"""Every container, key and order that people bring: read to the same material, or refused with the right sentence."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certificates.reading import CannotUse, Material, Source, read
from meshportal.mesh.tls import tls_context
from tests.certificates.making import CN, KEYTOOL_PASSPHRASE, KINDS, PASSPHRASE, Making, Pair
from tests.conftest import Need

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def bring(*parts: bytes, passphrase: str = "", environment: str = "int", now: datetime = NOW) -> Material:
    return read(
        [Source(f"part {number}", part) for number, part in enumerate(parts, 1)], passphrase, environment=environment, now=now
    )


def refused(*parts: bytes, **given: Any) -> CannotUse:
    began = time.monotonic()
    with pytest.raises(CannotUse) as caught:
        bring(*parts, **given)
    assert time.monotonic() - began < 3
    said = str(caught.value)
    assert said.endswith(".")
    assert said.count("\n") == 0
    assert "PLANTED" not in said
    return caught.value


def codes(material: Material) -> set[str]:
    return {warned.code for warned in material.warnings}


def is_whole(material: Material, pair: Pair, making: Making) -> None:
    """The leaf, the authority and the root in this order, and the key of the leaf, that TLS takes."""
    chain = x509.load_pem_x509_certificates(material.certificate_pem.encode())
    wanted = [x509.load_pem_x509_certificate(part) for part in (pair.pem, making.authority.pem, making.root.pem)]
    assert chain == wanted
    key = serialization.load_pem_private_key(material.private_key_pem.encode(), None)
    assert key.public_key() == chain[0].public_key()
    assert codes(material) == set()
    tls_context(material.certificate_pem, material.private_key_pem, making.root.pem.decode())


_3DES = "PBE-SHA1-3DES"
PEM_KEYS = ("pkcs8", "traditional", "pkcs8 protected", "traditional protected")


def pem_key(making: Making, pair: Pair, how: str) -> bytes:
    secret = ("-passout", f"pass:{PASSPHRASE}")
    match how:
        case "pkcs8":
            return pair.key_pem
        case "traditional":
            return making.openssl("pkey", "-in", pair.key, "-traditional")
        case "pkcs8 protected":
            return making.openssl("pkcs8", "-topk8", "-in", pair.key, "-v2", "aes-256-cbc", *secret)
        case "pkcs8 scrypt":
            return making.openssl("pkcs8", "-topk8", "-in", pair.key, "-scrypt", *secret)
        case _:
            return making.openssl("pkey", "-in", pair.key, "-traditional", "-aes256", *secret)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", PEM_KEYS)
def test_pem_of_each_kind_of_key(making: Making, kind: str, how: str) -> None:
    pair = making.issue(CN, making.authority, kind=kind)
    key = pem_key(making, pair, how)
    is_whole(bring(key + pair.pem + making.chain(), passphrase=PASSPHRASE), pair, making)
    is_whole(bring(pair.pem + making.chain(), key, passphrase=PASSPHRASE if "protected" in how else ""), pair, making)
    if "protected" in how:
        assert refused(key, pair.pem).code == "passphrase_needed"
        assert refused(key, pair.pem).about == "passphrase"
        assert refused(key, pair.pem, passphrase="wrong").code == "passphrase_wrong"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [(), ("-legacy",), ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"), ("-iter", "100000")]
)
def test_pkcs12_modern_and_legacy(making: Making, kind: str, options: tuple[str, ...]) -> None:
    pair = making.issue(CN, making.authority, kind=kind)
    data = making.pkcs12(pair, *options)
    is_whole(bring(data, passphrase=PASSPHRASE), pair, making)
    assert refused(data).code == "passphrase_needed"
    assert refused(data, passphrase="wrong").code == "passphrase_wrong"


def test_pkcs12_without_a_passphrase_and_without_chain(making: Making, good: Pair) -> None:
    is_whole(bring(making.pkcs12(good, passphrase="")), good, making)
    assert codes(bring(making.pkcs12(good, chain=False), passphrase=PASSPHRASE)) == {"chain_missing"}
    with_chain_beside = bring(making.pkcs12(good, chain=False), making.chain(), passphrase=PASSPHRASE)
    is_whole(with_chain_beside, good, making)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("store", ["JKS", "PKCS12"])
def test_java_keystores(need: Need, making: Making, kind: str, store: str) -> None:
    need("keytool")
    pair = making.issue(CN, making.authority, kind=kind)
    data = making.keystore(pair, store)
    assert data.startswith(b"\xfe\xed\xfe\xed") == (store == "JKS")
    is_whole(bring(data, passphrase=KEYTOOL_PASSPHRASE), pair, making)
    assert refused(data).code == "passphrase_needed"
    assert refused(data, passphrase="wrong").code == "passphrase_wrong"
    if store == "JKS":
        assert refused(data[:-1], passphrase=KEYTOOL_PASSPHRASE).code in {"keystore_damaged", "passphrase_wrong"}
        altered = data.replace(b"mesh", b"mash", 1)
        assert refused(altered, passphrase=KEYTOOL_PASSPHRASE).code == "passphrase_wrong"


def test_java_keystores_that_are_not_read(need: Need, making: Making, good: Pair) -> None:
    need("keytool")
    refusal = refused(making.keystore(good, "JCEKS"), passphrase=KEYTOOL_PASSPHRASE)
    assert refusal.code == "keystore_kind"
    assert "keytool -importkeystore" in str(refusal)


def test_a_key_with_a_passphrase_of_its_own_and_a_truststore(need: Need, making: Making, good: Pair) -> None:
    need("keytool")
    path = making.path("jks")
    path.write_bytes(making.keystore(good, "JKS"))
    store = ("-keystore", path, "-storetype", "JKS", "-storepass", KEYTOOL_PASSPHRASE)
    making.run("keytool", "-keypasswd", "-alias", "mesh", *store, "-keypass", KEYTOOL_PASSPHRASE, "-new", "another one")
    refusal = refused(path.read_bytes(), passphrase=KEYTOOL_PASSPHRASE)
    assert (refusal.code, refusal.about) == ("passphrase_wrong", "passphrase")
    assert "one of its own" in str(refusal)
    trust = making.path("jks")
    making.run(
        "keytool", "-importcert", "-noprompt", "-alias", "root", "-file", making.root.certificate, "-keystore", trust,
        "-storetype", "JKS", "-storepass", KEYTOOL_PASSPHRASE,
    )  # fmt: skip
    assert refused(trust.read_bytes(), passphrase=KEYTOOL_PASSPHRASE).code == "no_key"


def test_der(making: Making, good: Pair) -> None:
    certificate = making.openssl("x509", "-in", good.certificate, "-outform", "DER")
    key = making.openssl("pkcs8", "-topk8", "-nocrypt", "-in", good.key, "-outform", "DER")
    is_whole(bring(certificate, key, making.chain()), good, making)
    old = making.openssl("pkey", "-in", good.key, "-traditional", "-outform", "DER")
    is_whole(bring(certificate, old, making.chain()), good, making)
    protected = making.openssl("pkcs8", "-topk8", "-in", good.key, "-outform", "DER", "-passout", f"pass:{PASSPHRASE}")
    is_whole(bring(certificate, protected, making.chain(), passphrase=PASSPHRASE), good, making)
    assert refused(certificate, protected).code == "passphrase_needed"


def test_scrypt(making: Making, good: Pair) -> None:
    key = pem_key(making, good, "pkcs8 scrypt")
    is_whole(bring(key, good.pem, making.chain(), passphrase=PASSPHRASE), good, making)


def test_any_order_doubled_with_talk_between_and_from_windows(making: Making, good: Pair) -> None:
    parts = [good.key_pem, good.pem, making.root.pem, making.authority.pem, making.root.pem, good.pem, good.key_pem]
    shuffle = random.Random(4)
    for _ in range(20):
        shuffle.shuffle(parts)
        is_whole(bring(b"Bag Attributes\n    friendlyName: mesh\n".join(parts)), good, making)
    text = b"".join(parts).replace(b"\n", b"\r\n")
    is_whole(bring(text), good, making)
    is_whole(bring(text.decode().encode("utf-16")), good, making)
    is_whole(bring(b"\xef\xbb\xbf" + text), good, making)
    is_whole(bring(b"".join(b"    " + line + b"\n" for line in text.splitlines())), good, making)


def test_what_is_not_in_the_chain_is_named_and_left_out(making: Making, good: Pair) -> None:
    stranger = making.issue("Somebody Else", None, extensions="authority")
    material = bring(good.pem + good.key_pem + stranger.pem + making.chain())
    assert codes(material) == {"left_out"}
    assert "Somebody Else" in material.warnings[0].sentence
    assert "Somebody Else" not in [one.subject for one in material.examined.chain]
    # One that only carries the name of the issuer did not sign it.
    namesake = making.issue("Test Authority", None, extensions="authority")
    is_only = bring(good.pem + good.key_pem + namesake.pem)
    assert codes(is_only) == {"left_out", "chain_missing"}


def test_facts(making: Making) -> None:
    pair = making.issue(CN, making.authority, kind="rsa2048")
    examined = bring(pair.pem + pair.key_pem + making.chain()).examined
    assert (examined.leaf.subject, examined.leaf.issuer, examined.local_id, examined.ods_code) == (
        CN,
        "Test Authority",
        "X26HC001",
        "X26",
    )
    assert (examined.leaf.key_kind, examined.leaf.key_size, examined.leaf.signature) == ("RSA", 2048, "SHA-256 with ECDSA")
    printed = making.openssl("x509", "-in", pair.certificate, "-noout", "-fingerprint", "-sha256", "-serial").decode()
    assert examined.leaf.fingerprint.upper() in printed.replace(":", "")
    assert examined.leaf.serial.upper() in printed
    assert examined.effective_expiry == datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert examined.cut_by == ""


def test_the_earliest_end_in_the_chain_counts(making: Making) -> None:
    short = making.issue("Short Authority", making.root, extensions="authority", end="20280101000000Z")
    pair = making.issue(CN, short)
    material = bring(pair.pem + pair.key_pem + short.pem)
    assert material.examined.effective_expiry == datetime(2028, 1, 1, tzinfo=UTC)
    assert material.examined.cut_by == "Short Authority"
    assert codes(material) == {"cut_short"}
    assert refused(pair.pem, pair.key_pem, short.pem, now=datetime(2028, 6, 1, tzinfo=UTC)).code == "issuer_expired"


@pytest.mark.parametrize(
    ("authority", "environment", "generation"),
    [
        ("NHS INT Authentication G2", "int", "int-g2"),
        ("NHS INT Level 1C", "int", "int-g1"),
        ("NHS Authentication G2", "live", "live-g2"),
    ],
)
def test_nhs_authorities_are_known(making: Making, authority: str, environment: str, generation: str) -> None:
    issuer = making.issue(authority, making.root, extensions="authority", end="20400101000000Z")
    pair = making.issue(CN, issuer, end="20390101000000Z")
    material = bring(pair.pem, pair.key_pem, environment=environment)
    assert material.examined.generation == generation
    # The authority's own end is known though its certificate was not brought.
    assert material.examined.effective_expiry.year < 2033
    assert codes(material) == {"chain_missing", "cut_short"}
    other = "live" if environment == "int" else "int"
    refusal = refused(pair.pem, pair.key_pem, environment=other)
    assert refusal.code == "environment"
    assert authority in str(refusal)
    assert "environment" in codes(bring(pair.pem, pair.key_pem, environment="sandbox"))


def test_the_first_live_generation_ended(making: Making) -> None:
    issuer = making.issue("NHS Level 1C", making.root, extensions="authority")
    pair = making.issue(CN, issuer)
    refusal = refused(pair.pem, pair.key_pem, environment="live")
    assert refusal.code == "issuer_expired"
    assert "NHS Level 1C, expired on 4 June 2024" in str(refusal)


@pytest.mark.parametrize(
    "name", ["mesh.nhs.uk", "X26HC001.api.mesh-client.nhs.uk", "X26HC001.x26.api.mesh-client.nhs.uk", f"{CN}.example", f"a.{CN}"]
)
def test_another_common_name_is_said(making: Making, name: str) -> None:
    pair = making.issue(name, making.authority)
    material = bring(pair.pem + pair.key_pem + making.chain())
    assert codes(material) == {"common_name"}
    assert name in material.warnings[0].sentence


def test_outside_its_time(making: Making) -> None:
    expired = making.issue(CN, making.authority, start="20230101000000Z", end="20260604000000Z")
    refusal = refused(expired.pem, expired.key_pem)
    assert (refusal.code, "expired on 4 June 2026" in str(refusal)) == ("expired", True)
    # What is prepared for a change of certificates begins later: that is no reason to refuse it.
    coming = making.issue(CN, making.authority, start="20270101000000Z")
    assert codes(bring(coming.pem, coming.key_pem, making.chain())) == {"not_yet_valid"}
    soon = making.issue(CN, making.authority, end="20261210000000Z")
    assert codes(bring(soon.pem, soon.key_pem, making.chain())) == {"expires_soon"}


def test_what_is_signed_with_sha1_is_refused_because_tls_refuses_it(making: Making) -> None:
    pair = making.issue(CN, making.authority, digest="sha1")
    refusal = refused(pair.pem, pair.key_pem, making.chain())
    assert refusal.code == "weak_signature"
    assert "SHA-1" in str(refusal)
    with pytest.raises(Exception, match="CA_MD_TOO_WEAK"):
        tls_context(pair.pem, pair.key_pem, making.root.pem)


def test_keys_and_certificates_that_are_no_use(making: Making, good: Pair) -> None:
    other = making.issue("RH8HC001.RH8.api.mesh-client.nhs.uk", making.authority, key=making.key("ec", new=True))
    both = refused(good.pem, other.key_pem)
    assert (both.code, CN in str(both)) == ("key_mismatch", True)
    assert refused(good.pem).code == "no_key"
    assert refused(good.key_pem).code == "no_certificate"
    assert refused(making.authority.pem, making.authority.key_pem).code == "authority_as_leaf"
    several = refused(good.pem, good.key_pem, other.pem, other.key_pem)
    assert (several.code, "RH8HC001" in str(several)) == ("several", True)
    small = making.issue(CN, making.authority, key=making.key("rsa1024", new=True))
    assert refused(small.pem, small.key_pem).code == "key_too_small"
    curve = making.path("key")
    making.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1", "-out", curve)
    odd = making.issue(CN, making.authority, key=curve)
    assert refused(odd.pem, odd.key_pem).code == "key_kind"
    edwards = making.path("key")
    making.openssl("genpkey", "-algorithm", "ED25519", "-out", edwards)
    assert refused(making.issue(CN, making.authority, key=edwards).pem, edwards.read_bytes()).code == "key_kind"
    request = making.openssl("req", "-new", "-key", good.key, "-subj", f"/CN={CN}", "-config", making.config)
    assert "certificate request" in str(refused(request))
    bundle = making.openssl("crl2pkcs7", "-nocrl", "-certfile", good.certificate)
    assert "PKCS #7" in str(refused(bundle))
    assert "PKCS #7" in str(refused(making.openssl("crl2pkcs7", "-nocrl", "-certfile", good.certificate, "-outform", "DER")))
    server = making.issue(CN, making.authority, extensions="server")
    assert codes(bring(server.pem, server.key_pem, making.chain())) == {"not_for_clients"}
    alone = making.issue(CN, None)
    assert codes(bring(alone.pem, alone.key_pem)) == {"self_signed"}


def test_what_is_damaged(making: Making, good: Pair) -> None:
    assert refused(b"").code == "empty"
    assert refused(b" \n ").code == "empty"
    assert refused().code == "nothing"
    assert refused(b"hello").code == "unknown_format"
    assert refused(random.Random(1).randbytes(5000)).code in {"unknown_format", "damaged"}
    assert refused(b"\x30" + random.Random(2).randbytes(5000)).code == "damaged"
    assert refused(good.pem[:-40]).code == "pem_cut"
    assert refused(good.pem.replace(b"MII", b"M*I")).code == "pem_damaged"
    assert refused(good.pem.replace(b"MII", b"AII")).code == "certificate_damaged"
    assert refused(good.key_pem.replace(b"MIG", b"AIG") + good.pem).code == "key_damaged"
    assert refused(good.pem * 49 + making.chain() * 3).code == "too_many"
    assert refused(good.pem, good.key_pem, passphrase="x" * 501).code == "passphrase_wrong"
    # Text that no screen can show stays out of the sentence.
    assert "\x1b" not in str(refused(b"-----BEGIN \x1b[31m-----"))
