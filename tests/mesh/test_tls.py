"""Making a TLS context: from any usable PEM, with a clear sentence for any other, and never a key on a disk."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.x509.oid import NameOID

from meshportal.demo.pki import Pki, create_authority
from meshportal.mesh import Connection, errors, tls, tls_context
from tests.double import Double

from .conftest import ONE, AsClient, context_of

ENCRYPTION = serialization.BestAvailableEncryption(b"PLANTED pass")


def pem_of(key: Any, form: Any = serialization.PrivateFormat.PKCS8, encryption: Any = None) -> bytes:
    made: bytes = key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())
    return made


def link(name: str, key: Any, issuer: str, issuer_key: Any, *, ca: bool) -> bytes:
    """A certificate for ``name``, signed by ``issuer``."""
    now = datetime.now(UTC)
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
    made = (
        x509.CertificateBuilder()
        .subject_name(named[0])
        .issuer_name(named[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def chain() -> dict[str, Any]:
    """A root, two intermediates and a leaf."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(4)]
    names = ["root", "upper", "lower", "leaf"]
    made = {
        name: link(name, keys[number], names[max(0, number - 1)], keys[max(0, number - 1)], ca=name != "leaf")
        for number, name in enumerate(names)
    }
    return {**made, "key": pem_of(keys[3])}


def test_what_every_context_demands(pki: Pki) -> None:
    context = context_of(pki)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert not context.hostname_checks_common_name
    trusted: list[Any] = context.get_ca_certs()
    assert [one["subject"][0][0] for one in trusted] == [("commonName", pki.authority.common_name)]
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context_of(pki, strict_x509=True).verify_flags & ssl.VERIFY_X509_STRICT
    assert context_of(pki, check_common_name=True).hostname_checks_common_name


@pytest.mark.parametrize("password", [None, b"PLANTED pass", "PLANTED pass"])
@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_keys_of_every_form(pki: Pki, as_client: AsClient, kind: Any, form: Any, password: Any) -> None:
    identity = pki.authority.client(ONE, "X26", key_kind=kind)
    key = pem_of(identity.private_key(), form, ENCRYPTION if password else None)
    given: list[Any] = [identity.certificate_pem, key, pki.authority.certificate_pem]
    if isinstance(password, str):
        given = [one.decode() for one in given]
    context = tls_context(*given, private_key_password=password)
    with Double(pki) as double:
        double.add_mailbox(ONE)
        as_client(double.base_url, context=context).handshake()


