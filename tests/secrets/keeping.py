"""What the database and the broker hold, read past the portal: every cell of every table, every key, every command."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from tests.secrets.needles import Needle, found_in
from tests.secrets.watching import Finding, files_under


def in_database(url: str, needles: list[Needle]) -> tuple[set[Finding], int]:
    """What stands in any cell, and in the files of a PostgreSQL server of ours; and how many cells there are."""
    findings: set[Finding] = set()
    number = 0
    tables = _of_sqlite(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else _of_postgresql(url)
    for table, rows in tables:
        for row in rows:
            for cell in row:
                number += 1
                findings |= {Finding("database", table, what) for what in found_in(_bytes(cell), needles)}
    if not url.startswith("sqlite:"):
        findings |= _in_files_of(url, needles)
    return findings, number


def _of_sqlite(path: str) -> Iterator[tuple[str, Any]]:
    with sqlite3.connect(path, timeout=30) as connection:
        connection.text_factory = bytes
        names = [name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            yield name, connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608
    connection.close()


def _of_postgresql(url: str) -> Iterator[tuple[str, Any]]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT schemaname, relname FROM pg_stat_user_tables").fetchall()
        for schema, name in found:
            # As text: every type has one, and of bytes it is hex.
            cursor = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, name)))
            yield name, cursor


def _in_files_of(url: str, needles: list[Needle]) -> set[Finding]:
    """The tables' files and the write-ahead log: they keep what was changed and deleted."""
    with psycopg.connect(url) as connection:
        connection.execute("CHECKPOINT")
        told = connection.execute(
            "SELECT current_setting('data_directory'), (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    assert told is not None
    folder = Path(told[0])
    findings, _ = files_under(folder / "base" / str(told[1]), folder / "pg_wal", needles=needles)
    return {Finding("database", f"file {one.place}", one.what) for one in findings}


def _bytes(cell: Any) -> bytes:
    if isinstance(cell, bytes):
        return cell
    return bytes(cell) if isinstance(cell, memoryview) else str(cell).encode(errors="replace")


class Broker:
    """A Redis server: everything that is said to it from now on, and what it holds. As a context manager it listens."""

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder
        self._client = redis.Redis.from_url(url)
        address = urlsplit(url)
        self._line = socket.create_connection((address.hostname, address.port or 6379), timeout=0.5)
        self.said: list[bytes] = []
        self._over = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def findings(self, needles: list[Needle]) -> set[Finding]:
        """In commands, in keys and their values, and in what it writes when it is told to save."""
        found = {Finding("broker", "a command", what) for line in list(self.said) for what in found_in(_unescaped(line), needles)}
        for key in self._client.scan_iter():
            found |= {Finding("broker", "a key", what) for what in found_in(bytes(key) + self._value(key), needles)}
        self._client.config_set("rdbcompression", "no")
        self._client.save()
        saved, _ = files_under(self._folder, needles=needles)
        return found | {Finding("broker", f"its file {one.place}", one.what) for one in saved}

    def _value(self, key: bytes) -> bytes:
        return bytes(self._client.dump(key) or b"")

    def _listen(self) -> None:
        """MONITOR answers one line for each command, with its arguments."""
        with self._line:
            self._line.sendall(b"MONITOR\r\n")
            rest = b""
            while not self._over.is_set():
                try:
                    rest += self._line.recv(65_536)
                except TimeoutError:
                    continue
                *whole, rest = rest.split(b"\r\n")
                self.said += whole
                self._listening.set()


def _unescaped(line: bytes) -> bytes:
    """An argument as it was: Redis writes what is not plain ASCII as ``\\xNN``."""
    letters = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

    def one(found: re.Match[bytes]) -> bytes:
        text = found[1]
        return bytes([int(text[1:], 16)]) if len(text) == 3 else letters.get(text, text)

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", one, line)
