"""The MESH authorization header: one token, one request (MESH API specification, MESH Authorization header)."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

SCHEME = "NHSMESH"


def token(
    mailbox_id: str,
    password: str,
    shared_key: str,
    *,
    timestamp: datetime,
    nonce: str | None = None,
    nonce_count: int = 0,
) -> str:
    """The value of one ``Authorization`` header.

    Without ``nonce`` a new random one is used with count 0: no state is shared between threads, and no server that
    wants rising counts can be offended by requests that overtake each other. ``timestamp`` must be aware.
    """
    nonce = nonce or str(uuid.uuid4())
    moment = timestamp.astimezone(UTC).strftime("%Y%m%d%H%M")
    hashed = f"{mailbox_id}:{nonce}:{nonce_count}:{password}:{moment}"
    digest = hmac.new(shared_key.encode(), hashed.encode(), hashlib.sha256).hexdigest()
    return f"{SCHEME} {mailbox_id}:{nonce}:{nonce_count}:{moment}:{digest}"


class Signer:
    """Makes tokens for one mailbox. Its repr and its attributes' reprs show no secret."""

    __slots__ = ("_secrets", "mailbox_id")

    def __init__(self, mailbox_id: str, password: str, shared_key: str) -> None:
        self.mailbox_id = mailbox_id
        # Behind a closure, so that a dump of this object or of the frames that hold it shows neither.
        self._secrets: Callable[[], tuple[str, str]] = lambda: (password, shared_key)

    def token(self, now: datetime) -> str:
        """A token that no request has used yet."""
        password, shared_key = self._secrets()
        return token(self.mailbox_id, password, shared_key, timestamp=now)

    def __repr__(self) -> str:
        return f"<Signer {self.mailbox_id}>"
