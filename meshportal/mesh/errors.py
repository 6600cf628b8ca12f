"""What can go wrong between us and MESH, as one tree of exceptions.

::

    MeshError
     ├ InvalidRequest             what we were asked to send cannot be sent; nothing was sent
     │  └ InvalidHeader           a header value that HTTP or MESH cannot carry
     ├ CertificateUnusable        the PEM texts make no TLS context (misconfigured)
     │  └ TrustBundleUnusable     the same, of the CA bundle
     ├ ConnectionFailed           nothing reached MESH (retryable)
     │  ├ HostUnknown             the name does not resolve
     │  ├ ConnectionRefused       nothing listens there
     │  ├ ConnectTimeout          no connection in time
     │  ├ ServerNotTrusted        its certificate is not vouched for by the trust bundle (misconfigured)
     │  ├ HostNameMismatch        its certificate is for another name (misconfigured)
     │  └ ClientCertificateRefused   our certificate was refused, by a TLS alert or by nginx's page (misconfigured)
     ├ ConnectionLost             dropped during the exchange (retryable where a repeat does no harm)
     │  └ ResponseTimeout         no answer, or no more of it, in time
     ├ BodyError                  a message body that must not be stored or acknowledged
     │  ├ BodyTruncated           it ended before its length, its gzip end or its last chunk (retryable)
     │  ├ BodyCorrupt             not the gzip that it says it is
     │  ├ BodyTooLarge            more than the caller allows
     │  ├ ChunkMismatch           a chunk is not the one that was asked for
     │  └ BodyTooSlow             it came so slowly that it was given up (retryable)
     ├ ResponseError              MESH answered, and the answer is a refusal
     │  ├ BadRequest              400
     │  ├ AuthenticationFailed    403, 401, or an error body in a 200 to a handshake (misconfigured)
     │  ├ NotFound                404
     │  ├ Gone                    410
     │  ├ NotUnique               300: several messages have this local id
     │  ├ Refused                 406, 417, 422: refused for good, see ``code``
     │  ├ UploadFinalised         423: the last chunk had already been accepted
     │  ├ Throttled               425, 429 (retryable)
     │  ├ ServerError             500 and other 5xx (retryable)
     │  ├ Unavailable             502, 503, 504 (retryable)
     │  └ UnexpectedAnswer        a redirect, a web page, or anything else that is not MESH's language
     └ SendUncertain              the first POST of a message may have been accepted: never repeat it blindly

Every error carries what MESH said (``status event code description message_id retry_after``) and two judgements:
``retryable`` (the same call may succeed later, with a new token) and ``misconfigured`` (a person must change a setting:
the fault is the mailbox's or the connection's, never the message's). ``str()`` is one sentence that may be logged; it
holds no body, no secret and no patient identifier. ``description`` is MESH's own wording, uncensored: for the screen of
somebody who may see it, not for logs.
"""

from __future__ import annotations

import re
from datetime import timedelta

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# GP Connect messaging addresses a practice by demographics: GPPROVIDER_{NHS number}_{date of birth}_{surname}.
_PATIENT = re.compile(r"GPPROVIDER_\S*|(?<!\d)\d{3}[ -]?\d{3}[ -]?\d{4}(?!\d)", re.IGNORECASE)


def safe_text(text: str, limit: int = 300) -> str:
    """``text`` for a log: on one line, without what looks like an NHS number, at most ``limit`` characters."""
    return _PATIENT.sub("[hidden]", _CONTROL.sub(" ", text)).strip()[:limit]


class MeshError(Exception):
    """The root. ``message`` is a safe sentence; where it is empty one is made of status, code and description."""

    retryable: bool = False
    misconfigured: bool = False

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        event: str = "",
        code: str = "",
        description: str = "",
        message_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.event = event
        self.code = code
        self.description = description
        self.message_id = message_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        given = str(self.args[0]) if self.args else ""
        return given or self._sentence()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def _sentence(self) -> str:
        if self.status is None:
            return (type(self).__doc__ or type(self).__name__).partition("\n")[0]
        what = " ".join(safe_text(part, 60) for part in (self.event, self.code) if part)
        said = safe_text(self.description)
        return f"MESH answered {self.status}{f' ({what})' if what else ''}{f': {said}' if said else '.'}"


class InvalidRequest(MeshError):
    """What was asked for cannot be sent to MESH. Nothing was sent."""


