"""From what httpx raises to what it means.

A refused client certificate has many faces (measured): a TLS alert, a connection that ends during the TLS handshake
(TLS 1.2), one that ends after the request without a byte of answer (TLS 1.3), or nginx's 400.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from meshportal.mesh import errors

_ALERT = re.compile(
    r"ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_|UNKNOWN_CA|ACCESS_DENIED|NO_CERTIFICATE|"
    r"DECRYPT_ERROR)"
)
# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_NAME_CODES = frozenset({62, 64})


class Progress:
    """How far a request came, from httpcore's trace events."""

    __slots__ = ("answered", "fresh_tls", "sent", "tls_begun")

    def __init__(self) -> None:
        self.tls_begun = self.fresh_tls = self.sent = self.answered = False

    def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True
        elif event.endswith("receive_response_headers.complete"):
            self.answered = True
        elif event.endswith("start_tls.started"):
            self.tls_begun = True
        elif event.endswith("start_tls.complete"):
            self.fresh_tls = True


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _first(error: BaseException, *kinds: type[BaseException]) -> Any:
    return next((cause for cause in _causes(error) if isinstance(cause, kinds)), None)


def classify(error: httpx.TransportError, progress: Progress, *, message_id: str = "") -> errors.MeshError:
    """The MESH error that a transport error is."""
    # After an answer, or on a connection that worked before, an alert does not say that nothing was carried out.
    agreeing = not progress.answered and (progress.fresh_tls or not progress.sent)
    found = _tls(error) if agreeing else None
    if found is not None:
        return found
    if isinstance(error, httpx.ConnectTimeout):
        return errors.ConnectTimeout("The connection was not made in time.")
    if isinstance(error, httpx.PoolTimeout):
        return errors.ConnectTimeout("All of our connections to the server were busy for too long.")
    if isinstance(error, httpx.ConnectError):
        return _connect(error, progress)
    if isinstance(error, httpx.TimeoutException):
        return errors.ResponseTimeout("The server did not answer in time.", message_id=message_id)
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return errors.InvalidRequest("The request cannot be sent as HTTP.")
    if isinstance(error, httpx.RemoteProtocolError):
        if progress.answered:
            return errors.BodyTruncated("The connection ended before the body did.", in_transit=True, message_id=message_id)
        if "disconnected" not in str(error):
            return errors.UnexpectedAnswer("What the server answered is not HTTP.", message_id=message_id)
    return errors.ConnectionLost(
        "The connection broke off in the answer." if progress.answered else "The connection broke off before an answer.",
        maybe_certificate=progress.fresh_tls and not progress.answered,
        message_id=message_id,
    )


def _tls(error: httpx.TransportError) -> errors.MeshError | None:
    untrusted = _first(error, ssl.SSLCertVerificationError)
    if untrusted is not None:
        if untrusted.verify_code in _NAME_CODES:
            return errors.HostNameMismatch("The server's certificate is for another host name.")
        said = errors.safe_text(str(untrusted.verify_message), 100)
        return errors.ServerNotTrusted(f"The server's certificate is not trusted: {said}.")
    failed = _first(error, ssl.SSLError)
    if failed is not None and _ALERT.search(failed.reason or ""):
        return errors.ClientCertificateRefused(f"The server refused our client certificate ({failed.reason}).")
    return None


def _connect(error: httpx.ConnectError, progress: Progress) -> errors.MeshError:
    if _first(error, socket.gaierror) is not None:
        return errors.HostUnknown("The host name could not be resolved.")
    if _first(error, ConnectionRefusedError) is not None:
        return errors.ConnectionRefused("Nothing listens at the address.")
    ended = _first(error, ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError)
    if ended is not None and progress.tls_begun:
        return errors.ConnectionLost(
            "The connection broke off while TLS was being agreed.", maybe_certificate=True, nothing_sent=True
        )
    failed = _first(error, ssl.SSLError)
    if failed is not None:
        return errors.ConnectionFailed(f"TLS could not be agreed ({failed.reason or type(failed).__name__}).")
    cause = _first(error, OSError)
    why = f" ({errors.safe_text(cause.strerror, 80)})" if cause is not None and cause.strerror else ""
    return errors.ConnectionFailed(f"The connection could not be made{why}.")
