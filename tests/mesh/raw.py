"""A server that says exactly the bytes it is told to, for answers that no honest server gives."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

Reply = bytes | Callable[[socket.socket], None]
MESSAGE: Mapping[str, str] = {
    "Mex-MessageID": "M1",
    "Mex-To": "X26ABC1",
    "Mex-WorkflowID": "TEST_WORKFLOW",
    "Mex-MessageType": "DATA",
}


def answer(
    status: int = 200,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = -1,
    version: str = "HTTP/1.1",
) -> bytes:
    """One answer. ``length`` is what Content-Length says: -1 the truth, None nothing at all."""
    lines = [f"{version} {status} Said", "Connection: close", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def message(body: bytes = b"", *, chunk: str | None = "1:1", status: int = 200, length: int | None = -1, **more: str) -> bytes:
    """A download of message M1; further headers with ``_`` for ``-``, an empty one leaves a header out."""
    headers = {**MESSAGE, **{name.replace("_", "-"): value for name, value in more.items()}}
    if chunk is not None:
        headers["Mex-Chunk-Range"] = chunk
    return answer(status, body, {name: value for name, value in headers.items() if value}, length=length)


def reset(sent: bytes) -> Callable[[socket.socket], None]:
    """Says ``sent`` and resets the connection."""

    def act(connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return act


def silent(seconds: float, sent: bytes = b"") -> Callable[[socket.socket], None]:
    """Says ``sent`` and then nothing until the client leaves, at most ``seconds``."""

    def act(connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.settimeout(seconds)
        try:
            while connection.recv(65_536):
                pass
        except TimeoutError:
            pass

    return act


class RawServer:
    """Answers each connection's one request with the next of ``replies``, the last one for ever, and closes it.

    ``requests`` holds what was asked, head and body.
    """

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)
        self.requests: list[bytes] = []
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="raw", daemon=True)

    @property
    def url(self) -> str:
        return f"http://localhost:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping = True
        # Wakes accept, which closing alone does not.
        with socket.create_connection(self._listener.getsockname()):
            pass
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._stopping:
                    return
                try:
                    self._one(connection)
                except OSError:
                    pass

    def _one(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        asked = self._read(connection)
        if not asked:
            return
        reply = self._replies[min(len(self.requests), len(self._replies) - 1)]
        self.requests.append(asked)
        if isinstance(reply, bytes):
            connection.sendall(reply)
            connection.shutdown(socket.SHUT_WR)
        else:
            reply(connection)

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        held = b""
        while b"\r\n\r\n" not in held:
            part = connection.recv(65_536)
            if not part:
                return b""
            held += part
        head, _, body = held.partition(b"\r\n\r\n")
        wanted = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                wanted = int(value)
        while len(body) < wanted:
            part = connection.recv(65_536)
            if not part:
                break
            body += part
        return head + b"\r\n\r\n" + body
