"""Polls a second of empty inboxes over mutual TLS: kept connections against a connection for each poll."""

from __future__ import annotations

import time
from collections.abc import Callable

from meshportal.demo.pki import create_pki
from meshportal.mesh import Connection, MeshClient, tls_context
from tests.double import Double

POLLS = 300


def run() -> bool:
    """Always true: it measures."""
    print(f"polling: {POLLS} empty inboxes, one after the other")
    pki = create_pki([("X26HC001", "X26")])
    identity = pki.clients["X26HC001"]

    def context() -> object:
        return tls_context(identity.certificate_pem, identity.key_pem, pki.authority.certificate_pem)

    with Double(pki) as double:
        double.add_mailbox("X26HC001")
        kept_context = context()

        def client(connection: Connection) -> MeshClient:
            return MeshClient(connection, mailbox_id="X26HC001", password="password", shared_key="TestKey")

        def kept() -> None:
            client(connection).inbox_page()

        def fresh_connection() -> None:
            with Connection(double.base_url, ssl_context=kept_context) as own:  # type: ignore[arg-type]
                client(own).inbox_page()

        def fresh_all() -> None:
            with Connection(double.base_url, ssl_context=context()) as own:  # type: ignore[arg-type]
                client(own).inbox_page()

        with Connection(double.base_url, ssl_context=kept_context) as connection:  # type: ignore[arg-type]
            rates = {
                name: _rate(act)
                for name, act in (
                    ("kept connection (as the portal does)", kept),
                    ("new connection, kept TLS context", fresh_connection),
                    ("new connection and context", fresh_all),
                )
            }
    best = max(rates.values())
    for name, rate in rates.items():
        print(f"  {name}: {rate:.0f} polls/s, {best / rate:.1f} times slower than the fastest")
    return True


def _rate(act: Callable[[], None]) -> float:
    for _ in range(10):
        act()
    began = time.monotonic()
    for _ in range(POLLS):
        act()
    return POLLS / (time.monotonic() - began)
