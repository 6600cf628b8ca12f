"""One call for one mailbox: a new token for every attempt, the answer checked, the clocks compared.

The service's Date header is read off every answer: a clock that is two hours wrong makes every token invalid (MESH API
specification, MESH Authorization header), and nobody would guess it from a 403.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from meshportal.mesh import errors
from meshportal.mesh.answers import ERROR_BODY_LIMIT, error_for
from meshportal.mesh.auth import Signer
from meshportal.mesh.body import Body
from meshportal.mesh.connection import Answer, Call, Connection
from meshportal.mesh.parse import error_in, http_date
from meshportal.mesh.retry import Attempts

BASE = "/messageexchange"
V1 = "application/vnd.mesh.v1+json"
V2 = "application/vnd.mesh.v2+json"
_LONGEST_ID = 100


def usable(identifier: str, *, longest: int = _LONGEST_ID) -> bool:
    """Whether an id can stand in a path as one segment. Dots alone would climb, and HTTP libraries let them."""
    return 0 < len(identifier) <= longest and identifier.strip(".") != "" and identifier.isprintable()


def segment(identifier: str, what: str, *, longest: int = _LONGEST_ID) -> str:
    """``identifier`` quoted as one path segment. Raises InvalidRequest for one that cannot be."""
    if not usable(identifier, longest=longest):
        raise errors.InvalidRequest(f"The {what} cannot stand in an address: it is empty, too long, or not printable.")
    return quote(identifier, safe="")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Exchange:
    """Calls of one mailbox on a kept connection."""

    def __init__(self, connection: Connection, signer: Signer, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._signer = signer
        self._now = now
        self.clock_skew: timedelta | None = None
        self.server_chain: tuple[bytes, ...] = ()

    def call(
        self,
        method: str,
        route: str,
        path: str,
        *,
        accept: str = V2,
        headers: Mapping[str, bytes] | None = None,
        body: Body | None = None,
        gzip: bool = False,
        message_id: str = "",
    ) -> Call:
        """A request for this mailbox. ``path`` is quoted already and begins below ``/messageexchange``."""
        return Call(
            method=method,
            route=route,
            target=BASE + path,
            accept=accept,
            headers=headers or {},
            body=body,
            gzip=gzip,
            mailbox_id=self._signer.mailbox_id,
            message_id=message_id,
        )

    def open(self, call: Call, attempt: int, *, expected: tuple[int, ...], signed: bool = True) -> Answer:
        """One attempt: the answer with one of the ``expected`` statuses, its body unread.

        Raises the error that any other answer is, and what :meth:`Connection.open` raises.
        """
        authorization = self._signer.token(self._now()) if signed else None
        answer = self._connection.open(call, authorization=authorization, attempt=attempt)
        self._compare_clocks(answer)
        self.server_chain = answer.server_chain() or self.server_chain
        if answer.status in expected:
            return answer
        with answer:
            body = answer.read_start(ERROR_BODY_LIMIT)
        error = error_for(answer.status, answer.headers, body, message_id=call.message_id, now=self._now())
        if isinstance(error, errors.AuthenticationFailed):
            error.clock_skew = self.clock_skew
        raise error

    def ask(self, call: Call, *, expected: tuple[int, ...] = (200,), signed: bool = True) -> tuple[Answer, bytes]:
        """The whole answer, tried again as the retry policy allows; the body is at most 16 MiB."""
        attempts = Attempts(self._connection.retry)
        while True:
            try:
                with self.open(call, attempts.number, expected=expected, signed=signed) as answer:
                    return answer, answer.read()
            except errors.MeshError as error:
                error.message_id = error.message_id or call.message_id
                attempts.wait_or_raise(error)

    def ask_json(self, call: Call, *, signed: bool = True) -> Any:
        """The JSON of an answer. Raises UnexpectedAnswer for anything else, as :meth:`ask` besides."""
        answer, body = self.ask(call, signed=signed)
        return parsed(answer, body)

    def ask_done(self, call: Call) -> None:
        """A call whose success says nothing: an empty body, or JSON that is no error.

        A web page with status 200, as a proxy shows one, must not pass for an acknowledgement. Raises
        AuthenticationFailed for an error body in a 200: the real service is said to answer a handshake for an unknown
        mailbox so.
        """
        answer, body = self.ask(call)
        if not body.strip():
            # No body to look at; a page would say that it is one.
            if answer.headers.get("content-type", "").lower().startswith("text/html"):
                raise errors.UnexpectedAnswer(
                    "The server answered with a web page.", status=answer.status, message_id=answer.message_id
                )
            return
        said = error_in(parsed(answer, body))
        if said is not None:
            error = errors.AuthenticationFailed(
                status=answer.status,
                event=said.event,
                code=said.code,
                description=said.description,
                message_id=said.message_id or answer.message_id,
            )
            error.clock_skew = self.clock_skew
            raise error

    def _compare_clocks(self, answer: Answer) -> None:
        theirs = http_date(answer.headers.get("date"))
        if theirs is not None:
            self.clock_skew = self._now() - theirs


def parsed(answer: Answer, body: bytes) -> Any:
    """``body`` as JSON. Raises UnexpectedAnswer when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        said = "The server answered with something that is not JSON."
        raise errors.UnexpectedAnswer(said, status=answer.status, message_id=answer.message_id) from None
