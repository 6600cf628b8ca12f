"""The requests of one message on its way out (MESH API specification, Send message and Send chunked message).

The first POST has no idempotency key, so it is never repeated once it may have arrived; later chunks replace themselves
and are. Which answers mean what is the table in :mod:`meshportal.mesh.retry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshportal.mesh import errors
from meshportal.mesh.body import Body, Payload, Source, source_of
from meshportal.mesh.exchange import Exchange, parsed, segment, usable
from meshportal.mesh.retry import Attempts, RetryPolicy
from meshportal.mesh.upload import chunk_body, chunk_headers, chunk_total, first_headers, single_body
from meshportal.mesh.wire import SendReceipt, Tracking

_TAKEN = (200, 202)
# The one failure of a server that says nothing was carried out; gateways invent numbers of their own (520, 522, 524).
_CERTAIN_FAILURE = 503
_FINISHED = frozenset({"accepted", "acknowledged"})


class Sender:
    """Sends messages of one mailbox; ``mailbox`` is its quoted path. ``track`` settles what a 423 means."""

    def __init__(self, exchange: Exchange, mailbox: str, policy: RetryPolicy, track: Callable[[str], Tracking]) -> None:
        self._exchange = exchange
        self._mailbox = mailbox
        self._policy = policy
        self._track = track

    def send(
        self,
        payload: Payload,
        *,
        size: int | None,
        chunk_size: int,
        compress: bool,
        facts: Mapping[str, Any],
        on_accepted: Callable[[str], None] | None,
        before_chunk: Callable[[int], None] | None,
        on_chunk: Callable[[int], None] | None,
    ) -> SendReceipt:
        """As MeshClient.send; ``facts`` are the keyword arguments of :func:`upload.first_headers`."""
        source = source_of(payload, size)
        total = chunk_total(source.size, chunk_size)
        headers = first_headers(total=total, compress=compress, **facts)
        one = total == 1
        body = single_body(source, compress=compress) if one else chunk_body(source, 1, chunk_size, compress=compress)
        message_id = self._first(headers, body)
        if on_accepted is not None:
            on_accepted(message_id)
        sent = body.size + self._rest(
            message_id, source, 2, total, chunk_size, compress=compress, before_chunk=before_chunk, on_chunk=on_chunk
        )
        return SendReceipt(message_id=message_id, size=source.size, sent_size=sent, chunk_total=total)

    def resume(
        self,
        message_id: str,
        payload: Payload,
        *,
        size: int | None,
        next_chunk: int,
        chunk_size: int,
        compress: bool,
        before_chunk: Callable[[int], None] | None,
        on_chunk: Callable[[int], None] | None,
    ) -> SendReceipt:
        """As MeshClient.resume."""
        source = source_of(payload, size)
        total = chunk_total(source.size, chunk_size)
        if not 2 <= next_chunk <= total:
            raise errors.InvalidRequest(f"Chunk {next_chunk} of {total} is no later chunk.")
        sent = self._rest(
            message_id, source, next_chunk, total, chunk_size, compress=compress, before_chunk=before_chunk, on_chunk=on_chunk
        )
        return SendReceipt(message_id=message_id, size=source.size, sent_size=sent, chunk_total=total)

    def _first(self, headers: Mapping[str, bytes], body: Body) -> str:
        call = self._exchange.call("POST", "send", f"{self._mailbox}/outbox", headers=headers, body=body)
        attempts = Attempts(self._policy, first_post=True)
        while True:
            try:
                with self._exchange.open(call, attempts.number, expected=_TAKEN) as answer:
                    return _message_id(parsed(answer, answer.read()))
            except errors.MeshError as error:
                if _may_have_arrived(error):
                    uncertain = errors.SendUncertain(
                        f"Whether MESH accepted the message is not known: {error}",
                        status=error.status,
                        code=error.code,
                        description=error.description,
                    )
                    uncertain.maybe_certificate = getattr(error, "maybe_certificate", False)
                    raise uncertain from error
                attempts.wait_or_raise(error)

    def _rest(
        self,
        message_id: str,
        source: Source,
        first: int,
        total: int,
        chunk_size: int,
        *,
        compress: bool,
        before_chunk: Callable[[int], None] | None,
        on_chunk: Callable[[int], None] | None,
    ) -> int:
        """Chunks ``first`` to ``total``; gives the bytes that went over the wire."""
        sent = 0
        for number in range(first, total + 1):
            try:
                body = chunk_body(source, number, chunk_size, compress=compress)
                if before_chunk is not None:
                    before_chunk(number)
                try:
                    self._chunk(message_id, number, total, body, compress=compress)
                except errors.UploadFinalised:
                    # An earlier try of the last chunk arrived although its answer did not; tracking says whether.
                    if number != total or self._track(message_id).status not in _FINISHED:
                        raise
            except errors.MeshError as error:
                error.message_id = error.message_id or message_id
                raise
            sent += body.size
            if on_chunk is not None:
                on_chunk(number)
        return sent

    def _chunk(self, message_id: str, number: int, total: int, body: Body, *, compress: bool) -> None:
        call = self._exchange.call(
            "POST",
            "send_chunk",
            f"{self._mailbox}/outbox/{segment(message_id, 'message id')}/{number}",
            headers=chunk_headers(number, total, compress=compress),
            body=body,
            message_id=message_id,
        )
        # The body of the answer says nothing (null, in the sandbox), but a web page would.
        answer, said = self._exchange.ask(call, expected=_TAKEN)
        if said.strip():
            parsed(answer, said)


def _message_id(content: Any) -> str:
    names = ("message_id", "messageID", "messageId")
    found = next((content[name] for name in names if content.get(name)), "") if isinstance(content, Mapping) else ""
    if not isinstance(found, str) or not usable(found):
        raise errors.UnexpectedAnswer("MESH accepted the message without saying its id.", status=202)
    return found


def _may_have_arrived(error: errors.MeshError) -> bool:
    if isinstance(error, errors.ConnectionLost):
        return not error.nothing_sent
    if isinstance(error, errors.UnexpectedAnswer):
        # A success that cannot be read, or an answer that is not even HTTP. A page or a redirect comes from before MESH.
        return error.status is None or 200 <= error.status < 300
    failed = error.status is not None and error.status >= 500 and error.status != _CERTAIN_FAILURE
    return isinstance(error, errors.BodyError) or failed
