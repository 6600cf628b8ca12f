"""One kept connection pool, and one request on it.

The pool is httpx's transport, used without httpx.Client on purpose: no cookies (several mailboxes share a connection),
no redirects (they would leak the token), no proxies or credentials from the environment, and no log line with the
address, which can hold a local id.
"""

from __future__ import annotations

import logging
import platform
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from meshportal.mesh import errors
from meshportal.mesh.body import Body
from meshportal.mesh.classify import Progress, classify
from meshportal.mesh.parse import whole_number
from meshportal.mesh.retry import RetryPolicy
from meshportal.mesh.wire import decode_headers

log = logging.getLogger("meshportal.mesh")

VERSION = "1"
USER_AGENT = f"meshportal/{VERSION};Python/{platform.python_version()};{platform.system()}"
_ANSWER_LIMIT = 16 * 1024 * 1024


def _quiet(_record: logging.LogRecord) -> bool:
    return False


# At DEBUG these write every header of an answer, subjects among them.
for _name in ("httpcore.http11", "httpcore.connection"):
    logging.getLogger(_name).addFilter(_quiet)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """In seconds. ``read`` and ``write`` are for one socket operation, ``pool`` for a free connection.

    A body that after ``slow_after`` seconds of waiting has averaged less than ``slow_rate`` bytes a second is given up
    (BodyTooSlow). Only time spent waiting for the server counts.
    """

    connect: float = 10.0
    read: float = 60.0
    write: float = 60.0
    pool: float = 30.0
    slow_after: float = 60.0
    slow_rate: float = 4096.0

    def for_httpx(self) -> dict[str, float]:
        """As the extension that httpx's transports read."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request, but for its token. ``route`` is what the log shows; ``target`` the quoted path and query."""

    method: str
    route: str
    target: str = field(repr=False)
    accept: str
    headers: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    body: Body | None = field(default=None, repr=False)
    gzip: bool = False
    mailbox_id: str = ""
    message_id: str = ""


class Answer:
    """An answer whose headers are there and whose body is still on the wire. Close it, or use it in a ``with``."""

    def __init__(
        self,
        response: httpx.Response,
        finish: Callable[[Answer, errors.MeshError | None], None],
        connection: Connection,
        progress: Progress,
        call: Call,
    ) -> None:
        self.status = response.status_code
        self.headers = decode_headers(response.headers.raw)
        self.received = 0
        self.message_id = call.message_id
        self._response = response
        self._finish = finish
        self._connection = connection
        self._progress = progress
        self._call = call
        self._error: errors.MeshError | None = None
        self._closed = False

    def server_chain(self) -> tuple[bytes, ...]:
        """The verified server's certificates in DER, its own first; before Python 3.13 its own alone; none without TLS.

        To be asked before the answer is closed: the connection may be gone after that.
        """
        stream = self._response.extensions.get("network_stream")
        # Not its "ssl_object", which is a part of Python's own with other ways.
        side = None if stream is None else stream.get_extra_info("socket")
        if not isinstance(side, ssl.SSLSocket):
            return ()
        try:
            if sys.version_info >= (3, 13):
                return tuple(side.get_unverified_chain())
            own = side.getpeercert(binary_form=True)
        except (ValueError, OSError, AttributeError):
            # It is closed already: what it was made of is gone.
            return ()
        return (own,) if own else ()

    @property
    def framed(self) -> bool:
        """Whether the headers let a reader notice that the body was cut short."""
        return "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()

    def blocks(self) -> Iterator[bytes]:
        """The body as transferred.

        Raises BodyTruncated when it is shorter or longer than its Content-Length, BodyTooSlow, ConnectionLost.
        """
        try:
            yield from self._blocks()
        except errors.MeshError as error:
            self._error = error
            raise

    def _blocks(self) -> Iterator[bytes]:
        stream = self._response.stream
        assert isinstance(stream, httpx.SyncByteStream)
        clock, limits = self._connection.monotonic, self._connection.timeouts
        parts, waited = iter(stream), 0.0
        while True:
            begun = clock()
            try:
                part = next(parts, None)
            except httpx.TransportError as error:
                self._progress.answered = True
                raise classify(error, self._progress, message_id=self._call.message_id) from None
            waited += clock() - begun
            if part is None:
                break
            self.received += len(part)
            if waited > limits.slow_after and self.received < limits.slow_rate * waited:
                raise errors.BodyTooSlow(
                    f"Only {self.received} bytes came in {waited:.0f} seconds.", message_id=self._call.message_id
                )
            yield part
        expected = whole_number(self.headers.get("content-length"))
        if expected is not None and expected != self.received and self._call.method != "HEAD":
            raise errors.BodyTruncated(
                f"{self.received} bytes came where {expected} were announced.",
                in_transit=True,
                message_id=self._call.message_id,
            )

    def read(self) -> bytes:
        """The whole body. Raises as ``blocks``, and UnexpectedAnswer beyond 16 MiB."""
        parts = []
        for part in self.blocks():
            parts.append(part)
            if self.received > _ANSWER_LIMIT:
                raise errors.UnexpectedAnswer("The answer is far too long.", status=self.status)
        return b"".join(parts)

    def read_start(self, limit: int) -> bytes:
        """At most about ``limit`` bytes of the body; what cannot be read is left out."""
        parts = []
        try:
            for part in self.blocks():
                parts.append(part)
                if self.received >= limit:
                    break
        except errors.MeshError:
            pass
        return b"".join(parts)[:limit]

    def close(self) -> None:
        """Gives the connection back, or closes it when the body was not read to its end."""
        if not self._closed:
            self._closed = True
            self._response.close()
            self._finish(self, self._error)

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()


