"""The official mesh-sandbox behind mutual TLS, run from a virtual environment of its own.

It stands for the MESH service in the demonstration and in the round-trip tests. It is more lenient than the real
service: tokens may be replayed, sizes are not limited, acknowledged messages can still be read, nothing expires.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from meshportal.demo.pki import Pki, client_context, write_pki
from meshportal.demo.processes import (
    LOOPBACK,
    Service,
    ServiceError,
    free_port,
    http_request,
    plain_environment,
)

BUILT_IN_MAILBOXES = ("X26ABC1", "X26ABC2", "X26ABC3")
PASSWORD = "password"
_MAILBOX = re.compile(r"[A-Z0-9]{1,100}")


class Sandbox:
    """One mesh-sandbox server process with a file store.

    ``python`` is the interpreter of a virtual environment that holds mesh-sandbox; ``directory`` takes store, TLS
    files and, unless ``log`` names another place, log; ``mailboxes`` are made in addition to the three built-in ones.
    Every mailbox has the password ``password``. Messages outlive a restart.
    """

    def __init__(
        self,
        python: Path,
        directory: Path,
        pki: Pki,
        *,
        port: int | None = None,
        mailboxes: Iterable[str] = (),
        shared_key: str = "TestKey",
        log: Path | None = None,
    ) -> None:
        self.directory = directory
        self.log = log or directory / "sandbox.log"
        self.store = directory / "store"
        self.port = port or free_port()
        self.shared_key = shared_key
        self.pki = pki
        self._tls = client_context(pki.authority.certificate_pem, pki.authority.client("SANDBOXADMIN", "X26"))
        for mailbox_id in mailboxes:
            self._make_mailbox(mailbox_id)
        files = write_pki(pki, directory / "tls")
        self.service = Service(
            "mesh-sandbox",
            [
                *(
                    python,
                    "-m",
                    "uvicorn",
                    "mesh_sandbox.api:app",
                    "--host",
                    LOOPBACK,
                    "--port",
                    str(self.port),
                ),
                *("--workers", "1", "--no-access-log", "--log-level", "warning"),
                *("--timeout-graceful-shutdown", "3"),
                *("--ssl-certfile", files.server, "--ssl-keyfile", files.server_key),
                *("--ssl-ca-certs", files.ca, "--ssl-cert-reqs", "2"),
            ],
            log=self.log,
            env=plain_environment(
                {
                    "AUTH_MODE": "full",
                    "STORE_MODE": "file",
                    "MAILBOXES_DATA_DIR": str(self.store.resolve()),
                    "SHARED_KEY": shared_key,
                    "PYTHONWARNINGS": "ignore",
                }
            ),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a path."""
        return f"https://localhost:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.service.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive now."""
        return self.service.running

    def start(self) -> None:
        """Start it and wait until it answers. Raises ServiceError with the log's tail."""
        self.store.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.service.start()
        try:
            self.service.wait_for_http(f"{self.base_url}/health", tls=self._tls, timeout=40.0)
        except BaseException:
            self.service.stop()
            raise

    def stop(self) -> None:
        """Stop it; does nothing when it is not running."""
        self.service.stop()

    def restart(self) -> None:
        """Stop and start on the same port; messages are read again from the store."""
        self.stop()
        self.start()

    def add_mailbox(self, mailbox_id: str) -> None:
        """Make one more mailbox while it runs. Raises ValueError for a bad id, ServiceError when it is refused."""
        self._make_mailbox(mailbox_id)
        self._admin("DELETE", "/messageexchange/admin/reset", None)

    def report(
        self,
        mailbox_id: str,
        *,
        linked_message_id: str,
        code: str = "14",
        description: str = "Message not collected by recipient after 5 days",
        workflow_id: str = "",
        subject: str = "",
        local_id: str = "",
        file_name: str = "",
        status: str = "undeliverable",
    ) -> str:
        """Put a report into a mailbox's inbox and give its message id.

        With status ``undeliverable`` the sandbox writes its fixed non-delivery report; with ``error`` it uses
        ``code`` and ``description``. Raises ServiceError when it refuses.
        """
        answer = self._admin(
            "POST",
            "/messageexchange/admin/report",
            {
                "mailbox_id": mailbox_id,
                "code": code,
                "description": description,
                "workflow_id": workflow_id,
                "subject": subject,
                "local_id": local_id,
                "status": status,
                "file_name": file_name,
                "linked_message_id": linked_message_id,
            },
        )
        return str(answer["message_id"])

    def set_status(self, message_id: str, status: str, *, code: str = "", event: str = "", description: str = "") -> None:
        """Push a status onto a message: ``undeliverable``, ``error`` or ``accepted``. Raises ServiceError."""
        self._admin(
            "POST",
            f"/messageexchange/admin/message/{message_id}/event",
            {"status": status, "code": code, "event": event, "description": description},
        )

    def _admin(self, method: str, path: str, content: dict[str, str] | None) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        status, answer = http_request(
            method,
            self.base_url + path,
            tls=self._tls,
            body=body,
            headers={"Content-Type": "application/json"},
        )
        if status >= 300:
            raise ServiceError(f"mesh-sandbox answered {status} to {method} {path}: {answer[:300]!r}")
        parsed = json.loads(answer or b"null")
        return parsed if isinstance(parsed, dict) else {}

    def _make_mailbox(self, mailbox_id: str) -> None:
        if not _MAILBOX.fullmatch(mailbox_id):
            raise ValueError(f"{mailbox_id!r} is not an upper-case mailbox id.")
        (self.store / mailbox_id).mkdir(mode=0o700, parents=True, exist_ok=True)
