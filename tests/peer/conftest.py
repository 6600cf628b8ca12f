"""Mailboxes of the sandbox, and the portal's own mailbox among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from certificates import services as certificates
from certificates.reading import Source
from mailboxes import connections, polling
from mailboxes.models import Mailbox
from meshportal.audit.actors import Actor
from meshportal.demo.pki import PkiFiles, write_pki
from meshportal.demo.sandbox import PASSWORD, Sandbox
from meshportal.mesh import Connection, MeshClient, tls_context
from messages import turn
from messages.tally import Tally
from tests.conftest import Make

OURS, THEIRS = "X26PEER1", "X26PEER2"


@pytest.fixture(scope="session")
def files(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    """Two mailboxes of the sandbox, with certificates of their own."""
    for mailbox_id in (OURS, THEIRS):
        sandbox.add_mailbox(mailbox_id)
    return write_pki(sandbox.pki.with_clients([(OURS, "X26"), (THEIRS, "X26")]), tmp_path_factory.mktemp("pki"))


@pytest.fixture
def client_of(sandbox: Sandbox, files: PkiFiles) -> Iterator[Callable[[str], MeshClient]]:
    """Makes our client, as one of the two mailboxes."""
    connections_made: list[Connection] = []

    def make(mailbox_id: str) -> MeshClient:
        context = tls_context(
            files.client(mailbox_id).read_bytes(), files.client_key(mailbox_id).read_bytes(), files.ca.read_bytes()
        )
        connection = Connection(sandbox.base_url, ssl_context=context)
        connections_made.append(connection)
        return MeshClient(connection, mailbox_id=mailbox_id, password=PASSWORD, shared_key=sandbox.shared_key)

    yield make
    for connection in connections_made:
        connection.close()


@pytest.fixture
def client(client_of: Callable[[str], MeshClient]) -> MeshClient:
    """Our client, as mailbox OURS."""
    return client_of(OURS)


@pytest.fixture
def box(sandbox: Sandbox, files: PkiFiles, team: Any, mailbox: Make, settings: Any) -> Iterator[Mailbox]:
    """The portal's mailbox OURS, in collect mode."""
    settings.MESH_URLS = {**settings.MESH_URLS, "sandbox": sandbox.base_url}
    settings.MESH_SHARED_KEYS = {**settings.MESH_SHARED_KEYS, "sandbox": sandbox.shared_key}
    actor = Actor.command("tests")
    certificates.replace_trust_bundle(actor=actor, environment="sandbox", name="CA", pem=files.ca.read_bytes())
    identity, _ = certificates.import_identity(
        actor=actor,
        team=team,
        environment="sandbox",
        name="peer",
        sources=[Source("the file", files.client(OURS).read_bytes()), Source("the key", files.client_key(OURS).read_bytes())],
    )
    yield mailbox(mailbox_id=OURS, identity=identity, password=PASSWORD)
    connections.forget_all()


@pytest.fixture
def poll(box: Mailbox) -> Callable[[], Tally]:
    """Polls the portal's mailbox once, as a worker does."""

    def once() -> Tally:
        claimed = polling.claim_now(box)
        assert claimed is not None
        return turn.work(claimed)

    return once
