"""Servers that are wrong below HTTP, on the loopback interface only."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# ServerHello of TLS 1.1 in a record of TLS 1.1: version, random, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
_HELLO = b"\x03\x02" + b"\x11" * 32 + b"\x00" + b"\x00\x2f" + b"\x00"
_MESSAGE = b"\x02" + len(_HELLO).to_bytes(3, "big") + _HELLO
TLS_1_1 = b"\x16\x03\x02" + len(_MESSAGE).to_bytes(2, "big") + _MESSAGE
# protocol_version, fatal: how a server that knows old versions only may also put it.
TOO_NEW = b"\x15\x03\x02\x00\x02\x02\x46"
PROXY_407 = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n'
PAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html><body>Plain HTTP was sent to an HTTPS port"


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """A server that reads once from each connection, says ``answer`` and hangs up; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.settimeout(5)
                        if connection.recv(16_384):
                            connection.sendall(answer)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, name="saying", daemon=True)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://localhost:{listener.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """A port whose queue is full: the kernel drops what asks for a connection, as a firewall does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"https://localhost:{listener.getsockname()[1]}"
