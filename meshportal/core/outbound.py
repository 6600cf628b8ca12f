"""HTTPS to addresses that people typed in: the one guard that every such call passes.

A caller gives any https address; what it leads to is decided when the connection is made, and the connection goes to the
very address that was looked at, so that a name which changes its mind between the look and the call gains nothing. There
are no redirects, proxies, cookies or retries, and no answer is read beyond its status and headers.

| what | what happens |
|---|---|
| http, an address with a user or a fragment | Unusable, when it is set and when it is called |
| a name of which any address is private, loopback, link-local or otherwise not public | Forbidden, unless ``allowed`` holds it |
| a redirect | an answer like any other: the caller sees 3xx |
| an answer without end, or one that drips | the connection is closed after its headers, and at the deadline |
| a certificate that nobody vouches for, or for another name | Unreachable |
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import certifi
import httpcore

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_FAILED = (httpcore.ConnectError, httpcore.ConnectTimeout)


class OutboundError(Exception):
    """Nothing came of the call. The text is a sentence without the address."""


class Unusable(OutboundError):
    """The address is none that may be called."""


class Forbidden(OutboundError):
    """The address leads into a network that may not be called."""


class Unreachable(OutboundError):
    """No connection was made: nothing reached the receiver."""


class Lost(OutboundError):
    """The connection broke, or no answer came in time: the receiver may have acted."""


class Slow(Lost):
    """No answer came in time."""


@dataclass(frozen=True)
class Answer:
    """The status, and the value of Retry-After ('' when there is none)."""

    status: int
    retry_after: str = ""


def check_url(url: str) -> SplitResult:
    """The parts of an address that may be called. Raises Unusable."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise Unusable("This is no web address.") from None
    if parts.scheme != "https" or not host:
        raise Unusable("The address must begin with https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise Unusable("The address must hold no user name or password: it is shown on pages.")
    if parts.fragment:
        raise Unusable("The address must hold no #.")
    if not url.isascii() or any(character.isspace() or not character.isprintable() for character in url):
        raise Unusable("The address must be plain ASCII without blanks. Write a host beyond ASCII as xn--….")
    return parts


def may_reach(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an IP address is of the public internet, or in a network that ``allowed`` holds."""
    found: Any = ipaddress.ip_address(address.partition("%")[0])
    # ::ffff:127.0.0.1 is 127.0.0.1.
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    if any(found.version == network.version and found in network for network in allowed):
        return True
    tunnelled = [getattr(found, "sixtofour", None), *(getattr(found, "teredo", None) or ())]
    if any(inner is not None and not inner.is_global for inner in tunnelled):
        return False
    nat64 = ipaddress.ip_network("64:ff9b::/96")
    if found.version == 6 and found in nat64 and not ipaddress.ip_address(int(found) & 0xFFFFFFFF).is_global:
        return False
    return bool(found.is_global and not found.is_multicast)


class _Stream(httpcore.NetworkStream):
    """A stream whose every wait ends at a deadline, however often single bytes keep coming."""

    def __init__(self, inner: httpcore.NetworkStream, until: float) -> None:
        self._inner, self._until = inner, until

    def _left(self, timeout: float | None) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("The deadline has passed.")
        return left if timeout is None else min(left, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._left(timeout)), self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Guarded(httpcore.NetworkBackend):
    """Resolves a name, refuses it whole when any of its addresses is forbidden, and connects to one that was looked at."""

    def __init__(self, allowed: Sequence[Network], until: float) -> None:
        self._allowed, self._until = allowed, until
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        last: Exception = httpcore.ConnectError("The name has no address.")
        for address in _addresses(host, port, self._allowed):
            try:
                return _Stream(self._inner.connect_tcp(address, port, timeout, local_address, socket_options), self._until)
            except _FAILED as error:
                last = error
        raise last


def _addresses(host: str, port: int, allowed: Sequence[Network]) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("The host's name could not be found on the network.") from None
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not all(may_reach(address, allowed) for address in addresses):
        raise Forbidden("The host's name leads into a private network, which this portal may not call.")
    return addresses[:4]


@lru_cache(maxsize=4)
def _context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def post(
    url: str,
    *,
    headers: Mapping[str, str],
    body: Callable[[], Iterator[bytes]],
    size: int,
    timeout: float,
    deadline: float,
    allowed: Sequence[Network] = (),
    ca_file: str = "",
) -> Answer:
    """Sends ``body``, ``size`` bytes of it, as they come. ``timeout`` bounds each wait, ``deadline`` the whole, in seconds.

    ``body`` opens it, when there is a connection. Raises OutboundError, and whatever ``body`` raises.
    """
    check_url(url)
    wait = {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout}
    sent = [*headers.items(), ("Content-Length", str(size))]
    try:
        context = _context(ca_file)
    except (OSError, ssl.SSLError):
        raise Unreachable("The bundle of authorities for receivers cannot be read.") from None
    backend = _Guarded(allowed, time.monotonic() + deadline)
    with (
        httpcore.ConnectionPool(ssl_context=context, network_backend=backend, http2=False, retries=0) as pool,
        closing(_Source(body)) as source,
    ):
        try:
            with pool.stream(
                "POST",
                url,
                headers=[(name.encode(), text.encode("ascii")) for name, text in sent],
                content=iter(source),
                extensions={"timeout": wait},
            ) as answer:
                return _answer(answer)
        except OutboundError:
            raise
        except httpcore.ConnectTimeout:
            raise Unreachable("No connection came about in time.") from None
        except httpcore.ConnectError as error:
            if "certificate verify failed" in str(error).lower() or "hostname" in str(error).lower():
                raise Unreachable("Its certificate is not valid for this host, or no authority vouches for it.") from None
            raise Unreachable("Nothing answers there, or not in TLS.") from None
        except (httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.PoolTimeout):
            raise Slow("No answer came in time.") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
            if source.error is not None:
                raise source.error from None
            raise Lost("The connection broke before an answer came.") from None


class _Source:
    """The body, which keeps what its source raised: the transport would call it a fault of the network."""

    def __init__(self, opened: Callable[[], Iterator[bytes]]) -> None:
        self._open = opened
        self._blocks: Iterator[bytes] | None = None
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._blocks = self._open()
            yield from self._blocks
        except BaseException as error:
            self.error = error
            raise

    def close(self) -> None:
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()


def _answer(answer: httpcore.Response) -> Answer:
    headers = {name.lower(): text for name, text in answer.headers}
    return Answer(answer.status, headers.get(b"retry-after", b"").decode("ascii", "replace"))
