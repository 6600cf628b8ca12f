"""What was asked of the double, when, over which connection, and what was answered."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO


@dataclass
class Record:
    """One request.

    ``started`` (request line and headers read) and ``ended`` (just before the last bytes of the answer were handed to
    the network, None while in flight) are readings of the system-wide monotonic clock in seconds, comparable between
    processes of one machine; ``at`` is UTC in ISO form. ``status`` is None when the connection was dropped without an
    answer. ``connection`` numbers the TCP connections. ``reason`` says why the double refused; ``faults`` names the
    injected ones.
    """

    number: int
    started: float
    at: str
    connection: int
    certificate: str
    method: str
    path: str
    route: str
    mailbox: str
    message_id: str
    chunk: int | None
    query: dict[str, str] = field(default_factory=dict)
    nonce: str = ""
    user_agent: str = ""
    ended: float | None = None
    status: int | None = None
    reason: str = ""
    faults: list[str] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0


class Recorder:
    """Keeps the last ``limit`` records, and writes each finished one as a JSON line to ``path`` if given."""

    def __init__(self, *, limit: int = 200_000, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._records: deque[Record] = deque(maxlen=limit)
        self._count = 0
        self._file: TextIO | None = path.open("a", encoding="utf-8", buffering=1) if path is not None else None

    def begin(self, **facts: Any) -> Record:
        """Keep a record from the moment its request is known."""
        with self._lock:
            self._count += 1
            record = Record(number=self._count, started=time.monotonic(), at=datetime.now(UTC).isoformat(), **facts)
            self._records.append(record)
            return record

    def finish(self, record: Record) -> None:
        """The exchange is over, with or without an answer."""
        with self._lock:
            if record.ended is None:
                record.ended = time.monotonic()
            if self._file is not None:
                self._file.write(json.dumps(asdict(record)) + "\n")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._records.clear()

    @property
    def total(self) -> int:
        """Requests since the start, forgotten ones included."""
        return self._count

    def records(
        self,
        *,
        mailbox: str | None = None,
        route: str | Iterable[str] | None = None,
        message_id: str | None = None,
    ) -> list[Record]:
        """The records that agree, oldest first."""
        routes = None if route is None else {route} if isinstance(route, str) else set(route)
        with self._lock:
            kept = list(self._records)
        return [
            record
            for record in kept
            if (mailbox is None or record.mailbox == mailbox)
            and (routes is None or record.route in routes)
            and (message_id is None or record.message_id == message_id)
        ]

    def listings(self, mailbox: str) -> list[Record]:
        """Inbox listings of a mailbox."""
        return self.records(mailbox=mailbox, route="list")

    def gets(self, mailbox: str) -> list[Record]:
        """Downloads of a mailbox, first and later chunks."""
        return self.records(mailbox=mailbox, route=("get", "get_chunk"))

    def acks(self, mailbox: str) -> list[Record]:
        """Acknowledgements asked for by a mailbox."""
        return self.records(mailbox=mailbox, route="acknowledge")

    def first_ack_time(self, message_id: str) -> float | None:
        """When the first acknowledgement of a message arrived (monotonic seconds); None when there was none."""
        return next((record.started for record in self.records(route="acknowledge", message_id=message_id)), None)

    def overlaps(self, mailbox: str, *, faulted: bool = False) -> list[tuple[Record, Record]]:
        """Pairs of requests of a mailbox that were in flight at once over different connections.

        A request that met an injected fault is left out unless ``faulted``: its client may have given up and gone on
        while the double was still busy with it.
        """
        pairs = []
        busy: list[Record] = []
        chosen = [record for record in self.records(mailbox=mailbox) if faulted or not record.faults]
        for record in sorted(chosen, key=lambda one: one.started):
            busy = [other for other in busy if other.ended is None or other.ended > record.started]
            pairs += [(other, record) for other in busy if other.connection != record.connection]
            busy.append(record)
        return pairs
