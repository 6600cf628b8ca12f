"""A double, connections that never wait, and clients of two mailboxes."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from meshportal.demo.pki import Identity, Pki, create_pki
from meshportal.mesh import Connection, MeshClient, RetryPolicy, Timeouts, tls_context
from tests.double import Double
from tests.double.state import State

from .raw import RawServer, Reply

ONE, TWO, THREE = "X26ABC1", "X26ABC2", "X26ABC3"
QUICK = Timeouts(connect=2.0, read=5.0, write=5.0, pool=2.0)


class Connect(Protocol):
    def __call__(self, url: str, context: ssl.SSLContext | None = None, **options: Any) -> Connection: ...


class AsClient(Protocol):
    def __call__(self, url: str, mailbox_id: str = ONE, **options: Any) -> MeshClient: ...


class Raw(Protocol):
    def __call__(self, *replies: Reply) -> RawServer: ...


@pytest.fixture(scope="session")
def pki() -> Pki:
    """One authority for all tests here."""
    return create_pki([(ONE, "X26"), (TWO, "X26")])


@pytest.fixture(scope="session")
def service() -> Iterator[Double]:
    """One listening double for all tests: starting and stopping one for each would take half of the time."""
    before = set(threading.enumerate())
    with Double() as made:
        yield made
    assert set(threading.enumerate()) <= before


@pytest.fixture
def double(service: Double) -> Iterator[Double]:
    """A double over plain HTTP, as new, that must see no token twice and make no mistake of its own."""
    service.up()
    service.faults.clear()
    _end_connections(service)
    service.up()
    service.recorder.clear()
    State.__init__(service.state, "TestKey")
    service.add_mailbox(ONE)
    service.add_mailbox(TWO, workflows=["TEST_WORKFLOW", "OTHER"])
    service.add_mailbox(THREE, ods_code="X27")
    yield service
    assert service.errors == []
    assert [record.path for record in service.recorder.records() if record.reason == "replayed token"] == []


def _end_connections(service: Double) -> None:
    """Waits for what the last test left unfinished, so that it is not counted in this one; ends what does not end."""
    # Connections are accepted in order: once this one is answered, none of the last test's is still to come.
    with socket.create_connection(("127.0.0.1", service.port), 5) as last:
        last.sendall(b"GET /messageexchange/_ping HTTP/1.0\r\n\r\n")
        while last.recv(4096):
            pass
    before = time.monotonic()
    while any(thread.name.startswith("Thread-") and "process_request" in thread.name for thread in threading.enumerate()):
        if time.monotonic() - before > 0.1:
            service.down()
            return
        time.sleep(0.001)


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the client would have waited between attempts."""
    return []


@pytest.fixture
def connect(waits: list[float]) -> Iterator[Connect]:
    """Makes connections that are closed at the end and note their waits instead of waiting."""
    with ExitStack() as stack:

        def make(url: str, context: ssl.SSLContext | None = None, **options: Any) -> Connection:
            options.setdefault("timeouts", QUICK)
            options.setdefault("retry", RetryPolicy(sleep=waits.append, random=lambda: 0.5))
            return stack.enter_context(Connection(url, ssl_context=context, **options))

        yield make


@pytest.fixture
def as_client(connect: Connect) -> AsClient:
    """Makes a client of a mailbox at a URL; options go to the connection, ``now`` to the client."""

    def make(url: str, mailbox_id: str = ONE, **options: Any) -> MeshClient:
        given = {"now": options.pop("now")} if "now" in options else {}
        password = options.pop("password", "password")
        shared_key = options.pop("shared_key", "TestKey")
        return MeshClient(connect(url, **options), mailbox_id=mailbox_id, password=password, shared_key=shared_key, **given)

    return make


@pytest.fixture
def client(double: Double, as_client: AsClient) -> MeshClient:
    """X26ABC1 at the double."""
    return as_client(double.base_url)


@pytest.fixture
def other(double: Double, as_client: AsClient) -> MeshClient:
    """X26ABC2 at the double."""
    return as_client(double.base_url, TWO)


@pytest.fixture
def collected() -> Iterator[None]:
    """For tests in which a server resets before TLS begins: Python's ssl then leaves the socket to its collector."""
    yield
    gc.collect()


@pytest.fixture
def raw() -> Iterator[Raw]:
    """Starts a server that says given bytes."""
    with ExitStack() as stack:
        yield lambda *replies: stack.enter_context(RawServer(replies))


LEFT_BY_PYTHON = "ignore:unclosed <ssl.SSLSocket:ResourceWarning"


def context_of(pki: Pki, identity: Identity | None = None, **options: Any) -> ssl.SSLContext:
    """A context as the portal makes them, for X26ABC1 unless another identity is given."""
    chosen = identity or pki.clients[ONE]
    return tls_context(chosen.certificate_pem, chosen.key_pem, pki.authority.certificate_pem, **options)


def nonces(double: Double, routes: str | Sequence[str]) -> list[str]:
    """The nonces of the requests of some routes, in order."""
    return [record.nonce for record in double.recorder.records(route=routes)]


def read_all(client: MeshClient, message_id: str, **options: Any) -> bytes:
    """A message's whole body, which must be complete."""
    with client.download(message_id, **options) as download:
        body = b"".join(download)
        assert download.complete
        assert download.size == len(body)
    return body


def blocks_of(data: bytes, size: int) -> Callable[[], Iterator[bytes]]:
    """A payload function that gives ``data`` in blocks of ``size``."""
    return lambda: (data[start : start + size] for start in range(0, len(data), size))