class Connection:
    """A pool of kept connections to one MESH endpoint with one client certificate. Thread-safe; keep it.

    ``base_url`` is ``https://host``; a trailing ``/messageexchange`` is allowed. ``ssl_context`` comes from
    :func:`meshportal.mesh.tls_context`; None is for plain http (a local sandbox) or system trust. Raises ValueError for
    a URL that is neither http nor https or holds credentials, and for a context that does not verify.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ssl_context: ssl.SSLContext | None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        user_agent: str = USER_AGENT,
        transport: httpx.BaseTransport | None = None,
        max_connections: int = 50,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(base_url)
        # Reading the port is what checks it.
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.port == 0:
            raise ValueError("base_url must be http(s)://host[:port], without credentials")
        if parts.query or parts.fragment:
            raise ValueError("base_url must have no query and no fragment")
        if ssl_context is not None and (ssl_context.verify_mode != ssl.CERT_REQUIRED or not ssl_context.check_hostname):
            raise ValueError("ssl_context must verify the server's certificate and host name")
        path = parts.path.rstrip("/").removesuffix("/messageexchange")
        self.base_url = f"{parts.scheme}://{parts.netloc}{path}"
        self.timeouts = timeouts or Timeouts()
        self.retry = retry or RetryPolicy()
        self.user_agent = user_agent
        self.monotonic = monotonic
        if transport is None:
            if ssl_context is None:
                https = parts.scheme == "https"
                ssl_context = ssl.create_default_context() if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            transport = httpx.HTTPTransport(
                verify=ssl_context,
                trust_env=False,
                # Shorter than servers keep idle connections, so that a request seldom meets one just being closed.
                limits=httpx.Limits(
                    max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=20.0
                ),
            )
        self._transport = transport

    def open(self, call: Call, *, authorization: str | None, attempt: int) -> Answer:
        """Sends ``call`` once and returns its answer, whatever the status.

        Raises ConnectionFailed and its children, ConnectionLost, ResponseTimeout, UnexpectedAnswer, InvalidRequest; and
        whatever the body's source raises.
        """
        begun = self.monotonic()
        progress = Progress()

        def finish(answer: Answer | None, error: BaseException | None) -> None:
            self._log(call, answer, error, seconds=self.monotonic() - begun, attempt=attempt)

        try:
            response = self._transport.handle_request(self._request(call, authorization, progress))
        except httpx.TransportError as error:
            found = classify(error, progress, message_id=call.message_id)
            finish(None, found)
            # A protocol error's text can quote a header.
            raise found from (None if isinstance(error, httpx.ProtocolError) else error)
        except httpx.InvalidURL as error:
            # Its text quotes the address.
            finish(None, error)
            raise errors.InvalidRequest("The address of the request is too long, or none.") from None
        except BaseException as error:
            finish(None, error)
            raise
        progress.answered = True
        return Answer(response, finish, self, progress, call)

    def _request(self, call: Call, authorization: str | None, progress: Progress) -> httpx.Request:
        headers: list[tuple[bytes, bytes]] = [
            (b"Accept", call.accept.encode()),
            (b"Accept-Encoding", b"gzip" if call.gzip else b"identity"),
            (b"User-Agent", self.user_agent.encode("latin-1", "replace")),
        ]
        if authorization is not None:
            headers.append((b"Authorization", authorization.encode()))
        headers += [(name.encode(), value) for name, value in call.headers.items()]
        if call.body is not None:
            headers.append((b"Content-Length", str(call.body.size).encode()))
        return httpx.Request(
            call.method,
            self.base_url + call.target,
            headers=headers,
            content=None if call.body is None else call.body.blocks(),
            extensions={"timeout": self.timeouts.for_httpx(), "trace": progress},
        )

    def _log(self, call: Call, answer: Answer | None, error: BaseException | None, *, seconds: float, attempt: int) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        log.info(
            "%s %s mailbox=%s message_id=%s status=%s error=%s bytes=%d ms=%.0f attempt=%d",
            call.method,
            call.route,
            call.mailbox_id or "-",
            errors.safe_text(call.message_id, 80) or "-",
            "-" if answer is None else answer.status,
            "-" if error is None else type(error).__name__,
            0 if answer is None else answer.received,
            seconds * 1000,
            attempt,
        )

    def close(self) -> None:
        """Closes the pool. Requests under way on other threads fail."""
        self._transport.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection {self.base_url}>"
