"""The demonstration's certificates: good ones pass the strictest check, bad ones are bad in the way that they say."""

from __future__ import annotations

import ssl
import stat
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from meshportal.demo.pki import (
    Authority,
    Identity,
    client_context,
    create_authority,
    create_pki,
    load_or_create,
    load_pki,
    server_context,
    write_pki,
)
from tests import services


def shake(server: Identity, ca_pem: bytes, context: ssl.SSLContext, host: str = "localhost") -> str:
    """One handshake in memory; gives the client's certificate as the server saw it, as a common name."""
    import socket

    left, right = socket.socketpair()
    seen: dict[str, Any] = {}

    def serve() -> None:
        with right:
            try:
                with server_context(server, ca_pem).wrap_socket(right, server_side=True) as connection:
                    seen["subject"] = connection.getpeercert()
                    connection.recv(1)
            except (ssl.SSLError, OSError) as error:
                seen["error"] = error

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with left, context.wrap_socket(left, server_hostname=host) as connection:
            connection.send(b"x")
    finally:
        thread.join()
    if "error" in seen:
        raise seen["error"]
    return str(dict(part[0] for part in seen["subject"]["subject"])["commonName"])


@pytest.fixture(scope="module")
def authority() -> Authority:
    return create_authority()


@pytest.mark.parametrize("key_kind", ["ec", "rsa"])
def test_mutual_tls_works_under_strict_checking(authority: Authority, key_kind: Any) -> None:
    identity = authority.client("X26HC001", "X26", key_kind=key_kind)
    context = client_context(authority.certificate_pem, identity)
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    name = shake(authority.server(key_kind=key_kind), authority.certificate_pem, context)
    assert name == "X26HC001.X26.api.mesh-client.nhs.uk"


def test_strangers_and_the_lapsed_are_refused(authority: Authority) -> None:
    server = authority.server()
    for identity in (create_authority().client("X26HC001", "X26"), authority.client("X26HC001", "X26", validity="expired"), None):
        with pytest.raises((ssl.SSLError, OSError)):
            shake(server, authority.certificate_pem, client_context(authority.certificate_pem, identity))
    mine = authority.client("X26HC001", "X26")
    for bad in (authority.server(validity="expired"), create_authority().server(), authority.server(host_names=["mesh.example"])):
        with pytest.raises((ssl.SSLError, OSError)):
            shake(bad, authority.certificate_pem, client_context(authority.certificate_pem, mine))


def test_a_common_name_alone_serves_only_who_looks_at_it(authority: Authority) -> None:
    old = authority.server(common_name_only=True)
    context = client_context(authority.certificate_pem, authority.client("X26HC001", "X26"))
    context.hostname_checks_common_name = True
    assert shake(old, authority.certificate_pem, context)
    context.hostname_checks_common_name = False
    with pytest.raises(ssl.SSLError, match="Hostname mismatch"):
        shake(old, authority.certificate_pem, context)


def test_openssl_agrees(tmp_path: Path, need: Any) -> None:
    need("openssl")
    files = write_pki(create_pki([("X26HC001", "X26")]), tmp_path)
    for certificate, purpose in ((files.server, "sslserver"), (files.client("X26HC001"), "sslclient")):
        done = services.openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(files.ca), str(certificate))
        assert done.returncode == 0, done.stderr


def test_what_is_good_is_kept_and_what_is_not_is_made_anew(tmp_path: Path) -> None:
    wanted = [("X26HC001", "X26"), ("X26HC002", "X26")]
    first, files = load_or_create(tmp_path, wanted[:1])
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.pem")} == {0o600}
    second, _ = load_or_create(tmp_path, wanted)
    assert second.authority == first.authority
    assert second.clients["X26HC001"] == first.clients["X26HC001"]
    assert set(second.clients) == {"X26HC001", "X26HC002"}
    files.client_key("X26HC001").write_bytes(second.clients["X26HC002"].key_pem)
    third, _ = load_or_create(tmp_path, wanted)
    assert third.clients["X26HC001"].certificate != second.clients["X26HC001"].certificate
    files.ca.write_text("damaged")
    assert load_pki(tmp_path) is None
    assert load_or_create(tmp_path, wanted)[0].authority != third.authority


def test_what_ends_soon_is_not_kept(tmp_path: Path) -> None:
    write_pki(create_pki(), tmp_path)
    assert load_pki(tmp_path) is not None
    assert load_pki(tmp_path, keep_for=timedelta(days=3000)) is None


def test_a_mailbox_id_never_becomes_a_path(authority: Authority) -> None:
    with pytest.raises(ValueError, match="upper-case"):
        authority.client("../X26", "X26")
