"""Child processes: started in a group of their own, waited for until they answer, and surely stopped."""

from __future__ import annotations

import http.client
import os
import pwd
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from meshportal.demo.guard import Guard

LOOPBACK = "127.0.0.1"
_LOOK_EVERY = 0.05
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


class ServiceError(RuntimeError):
    """A child process did not start, did not answer in time, or ended early. The text ends with its log's tail."""


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listened on a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def plain_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The few variables a program needs to run, plus ``extra``: no secret of this process is handed on."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, **(extra or {})}


class Service:
    """One child process with a log file.

    ``argv`` is the command; ``log`` takes its output (appended); ``env`` is its whole environment (default: this
    process's own); ``user`` is who it runs as, which only root can choose. May be started again after it was stopped.
    As a context manager it starts and stops. While ``guard`` is set (see :mod:`meshportal.demo.guard`) it does not
    outlive this process.
    """

    guard: ClassVar[Guard | None] = None

    def __init__(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.argv = [os.fspath(part) for part in argv]
        self.log = log
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id, which is also the id of its group; None when it was never started or was stopped."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the process is alive now."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status of a process that ended by itself; negative for a signal."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it. Raises ServiceError when it already runs or the program cannot be executed."""
        if self._process is not None:
            raise ServiceError(f"{self.name} was already started.")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            try:
                self._process = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    **_as_user(self._user),
                )
            except (OSError, KeyError) as error:
                raise ServiceError(f"{self.name} cannot be started: {error}") from error
        if self.guard is not None:
            self.guard.add(self._process.pid)

    def wait(self, timeout: float) -> int:
        """Wait until it ends by itself; gives the exit status. Raises ServiceError after ``timeout`` seconds."""
        if self._process is None:
            raise ServiceError(f"{self.name} was not started.")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServiceError(f"{self.name} did not end within {timeout:g} seconds.{self._told()}") from None

    def stop(self, *, grace: float = 10.0, first: signal.Signals = signal.SIGTERM) -> int | None:
        """End the whole group: ``first``, then KILL for what is left after ``grace`` seconds. Gives the exit status."""
        process = self._process
        if process is None:
            return None
        self._signal(first)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        process.wait()
        self._forget(process)
        return process.returncode

    def kill(self) -> None:
        """End the whole group at once, as a crash would (KILL)."""
        process = self._process
        if process is not None:
            self._signal(signal.SIGKILL)
            process.wait()
            self._forget(process)

    def wait_for_port(self, port: int, *, host: str = LOOPBACK, timeout: float = 20.0) -> None:
        """Wait until something accepts connections there. Raises ServiceError after ``timeout`` seconds."""

        def answers() -> str | None:
            with socket.create_connection((host, port), timeout=1.0):
                return None

        self.wait_until(answers, what=f"port {port}", timeout=timeout)

    def wait_for_http(self, url: str, *, tls: ssl.SSLContext | None = None, timeout: float = 20.0) -> None:
        """Wait until a GET of ``url`` is answered with a status below 500. Raises ServiceError after ``timeout``."""

        def answers() -> str | None:
            status, _ = http_request("GET", url, tls=tls, timeout=2.0)
            return f"status {status}" if status >= 500 else None

        self.wait_until(answers, what=url, timeout=timeout)

    def wait_until(self, check: Callable[[], str | None], *, what: str, timeout: float = 20.0) -> None:
        """Repeat ``check`` until it gives None; a string or an OSError says why not yet.

        Raises ServiceError when the process ends or ``timeout`` seconds have passed.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                reason = check()
            except (OSError, http.client.HTTPException) as error:
                reason = f"{type(error).__name__}: {error}"
            if not self.running:
                status = self._process.returncode if self._process is not None else None
                raise ServiceError(f"{self.name} ended with status {status} before {what} answered.{self._told()}")
            if reason is None:
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name}: {what} did not answer within {timeout:g} seconds ({reason}).{self._told()}")
            time.sleep(_LOOK_EVERY)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log; empty when there is none."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - 20_000))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        if self.guard is not None:
            self.guard.drop(process.pid)

    def _told(self) -> str:
        tail = self.log_tail()
        return f" Last lines of {self.log}:\n{tail}" if tail else f" {self.log} is empty."

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except (ProcessLookupError, PermissionError):
                # macOS answers PermissionError for a group that holds only ended processes.
                pass


def _as_user(name: str | None) -> dict[str, Any]:
    """What Popen needs to run as ``name``, with none of root's groups."""
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def http_request(
    method: str,
    url: str,
    *,
    tls: ssl.SSLContext | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> tuple[int, bytes]:
    """One request on a connection of its own, without proxies or redirects; gives status and body.

    Raises OSError or http.client.HTTPException when no answer comes.
    """
    parts = urlsplit(url)
    host = parts.hostname or LOOPBACK
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=tls)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=body, headers={**(headers or {}), "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
