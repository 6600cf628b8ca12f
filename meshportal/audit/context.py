"""The id that groups everything one request or one task did; on log lines and audit events alike."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request or task that is running, or ''."""
    return _request_id.get()


@contextmanager
def request(request_id: str = "") -> Iterator[str]:
    """Everything inside carries ``request_id`` (a new one when none is given)."""
    chosen = request_id or uuid.uuid4().hex
    token = _request_id.set(chosen)
    try:
        yield chosen
    finally:
        _request_id.reset(token)