@pytest.mark.parametrize("order", [("leaf", "lower", "upper"), ("upper", "leaf", "lower"), ("root", "upper", "lower", "leaf")])
def test_a_chain_in_any_order(pki: Pki, chain: dict[str, Any], order: tuple[str, ...]) -> None:
    """The server gets each certificate before its issuer, as TLS 1.2 demands; it may know the root alone."""
    pem = b"subject=whatever\n" + b"".join(chain[name] for name in order) + b"\n"
    ours = tls_context(pem, chain["key"], pki.authority.certificate_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.write_bytes(pki.server.key_pem + pki.server.certificate_pem)
        server.load_cert_chain(path)
    server.load_verify_locations(cadata=chain["root"].decode())
    server.verify_mode = ssl.CERT_REQUIRED
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = ours.wrap_bio(to_client, to_server, server_hostname="localhost")
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    sent = [dict(part[0] for part in one.get_info()["subject"])["commonName"] for one in presented(server_side)]
    assert sent[:3] == ["leaf", "lower", "upper"]


def presented(side: ssl.SSLObject) -> list[Any]:
    """What the other side sent, in its order."""
    found: list[Any] = side._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    return found


KEYS: dict[str, tuple[Any, Any, str]] = {
    "another key": (lambda: pem_of(ec.generate_private_key(ec.SECP256R1())), None, "does not belong"),
    "another kind of key": (lambda: pem_of(rsa.generate_private_key(65537, 2048)), None, "does not belong"),
    "an ed25519 key": (lambda: pem_of(ed25519.Ed25519PrivateKey.generate()), None, "does not belong"),
    "a key that signs nothing": (lambda: pem_of(x25519.X25519PrivateKey.generate()), None, "does not belong"),
    "no key": (lambda: b"", None, "cannot be read"),
    "garbage": (lambda: b"\x00\xff PLANTED", None, "cannot be read"),
    "a garbage block": (
        lambda: b"-----BEGIN PRIVATE " + b"KEY-----\nUExBTlRFRA==\n-----END PRIVATE " + b"KEY-----\n",
        None,
        "cannot be read",
    ),
    "a public key": (
        lambda: (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        ),
        None,
        "cannot be read",
    ),
    "a password for nothing": (lambda: pem_of(ec.generate_private_key(ec.SECP256R1())), "PLANTED", "needs no password"),
    "no password": (
        lambda: pem_of(ec.generate_private_key(ec.SECP256R1()), encryption=ENCRYPTION),
        None,
        "protected by a password",
    ),
    "an empty password": (
        lambda: pem_of(ec.generate_private_key(ec.SECP256R1()), encryption=ENCRYPTION),
        "",
        "protected by a password",
    ),
    "a wrong password": (
        lambda: pem_of(ec.generate_private_key(ec.SECP256R1()), encryption=ENCRYPTION),
        "PLANTED other",
        "password is wrong",
    ),
}


@pytest.mark.parametrize("what", KEYS)
def test_unusable_keys(pki: Pki, what: str) -> None:
    make, password, said = KEYS[what]
    with pytest.raises(errors.CertificateUnusable, match=said) as caught:
        tls_context(pki.clients[ONE].certificate_pem, make(), pki.authority.certificate_pem, private_key_password=password)
    assert not isinstance(caught.value, errors.TrustBundleUnusable)
    assert caught.value.misconfigured
    assert "PLANTED" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def spoilt(pem: bytes, old: bytes, new: bytes) -> bytes:
    """A certificate with some bytes of its DER form replaced."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    assert old in der
    return ssl.DER_cert_to_PEM_cert(der.replace(old, new, 1)).encode()


# [0] EXPLICIT INTEGER 2 is the version in every certificate.
VERSION, NO_VERSION = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"
UNREADABLE = {
    "nothing": lambda pem: b"",
    "words": lambda pem: b"this is no certificate",
    "cut": lambda pem: pem[: len(pem) // 2],
    "no base64": lambda pem: b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    "no certificate in it": lambda pem: b"-----BEGIN CERTIFICATE-----\nUExBTlRFRA==\n-----END CERTIFICATE-----\n",
    "one good and one bad": lambda pem: pem + b"-----BEGIN CERTIFICATE-----\nUExBTlRFRA==\n-----END CERTIFICATE-----\n",
    "an unknown version": lambda pem: spoilt(pem, VERSION, NO_VERSION),
    "a broken date": lambda pem: spoilt(pem, b"\x17\x0d", b"\x17\x0c"),
    "half a character": lambda pem: pem.decode().replace("MI", "\ud800", 1),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_unreadable_certificates(pki: Pki, what: str) -> None:
    make: Any = UNREADABLE[what]
    ours, ca = pki.clients[ONE], pki.authority.certificate_pem
    with pytest.raises(errors.TrustBundleUnusable, match=r"The trust bundle holds .* certificate"):
        tls_context(ours.certificate_pem, ours.key_pem, make(ca))
    with pytest.raises(errors.CertificateUnusable, match=r"The client certificate holds .* certificate") as caught:
        tls_context(make(ours.certificate_pem), ours.key_pem, ca)
    assert not isinstance(caught.value, errors.TrustBundleUnusable)


@pytest.mark.fuzz
def test_no_spoilt_certificate_escapes_the_tree(pki: Pki) -> None:
    """Whatever byte is wrong, it is a context or a CertificateUnusable: two parsers read it, and they can disagree."""
    ours, ca = pki.clients[ONE], pki.authority.certificate
    der = ca.public_bytes(serialization.Encoding.DER)
    accepted = refused = 0
    for place in range(0, len(der), 2):
        wrong = der[:place] + bytes([der[place] ^ 0x21]) + der[place + 1 :]
        try:
            tls_context(ours.certificate_pem, ours.key_pem, ssl.DER_cert_to_PEM_cert(wrong))
            accepted += 1
        except errors.TrustBundleUnusable:
            refused += 1
    assert accepted and refused


def test_a_bundle_of_several(pki: Pki, as_client: AsClient) -> None:
    others = [create_authority(f"CA {number}").certificate_pem for number in range(3)]
    bundle = b"# NHS\n" + b"\n".join([*others, pki.authority.certificate_pem, pki.authority.certificate_pem]) + b"\n# end\n"
    ours = pki.clients[ONE]
    with Double(pki) as double:
        double.add_mailbox(ONE)
        as_client(double.base_url, context=tls_context(ours.certificate_pem, ours.key_pem, bundle)).handshake()


def test_a_weak_key_is_told(pki: Pki) -> None:
    key = rsa.generate_private_key(65537, 1024)
    pem = link("weak", key, "weak", key, ca=False)
    with pytest.raises(errors.CertificateUnusable, match="KEY_TOO_SMALL"):
        tls_context(pem, pem_of(key), pki.authority.certificate_pem)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files would go to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="memfd is Linux's")
def test_the_key_touches_no_disk(pki: Pki, watched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "mkstemp", never)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a count of descriptors, not of files)
    context_of(pki)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert list(watched.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_elsewhere_the_file_is_encrypted_private_and_gone(
    pki: Pki, watched: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    seen: list[tuple[bytes, int]] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, certfile: str, password: str) -> None:
        seen.append((Path(certfile).read_bytes(), Path(certfile).stat().st_mode & 0o777))
        assert Path(certfile).parent == watched
        if fails:
            raise ssl.SSLError("no")
        load(self, certfile, password=password)

    monkeypatch.setattr(tls, "_memory_file", lambda: None)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    if fails:
        with pytest.raises(errors.CertificateUnusable):
            context_of(pki)
    else:
        context_of(pki)
    assert list(watched.iterdir()) == []
    [(held, mode)] = seen
    assert mode == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE" in held
    body = b"".join(pki.clients[ONE].key_pem.splitlines()[1:-1])
    assert body not in held.replace(b"\n", b"")
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(held, None)


def test_a_connection_never_stops_verifying(pki: Pki) -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    with pytest.raises(ValueError, match="must verify"):
        Connection("https://localhost", ssl_context=careless)
    careless.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="must verify"):
        Connection("https://localhost", ssl_context=careless)


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost", "ftp://localhost", "https://", "https://user@localhost", "https://u:p@localhost", "file:///etc"),
        *("https://localhost?x=1", "https://localhost#x", "https://[", "https://localhost:99999", "https://localhost:x"),
        "https://@localhost",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError):
        Connection(url, ssl_context=None)


def test_addresses() -> None:
    for given, kept in (
        ("https://h", "https://h"),
        ("HTTPS://h:8443/", "https://h:8443"),
        ("http://h/messageexchange/", "http://h"),
        ("https://h/prefix/messageexchange", "https://h/prefix"),
        ("https://[::1]:1/", "https://[::1]:1"),
    ):
        with Connection(given, ssl_context=None) as connection:
            assert connection.base_url == kept
            assert repr(connection) == f"<Connection {kept}>"
