"""Real receivers on the loopback interface: HTTPS that answers as it is told, and a mail server."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from meshportal.demo.pki import Pki

GIGABYTE = 1_000_000_000


@dataclass
class Post:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """An HTTPS server. ``answers`` are used up in order, the last one for good: a status, or "hang", or "gigabyte"."""

    port: int = 0
    answers: list[int | str] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)
    sent: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/hook/PLANTED-IN-URL"


@contextmanager
def web(pki: Pki, folder: Path) -> Iterator[Web]:
    """A server with a certificate for localhost by the authority of ``pki``."""
    state = Web()
    certificate = folder / "receiver.pem"
    certificate.write_bytes(pki.server.certificate_pem + pki.server.key_pem)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            state.posts.append(Post(self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            if answer == "hang":
                state.done.wait(20)
                return
            self.send_response(200 if answer == "gigabyte" else int(answer))
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(GIGABYTE if answer == "gigabyte" else 2))
            self.end_headers()
            if answer != "gigabyte":
                self.wfile.write(b"ok")
                return
            block = b"x" * 65536
            while state.sent < GIGABYTE and not state.done.is_set():
                self.wfile.write(block)
                state.sent += len(block)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that leaves early is what some tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.done.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mail:
    """A mail server. ``replies`` answer the end of each mail's data; ``refused`` are addresses it does not take."""

    port: int = 0
    replies: list[str] = field(default_factory=lambda: ["250 taken"])
    refused: dict[str, str] = field(default_factory=dict)
    mails: list[tuple[list[str], bytes]] = field(default_factory=list)


@contextmanager
def mail() -> Iterator[Mail]:
    """A small SMTP server (RFC 5321) without encryption."""
    state = Mail()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 sink")
            to: list[str] = []
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb in (b"EHLO", b"HELO"):
                    self.say("250 sink")
                elif verb == b"RCPT":
                    address = line.decode().partition("<")[2].partition(">")[0]
                    if address not in state.refused:
                        to.append(address)
                    self.say(state.refused.get(address, "250 ok"))
                elif verb == b"DATA":
                    self.say("354 go on")
                    lines = []
                    while (part := self.rfile.readline()) not in (b".\r\n", b""):
                        lines.append(part)
                    reply = state.replies.pop(0) if len(state.replies) > 1 else state.replies[0]
                    if reply.startswith("250"):
                        state.mails.append((to, b"".join(lines)))
                    self.say(reply)
                    to = []
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
