"""Sends the demonstration's letters to the sandbox, through the portal's own MESH client, and remembers which."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from meshportal.demo import sandbox
from meshportal.demo.letters import Letter, Report
from meshportal.demo.pki import Identity, Pki
from meshportal.demo.sandbox import Sandbox
from meshportal.demo.stage import write_private
from meshportal.mesh import Connection, MeshClient, tls_context


@dataclass
class Register:
    """What was sent: message ids by key, kept in a file that is written after every message."""

    path: Path
    ids: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Register:
        """An absent or damaged file is an empty register: at worst letters are sent twice."""
        try:
            kept = json.loads(path.read_text())
        except (OSError, ValueError):
            kept = {}
        return cls(path, {str(key): str(value) for key, value in kept.items()} if isinstance(kept, dict) else {})

    def note(self, key: str, message_id: str) -> None:
        self.ids[key] = message_id
        write_private(self.path, json.dumps(self.ids, indent=1))


def connect(server: Sandbox, pki: Pki, identity: Identity) -> Connection:
    """A connection to the sandbox with a client certificate. One serves every mailbox there."""
    context = tls_context(identity.certificate_pem, identity.key_pem, pki.authority.certificate_pem)
    return Connection(server.base_url, ssl_context=context)


def send(letters: Iterable[Letter], register: Register, connection: Connection, *, shared_key: str) -> int:
    """Sends every letter that the register does not have; gives how many. Raises errors of :mod:`meshportal.mesh`."""
    count = 0
    clients: dict[str, MeshClient] = {}
    for letter in letters:
        if letter.key in register.ids:
            continue
        client = clients.get(letter.sender)
        if client is None:
            client = clients[letter.sender] = MeshClient(
                connection, mailbox_id=letter.sender, password=sandbox.PASSWORD, shared_key=shared_key
            )
            client.handshake()
        receipt = client.send(
            letter.body,
            recipient=letter.recipient,
            workflow_id=letter.workflow_id,
            subject=letter.subject,
            local_id=letter.local_id,
            file_name=letter.file_name,
            content_type=letter.content_type,
            chunk_size=letter.chunk_size,
            compress=letter.compress,
        )
        register.note(letter.key, receipt.message_id)
        count += 1
    return count


def report(wanted: Report, register: Register, server: Sandbox, *, known: Callable[[str], bool] = lambda _id: True) -> bool:
    """Lets the sandbox put a report into a mailbox, once, and not before ``known`` says that its message is known.

    True when the report is there.
    """
    if wanted.key in register.ids:
        return True
    linked = register.ids.get(wanted.about, wanted.about)
    if not known(linked):
        return False
    register.note(
        wanted.key,
        server.report(
            wanted.mailbox_id,
            linked_message_id=linked,
            code=wanted.code,
            description=wanted.description,
            workflow_id=wanted.workflow_id,
            subject=wanted.subject,
            local_id=wanted.local_id,
            status=wanted.status,
        ),
    )
    return True
