"""A receiver of webhooks behind TLS, which answers as a test says, and what reaches it."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from meshportal.demo.pki import Pki


@dataclass
class Got:
    """One request that came whole."""

    path: str
    headers: dict[str, str]
    size: int
    sha256: str


@dataclass
class Receiver:
    """``answers`` are used up one by one, the last one stays: a status, with headers where given, or a callable."""

    pki: Pki
    folder: Path
    answers: list[Any] = field(default_factory=lambda: [200])
    got: list[Got] = field(default_factory=list)
    begun: int = 0

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.begun += 1
                answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                if callable(answer):
                    answer(self)
                    return
                self.whole()
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.got.append(Got("GET " + self.path, {}, 0, ""))
                self.send_response(200)
                self.end_headers()

            def whole(self) -> None:
                left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
                size = 0
                while left and (block := self.rfile.read(min(left, 65536))):
                    left -= len(block)
                    size += len(block)
                    digest.update(block)
                if not left:
                    headers = {name.lower(): text for name, text in self.headers.items()}
                    receiver.got.append(Got(self.path, headers, size, digest.hexdigest()))

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = self.folder / "receiver.pem", self.folder / "receiver.key"
        certificate.write_bytes(self.pki.server.certificate_pem)
        key.write_bytes(self.pki.server.key_pem)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"https://localhost:{self._server.server_address[1]}/hook"


def hangs(seconds: float) -> Callable[[Any], None]:
    """Takes the whole body, and then says nothing for so long."""

    def answer(handler: Any) -> None:
        handler.whole()
        time.sleep(seconds)
        handler.close_connection = True

    return answer


def drips(seconds: float) -> Callable[[Any], None]:
    """A byte of a header now and then, so that no single wait is long."""

    def answer(handler: Any) -> None:
        handler.whole()
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b"a")
            time.sleep(0.1)
        handler.close_connection = True

    return answer


def cuts(handler: Any) -> None:
    """Reads a little, and breaks the connection."""
    handler.rfile.read(1)
    handler.close_connection = True
    handler.connection.close()


def floods(handler: Any) -> None:
    """200, and a gigabyte behind it."""
    handler.whole()
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 30))
    handler.end_headers()
    block = b"x" * 1_000_000
    try:
        for _ in range(1074):
            handler.wfile.write(block)
    except OSError:
        pass
    handler.close_connection = True
