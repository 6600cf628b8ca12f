"""What stands between the portal and MESH below HTTP: the name, the connection, TLS. Nothing of a request is sent here.

TLS runs over buffers rather than on the socket, so that the first bytes of whatever answers can be read: a proxy that
answers in clear and a server that only speaks TLS 1.1 look alike to whoever sees OpenSSL's error alone.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from meshportal.mesh import errors
from meshportal.web.time import london

Address = tuple[Any, ...]
_MOST_ADDRESSES = 4
# How long a TLS 1.3 server may take to say after the handshake what it thinks of our certificate.
_VERDICT_SECONDS = 1.0
# RFC 8446, 5.1 and 4.
_HANDSHAKE, _CERTIFICATE, _CERTIFICATE_REQUEST = 22, 11, 13
_VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1"}


def resolve(host: str, port: int, *, seconds: float) -> list[Address]:
    """The addresses of ``host``, each (family, socket address). Raises HostUnknown, ConnectTimeout when DNS is silent."""
    found: list[Address] = []
    failed: list[OSError] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failed.append(error if isinstance(error, OSError) else OSError("no host name"))
        else:
            found.extend(dict.fromkeys((family, address) for family, _, _, _, address in answers))

    # getaddrinfo has no timeout of its own.
    asking = threading.Thread(target=ask, name="doctor-dns", daemon=True)
    asking.start()
    asking.join(seconds)
    if asking.is_alive():
        raise errors.ConnectTimeout("The name service did not answer in time.")
    if failed or not found:
        raise errors.HostUnknown("The host name could not be resolved.")
    return found


def connect(addresses: Sequence[Address], *, seconds: float) -> socket.socket:
    """A connection to the first address that takes one, within ``seconds`` altogether; a silent one leaves time for the next.

    Raises ConnectTimeout when any of them was silent, ConnectionRefused when all refused, ConnectionFailed otherwise.
    """
    until = time.monotonic() + seconds
    refused = silent = False
    other: OSError | None = None
    tried = addresses[:_MOST_ADDRESSES]
    for number, (family, address) in enumerate(tried):
        left = until - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(left / (len(tried) - number))
        try:
            connection.connect(address)
        except TimeoutError:
            silent = True
        except ConnectionRefusedError:
            refused = True
        except OSError as error:
            other = error
        else:
            return connection
        connection.close()
    if silent:
        raise errors.ConnectTimeout("The connection was not made in time.")
    if refused:
        raise errors.ConnectionRefused("Nothing listens at the address.")
    why = errors.safe_text(other.strerror or "", 80) if other is not None else ""
    raise errors.ConnectionFailed(f"The connection could not be made{f' ({why})' if why else ''}.")


@dataclass
class Handshake:
    """What was seen of an attempt to agree on TLS. ``error`` is None when it succeeded and the server hung on;
    ``seconds`` is how long it took to agree."""

    first: bytes = b""
    version: str = ""
    cipher: str = ""
    chain: list[x509.Certificate] = field(default_factory=list)
    asked: bool = False
    agreed: bool = False
    seconds: float | None = None
    error: Exception | None = None

    @property
    def spoke_http(self) -> bool:
        """What answers speaks HTTP in clear where TLS was to begin."""
        return self.first.startswith(b"HTTP/")

    @property
    def http_status(self) -> int | None:
        """The status of its answer in clear."""
        parts = self.first.split(b" ", 2)
        return int(parts[1]) if self.spoke_http and len(parts) > 1 and parts[1].isdigit() else None

    @property
    def spoke_tls(self) -> bool:
        """What answers speaks some TLS: a handshake record or an alert."""
        return self.first[:1] in (b"\x16", b"\x15") and self.first[1:2] == b"\x03"

    @property
    def old_version(self) -> str:
        """``TLS 1.1`` or older, when the server chose it; '' otherwise."""
        if len(self.first) < 11 or self.first[0] != 0x16 or self.first[5] != 2:
            return ""
        return _VERSIONS.get(int.from_bytes(self.first[9:11], "big"), "")

    @property
    def reason(self) -> str:
        """OpenSSL's name of what went wrong; '' for other errors."""
        return (self.error.reason or "") if isinstance(self.error, ssl.SSLError) else ""


