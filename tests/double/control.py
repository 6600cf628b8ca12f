"""A second, plain HTTP port through which another process seeds, spoils and inspects the double.

``POST /_control/<operation>`` with a JSON object of keyword arguments; answers ``{"result": …}`` or 400
``{"error": "…"}``. ``GET /_control/health`` answers 200. Bytes travel as ``{"base64": "…"}``, synthetic bodies as
``{"synthetic": size, "seed": n, "pattern": "random"}``, times as ISO text.
"""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .bodies import Synthetic
from .facade import Double


def encode(value: Any) -> Any:
    """A value as JSON can carry it."""
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Synthetic):
        return {"synthetic": value.size, "seed": value.seed, "pattern": value.pattern}
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return encode(asdict(value))
    if isinstance(value, dict):
        return {str(name): encode(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [encode(one) for one in value]
    return value


def decode(value: Any) -> Any:
    """The reverse, except that times stay text and records stay dictionaries."""
    if isinstance(value, dict):
        if set(value) == {"base64"}:
            return base64.b64decode(value["base64"])
        if "synthetic" in value:
            return Synthetic(value["synthetic"], value.get("seed", 1), value.get("pattern", "random"))
        return {name: decode(one) for name, one in value.items()}
    if isinstance(value, list):
        return [decode(one) for one in value]
    return value


def operations(double: Double) -> dict[str, Callable[..., Any]]:
    """Everything the control port can do, by name."""
    recorder, faults = double.recorder, double.faults
    return {
        **{
            name: getattr(double, name)
            for name in (
                *(
                    "advance",
                    "age",
                    "configure",
                    "add_mailbox",
                    "update_mailbox",
                    "route_patient",
                    "set_addresses",
                    "put",
                    "put_many",
                ),
                *("withdraw", "message", "inbox", "sent_by", "content", "content_digest", "down", "up"),
            )
        },
        "set_clock": lambda at: double.set_clock(datetime.fromisoformat(at)),
        "add_fault": faults.add,
        "remove_fault": faults.remove,
        "clear_faults": faults.clear,
        "fault_fired": faults.fired,
        "records": recorder.records,
        "listings": recorder.listings,
        "gets": recorder.gets,
        "acks": recorder.acks,
        "overlaps": recorder.overlaps,
        "first_ack_time": recorder.first_ack_time,
        "clear_records": recorder.clear,
        "errors": lambda: double.errors,
        "stats": lambda: {"requests": recorder.total, "connections": double.connections, "port": double.port},
    }


class ControlServer(ThreadingHTTPServer):
    """The control port of one double."""

    daemon_threads = False

    def __init__(self, double: Double, port: int = 0) -> None:
        self.operations = operations(double)
        super().__init__(("127.0.0.1", port), _ControlHandler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="double-control", daemon=True)
        self._thread.start()

    def server_bind(self) -> None:
        """Bind without asking the name service."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def close(self) -> None:
        """Stop, and end its threads."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _ControlHandler(BaseHTTPRequestHandler):
    timeout = 30
    server: ControlServer

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        """Health only."""
        healthy = self.path == "/_control/health"
        self._answer(200 if healthy else 404, {"result": "running"} if healthy else {"error": "unknown path"})

    def do_POST(self) -> None:
        """One operation per connection."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation = self.server.operations.get(self.path.removeprefix("/_control/"))
        if operation is None:
            self._answer(404, {"error": f"unknown operation {self.path}"})
            return
        try:
            result = operation(**decode(json.loads(content or b"{}")))
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, {"error": f"{type(error).__name__}: {error}"})
            return
        self._answer(200, {"result": encode(result)})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
