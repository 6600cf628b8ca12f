"""A MESH client of a few lines on the standard library, independent of the portal's, to test the double by hand."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

V1 = "application/json"
V2 = "application/vnd.mesh.v2+json"
AUDIT = {"mex-ClientVersion": "test", "mex-OSName": "test", "mex-OSVersion": "1"}


def token(
    mailbox: str,
    *,
    password: str = "password",
    key: str = "TestKey",
    at: datetime | None = None,
    nonce: str | None = None,
    count: int = 0,
) -> str:
    """An Authorization header."""
    nonce = nonce or str(uuid.uuid4())
    stamp = f"{at or datetime.now(UTC):%Y%m%d%H%M}"
    proof = hmac.new(key.encode(), f"{mailbox}:{nonce}:{count}:{password}:{stamp}".encode(), hashlib.sha256)
    return f"NHSMESH {mailbox}:{nonce}:{count}:{stamp}:{proof.hexdigest()}"


@dataclass
class Reply:
    """Status, headers (any case) and body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a v2 error body."""
        return str(self.json["detail"][0]["code"])

    @property
    def msg(self) -> str:
        """The text of a v2 error body."""
        return str(self.json["detail"][0]["msg"])


class Caller:
    """Speaks for one mailbox over one kept connection."""

    def __init__(
        self,
        port: int,
        mailbox: str,
        *,
        tls: ssl.SSLContext | None = None,
        accept: str = V2,
        timeout: float = 20.0,
    ) -> None:
        self.mailbox, self.accept = mailbox, accept
        self.connection: http.client.HTTPConnection
        if tls is not None:
            self.connection = http.client.HTTPSConnection("localhost", port, context=tls, timeout=timeout)
        else:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        auth: str | None = None,
    ) -> Reply:
        """One request; ``path`` after ``/messageexchange/{mailbox}`` unless it starts with ``/``. ``auth`` "" sends none."""
        sent: dict[str, str | bytes] = {"Accept": self.accept, "Accept-Encoding": "identity"}
        given = token(self.mailbox) if auth is None else auth
        if given:
            sent["Authorization"] = given
        sent.update(headers or {})
        target = path if path.startswith("/") else f"/messageexchange/{self.mailbox}/{path}".rstrip("/")
        try:
            self.connection.request(method, target, body=body, headers=sent)
            answer = self.connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        except BaseException:
            self.connection.close()
            raise

    def send(self, body: bytes | None = b"letter", **headers: str | bytes) -> Reply:
        """POST outbox to X26ABC2; keywords are header names with ``_`` for ``-``, an empty-bytes value leaves one out."""
        sent: dict[str, str | bytes] = {"Mex-To": "X26ABC2", "Mex-WorkflowID": "TEST_WORKFLOW"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.ask("POST", "outbox", body=body, headers={k: v for k, v in sent.items() if v != b""})