def shake(connection: socket.socket, context: ssl.SSLContext, host: str, *, seconds: float) -> Handshake:
    """Agrees on TLS over ``connection`` and waits a moment for the server's verdict on our certificate. Never raises.

    ``context`` verifies the server, and is not to be used for anything else.
    """
    seen = Handshake()

    def note(_side: Any, direction: str, _version: Any, content: Any, kind: Any, data: bytes) -> None:
        if direction != "read" or content != _HANDSHAKE:
            return
        if kind == _CERTIFICATE and not seen.chain:
            seen.chain = _certificates(data)
        elif kind == _CERTIFICATE_REQUEST:
            seen.asked = True

    # For the eyes only: where Python does not offer it, no chain is shown. What is trusted is decided by the context.
    context._msg_callback = note  # type: ignore[attr-defined]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        side = context.wrap_bio(incoming, outgoing, server_hostname=host)
        _exchange(connection, side, incoming, outgoing, seen, time.monotonic() + seconds)
    except (OSError, ValueError) as error:
        seen.error = error
        try:
            # The alert that says why, so that the other side's log does too.
            connection.sendall(outgoing.read())
        except OSError:
            pass
    finally:
        context._msg_callback = None  # type: ignore[attr-defined]
    return seen


def _exchange(
    connection: socket.socket,
    side: ssl.SSLObject,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    seen: Handshake,
    until: float,
) -> None:
    begun = time.monotonic()
    while not seen.agreed:
        try:
            side.do_handshake()
            seen.agreed = True
        except ssl.SSLWantReadError:
            pass
        connection.sendall(outgoing.read())
        if not seen.agreed:
            _receive(connection, incoming, seen, until)
    seen.seconds = time.monotonic() - begun
    cipher = side.cipher()
    seen.version, seen.cipher = (side.version() or "").replace("TLSv", "TLS "), cipher[0] if cipher else ""
    if seen.version == "TLS 1.2":
        # There the server has judged our certificate before it says that it is done.
        return
    until = time.monotonic() + _VERDICT_SECONDS
    heard = False
    while True:
        try:
            side.read(1)
        except ssl.SSLWantReadError:
            if heard:
                # Session tickets: a server gives them to those whom it let in.
                return
        try:
            _receive(connection, incoming, seen, until)
        except TimeoutError:
            return
        heard = True


def _receive(connection: socket.socket, incoming: ssl.MemoryBIO, seen: Handshake, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    data = connection.recv(16_384)
    if not data:
        raise ConnectionAbortedError("closed by the other side")
    if len(seen.first) < 64:
        seen.first += data[: 64 - len(seen.first)]
    incoming.write(data)


def _certificates(message: bytes) -> list[x509.Certificate]:
    """The certificates of a TLS Certificate message (RFC 5246, 7.4.2; RFC 8446, 4.4.2), leaf first; those that can be read."""
    body = message[4:]
    old = int.from_bytes(body[:3], "big") + 3 == len(body)
    at = 3 if old else 1 + body[0] + 3 if body else 0
    found = []
    while at + 3 <= len(body):
        length = int.from_bytes(body[at : at + 3], "big")
        at += 3
        try:
            found.append(x509.load_der_x509_certificate(body[at : at + length]))
        except Exception:  # an unknown version or algorithm is no ValueError
            break
        at += length
        if not old:
            at += 2 + int.from_bytes(body[at : at + 2], "big")
    return found


def chain_facts(chain: Sequence[x509.Certificate]) -> list[tuple[str, str]]:
    """The certificates that the server showed, as facts: subject, issuer, end, fingerprint."""
    facts = []
    for number, one in enumerate(chain[:5], start=1):
        digest = one.fingerprint(hashes.SHA256()).hex()
        names = f"{name_of(one.subject)}; issued by {name_of(one.issuer)}"
        words = f"{names}; valid until {london(one.not_valid_after_utc)}; SHA-256 {digest}"
        facts.append((f"Server certificate {number}", words))
    return facts


def name_of(name: x509.Name) -> str:
    """The common name, or the whole where there is none."""
    try:
        common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        text = str(common[0].value) if common else name.rfc4514_string()
    except (ValueError, IndexError):
        text = ""
    return errors.safe_text(text, 120) or "no name"