class InvalidHeader(InvalidRequest):
    """A header value cannot be sent. ``header`` names it; the value is not in the message. Nothing was sent."""

    def __init__(self, message: str = "", *, header: str = "") -> None:
        super().__init__(message)
        self.header = header


class CertificateUnusable(MeshError):
    """The client certificate, its key or the trust bundle cannot be used."""

    misconfigured = True


class TrustBundleUnusable(CertificateUnusable):
    """The trust bundle cannot be used."""


class ConnectionFailed(MeshError):
    """The connection could not be made. Nothing reached MESH."""

    retryable = True


class HostUnknown(ConnectionFailed):
    """The host name could not be resolved."""


class ConnectionRefused(ConnectionFailed):
    """Nothing listens at the address."""


class ConnectTimeout(ConnectionFailed):
    """The connection was not made in time."""


class ServerNotTrusted(ConnectionFailed):
    """The server's certificate is not vouched for by the trust bundle."""

    retryable = False
    misconfigured = True


class HostNameMismatch(ConnectionFailed):
    """The server's certificate is for another host name."""

    retryable = False
    misconfigured = True


class ClientCertificateRefused(ConnectionFailed):
    """The server refused our client certificate."""

    retryable = False
    misconfigured = True


class ConnectionLost(MeshError):
    """The connection broke during the exchange.

    ``maybe_certificate``: no byte of an answer came on a fresh TLS connection, which is also how some servers refuse a
    client certificate. ``nothing_sent``: it broke before the first byte of the request left, so a repeat is safe.
    """

    retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        maybe_certificate: bool = False,
        nothing_sent: bool = False,
        message_id: str = "",
    ) -> None:
        super().__init__(message, message_id=message_id)
        self.maybe_certificate = maybe_certificate
        self.nothing_sent = nothing_sent


class ResponseTimeout(ConnectionLost):
    """MESH did not answer in time."""


class BodyError(MeshError):
    """The body of a message is not whole. It must be neither stored nor acknowledged."""


class BodyTruncated(BodyError):
    """The body ended too early.

    ``in_transit``: fewer bytes came than the server announced, so it happened on the way; otherwise what the server sent
    is not whole in itself.
    """

    retryable = True

    def __init__(self, message: str = "", *, in_transit: bool = False, message_id: str = "") -> None:
        super().__init__(message, message_id=message_id)
        self.in_transit = in_transit


class BodyCorrupt(BodyError):
    """The body is not in the encoding that its headers say."""


class BodyTooLarge(BodyError):
    """The body is larger than allowed."""


class ChunkMismatch(BodyError):
    """The chunks of the message do not fit together."""


class BodyTooSlow(BodyError):
    """The body came too slowly and was given up."""

    retryable = True


class ResponseError(MeshError):
    """MESH answered with a refusal."""


class BadRequest(ResponseError):
    """400: the request is not valid."""


class AuthenticationFailed(ResponseError):
    """403 or 401: MESH did not accept the token, or the mailbox may not do this.

    ``clock_skew`` is our clock minus the server's, when its answer had a Date.
    """

    misconfigured = True
    clock_skew: timedelta | None = None


class NotFound(ResponseError):
    """404: there is no such message, chunk or route."""


class Gone(ResponseError):
    """410: the message is no longer available for download."""


class NotUnique(ResponseError):
    """300: more than one message has this local id."""


class Refused(ResponseError):
    """406, 417 or 422: MESH refused the message for good."""


class UploadFinalised(ResponseError):
    """423: all chunks of the message had already been accepted."""


class Throttled(ResponseError):
    """425 or 429: MESH asked us to slow down."""

    retryable = True


class ServerError(ResponseError):
    """500: MESH failed."""

    retryable = True


class Unavailable(ResponseError):
    """502, 503 or 504: MESH is not available."""

    retryable = True


class UnexpectedAnswer(ResponseError):
    """The answer is not one that MESH gives: a redirect, a web page, or JSON of another shape."""


class SendUncertain(MeshError):
    """The first request of a message was sent, and whether MESH accepted it is not known.

    MESH has no idempotency key (MESH API specification, Send message): repeating may deliver the message twice.
    ``maybe_certificate`` as in ConnectionLost; ``__cause__`` is the error that made it uncertain.
    """

    maybe_certificate: bool = False
