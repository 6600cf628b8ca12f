"""The listening side of the double: sockets, TLS, threads."""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import struct
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from .faults import Action, Faults
from .handler import Cut, Handler, common_name
from .recorder import Recorder
from .state import State

_HANDSHAKE_SECONDS = 10.0


class Server(ThreadingHTTPServer):
    """One listening socket; a thread per connection; all end with ``close``."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 256

    def __init__(
        self,
        port: int,
        state: State,
        faults: Faults,
        recorder: Recorder,
        *,
        tls: ssl.SSLContext | None,
        spool: Path,
    ) -> None:
        self.state, self.faults, self.recorder, self.tls, self.spool = state, faults, recorder, tls, spool
        self.stopping = threading.Event()
        self.errors: list[str] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._files = 0
        super().__init__(("127.0.0.1", port), BaseHTTPRequestHandler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="double", daemon=True)
        self._thread.start()

    def server_bind(self) -> None:
        """Bind without asking the name service, which the standard library's HTTP server does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def close(self) -> None:
        """Stop listening, cut every connection, end every thread."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                _shut(connection)
        self.server_close()

    def new_file(self) -> Path:
        """A path for a large request body."""
        with self._lock:
            self._files += 1
            return self.spool / f"{id(self):x}-{self._files}.body"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection: TLS handshake first, in the connection's own thread."""
        connection = cast(socket.socket, request)
        with self._lock:
            self.connections += 1
            number = self.connections
        reset = False
        try:
            refusals = self.faults.hits({"route": "connect"})
            if refusals:
                reset = self._refuse(connection, refusals[0])
                return
            connection.settimeout(_HANDSHAKE_SECONDS)
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with self._lock:
                self._open.add(connection)
            if self.stopping.is_set():
                return
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
                if self.faults.hits({"route": "connected", "certificate": common_name(connection)}):
                    return
            Handler(connection, client_address, self, number)
        except Cut as cut:
            reset = cut.reset
        except (OSError, ValueError):
            # The client left, or its certificate was refused: both are its own affair.
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                _shut(connection)
            connection.close()

    def _refuse(self, connection: socket.socket, action: Action) -> bool:
        """Refuse before the TLS handshake; tells whether the connection is to be reset."""
        if action["how"] == "alert":
            select.select([connection], [], [], _HANDSHAKE_SECONDS)
            connection.recv(16_384)
            connection.sendall(bytes([0x15, 3, 3, 0, 2, 2, action["alert"]]))
        return bool(action["how"] == "reset")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what should never happen, for the tests to see."""
        self.errors.append(traceback.format_exc())


def _shut(connection: socket.socket) -> None:
    try:
        # Not the TLS socket's own method: that one takes the session away from the thread that is using it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        pass
