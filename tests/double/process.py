"""The double in a process of its own, for harnesses that kill workers or measure: it shares no interpreter with them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from meshportal.demo.pki import Pki, write_pki
from meshportal.demo.processes import (
    LOOPBACK,
    Service,
    ServiceError,
    free_port,
    http_request,
    plain_environment,
)

from .control import decode, encode
from .facade import MessageInfo, Put
from .faults import Action
from .recorder import Record

_ROOT = Path(__file__).resolve().parents[2]


class DoubleProcess:
    """A double run as a child process; the methods are those of Double, its faults and its recorder.

    ``directory`` takes certificates, log and ``records.jsonl``. What it remembers is lost when it stops.
    """

    def __init__(
        self,
        directory: Path,
        pki: Pki | None = None,
        *,
        port: int | None = None,
        client_certificates: bool = True,
        shared_key: str = "TestKey",
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.control_port = free_port()
        self.records_file = directory / "records.jsonl"
        self._scheme = "https" if pki is not None else "http"
        directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.double", "--port", str(self.port)]
        command += ["--control-port", str(self.control_port), "--shared-key", shared_key]
        command += ["--records", str(self.records_file.resolve())]
        if pki is not None:
            command += ["--tls", str(write_pki(pki, directory / "tls").directory.resolve())]
        if not client_certificates:
            command.append("--no-client-certificates")
        search_path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._service = Service(
            "double",
            command,
            log=directory / "double.log",
            env=plain_environment({"PYTHONPATH": search_path}),
            cwd=_ROOT,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a path."""
        return f"{self._scheme}://localhost:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._service.pid

    def start(self) -> None:
        """Start it and wait until it answers. Raises ServiceError."""
        self._service.start()
        try:
            self._service.wait_for_http(f"http://{LOOPBACK}:{self.control_port}/_control/health")
        except BaseException:
            self._service.stop()
            raise

    def stop(self) -> None:
        """Stop it; does nothing when it is not running."""
        self._service.stop()

    def call(self, operation: str, **arguments: Any) -> Any:
        """Any operation of the control port. Raises ServiceError with the double's own words."""
        status, body = http_request(
            "POST",
            f"http://{LOOPBACK}:{self.control_port}/_control/{operation}",
            body=json.dumps(encode(arguments)).encode(),
            timeout=120.0,
        )
        answer = json.loads(body)
        if status != 200:
            raise ServiceError(f"{operation}: {answer.get('error')}")
        return decode(answer["result"])

    def add_mailbox(self, mailbox_id: str, password: str = "password", **options: Any) -> None:
        """As Double.add_mailbox."""
        self.call("add_mailbox", mailbox_id=mailbox_id, password=password, **options)

    def update_mailbox(self, mailbox_id: str, **changes: Any) -> None:
        """As Double.update_mailbox."""
        self.call("update_mailbox", mailbox_id=mailbox_id, **changes)

    def route_patient(self, address: str, target: str) -> None:
        """As Double.route_patient."""
        self.call("route_patient", address=address, target=target)

    def set_addresses(self, rows: Iterable[tuple[str, str, Iterable[str]]]) -> None:
        """As Double.set_addresses."""
        self.call("set_addresses", rows=[[code, workflow, list(ids)] for code, workflow, ids in rows])

    def put(self, mailbox: str, body: Any = b"", **options: Any) -> Put:
        """As Double.put; ``body`` is bytes, text or Synthetic."""
        return Put(**self.call("put", mailbox=mailbox, body=body, **options))

    def put_many(self, mailbox: str, count: int, **options: Any) -> list[Put]:
        """As Double.put_many."""
        return [Put(**one) for one in self.call("put_many", mailbox=mailbox, count=count, **options)]

    def withdraw(self, message_id: str, **options: Any) -> None:
        """As Double.withdraw."""
        self.call("withdraw", message_id=message_id, **options)

    def message(self, message_id: str) -> MessageInfo | None:
        """As Double.message."""
        found = self.call("message", message_id=message_id)
        return None if found is None else MessageInfo(**found)

    def inbox(self, mailbox: str) -> list[str]:
        """As Double.inbox."""
        return [str(one) for one in self.call("inbox", mailbox=mailbox)]

    def sent_by(self, mailbox: str) -> list[MessageInfo]:
        """As Double.sent_by."""
        return [MessageInfo(**one) for one in self.call("sent_by", mailbox=mailbox)]

    def content(self, message_id: str) -> bytes:
        """As Double.content."""
        return bytes(self.call("content", message_id=message_id))

    def content_digest(self, message_id: str) -> str:
        """As Double.content_digest."""
        return str(self.call("content_digest", message_id=message_id))

    def configure(self, **switches: Any) -> None:
        """As Double.configure."""
        self.call("configure", **switches)

    def advance(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """As Double.advance."""
        self.call("advance", seconds=seconds, hours=hours, days=days)

    def age(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """As Double.age."""
        self.call("age", seconds=seconds, hours=hours, days=days)

    def set_clock(self, at: datetime) -> None:
        """As Double.set_clock."""
        self.call("set_clock", at=at)

    def down(self) -> None:
        """As Double.down; the control port stays."""
        self.call("down")

    def up(self) -> None:
        """As Double.up."""
        self.call("up")

    def add_fault(self, *, match: Mapping[str, Any], action: Action, times: int | None = 1) -> int:
        """As Faults.add."""
        return int(self.call("add_fault", match=dict(match), action=action, times=times))

    def clear_faults(self) -> None:
        """As Faults.clear."""
        self.call("clear_faults")

    def fault_fired(self, number: int) -> int:
        """As Faults.fired."""
        return int(self.call("fault_fired", number=number))

    def records(self, **chosen: Any) -> list[Record]:
        """As Recorder.records."""
        return [Record(**one) for one in self.call("records", **chosen)]

    def listings(self, mailbox: str) -> list[Record]:
        """As Recorder.listings."""
        return [Record(**one) for one in self.call("listings", mailbox=mailbox)]

    def gets(self, mailbox: str) -> list[Record]:
        """As Recorder.gets."""
        return [Record(**one) for one in self.call("gets", mailbox=mailbox)]

    def acks(self, mailbox: str) -> list[Record]:
        """As Recorder.acks."""
        return [Record(**one) for one in self.call("acks", mailbox=mailbox)]

    def overlaps(self, mailbox: str, *, faulted: bool = False) -> list[tuple[Record, Record]]:
        """As Recorder.overlaps."""
        pairs = self.call("overlaps", mailbox=mailbox, faulted=faulted)
        return [(Record(**first), Record(**second)) for first, second in pairs]

    def first_ack_time(self, message_id: str) -> float | None:
        """As Recorder.first_ack_time."""
        found = self.call("first_ack_time", message_id=message_id)
        return None if found is None else float(found)

    def errors(self) -> list[str]:
        """As Double.errors."""
        return [str(one) for one in self.call("errors")]

    def stats(self) -> dict[str, int]:
        """Number of requests and connections, and the port."""
        return {str(name): int(value) for name, value in self.call("stats").items()}
