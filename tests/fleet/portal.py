"""A portal in a temporary folder with a database of its own, whose workers and schedulers a test starts and kills."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pyrage
from cryptography.fernet import Fernet

from meshportal.demo.pki import Pki
from meshportal.demo.processes import plain_environment
from tests import environment

ROOT = Path(__file__).resolve().parents[2]
_FAST = {
    "MESHPORTAL_RING_SECONDS": "1",
    "MESHPORTAL_RETRY_BASE_SECONDS": "1",
    "MESHPORTAL_CONNECT_TIMEOUT": "5",
    "MESHPORTAL_READ_TIMEOUT": "5",
    "LOG_LEVEL": "INFO",
}


class Portal:
    """``url`` is the MESH service, ``redis_url`` the broker; ``settings`` are further environment variables.

    The database is of the kind that the suite runs on; ``environment`` is what its processes run under. As a context
    manager it starts, and ends everything it started.
    """

    def __init__(self, folder: Path, *, url: str, redis_url: str, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._database: str | None = None
        database = f"sqlite:///{folder / 'fleet.sqlite3'}"
        if environment.database_kind() == "postgresql":
            self._admin = os.environ["MESHPORTAL_TEST_POSTGRES_URL"]
            self._database = f"fleet_{secrets.token_hex(6)}"
            with psycopg.connect(self._admin, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{self._database}"')
            database = f"{self._admin.rsplit('/', 1)[0]}/{self._database}"
        self.log = folder / "fleet.log"
        self.environment = plain_environment(
            {
                "PYTHONPATH": str(ROOT),
                "PYTHONWARNINGS": "ignore",
                "DJANGO_SETTINGS_MODULE": "meshportal.settings",
                "SECRET_KEY": secrets.token_hex(32),
                "MESHPORTAL_KEYS": Fernet.generate_key().decode(),
                "MESHPORTAL_PAYLOAD_KEYS": str(pyrage.x25519.Identity.generate()),
                "MESHPORTAL_DATA_DIR": str(folder / "data"),
                "MESHPORTAL_SANDBOX_URL": url,
                "MESHPORTAL_SANDBOX_SHARED_KEY": "TestKey",
                "DATABASE_URL": database,
                "REDIS_URL": redis_url,
                "FLEET_LOG": str(self.log),
                **_FAST,
                **(settings or {}),
            }
        )
        (folder / "data").mkdir(exist_ok=True)
        self._zygote: subprocess.Popen[str] | None = None
        self.running: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
            cwd=ROOT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._answer()
        self.ask("migrate")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            assert zygote.stdin is not None and zygote.stdout is not None
            zygote.stdin.close()
            try:
                zygote.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(zygote.pid, signal.SIGKILL)
                zygote.wait()
            zygote.stdout.close()
        if self._database is not None:
            with psycopg.connect(self._admin, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{self._database}" WITH (FORCE)')

    def ask(self, operation: str, **arguments: Any) -> Any:
        """An operation of a module of tests.fleet, or of the zygote. Raises AssertionError with its traceback."""
        assert self._zygote is not None and self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps({"do": operation, **arguments}) + "\n")
        return self._answer()

    def _answer(self) -> Any:
        assert self._zygote is not None and self._zygote.stdout is not None
        line = self._zygote.stdout.readline()
        assert line, f"the portal's parent process ended:\n{self.log_tail()}"
        answer = json.loads(line)
        assert "error" not in answer, answer.get("error")
        return answer["result"]

    def seed(self, pki: Pki, mailboxes: list[dict[str, Any]], *, identity: str) -> None:
        """Adds the mailboxes, all served by the client identity of mailbox ``identity``."""
        client = pki.clients[identity]
        self.ask(
            "seed",
            certificate=client.certificate_pem.decode(),
            key=client.key_pem.decode(),
            ca=pki.authority.certificate_pem.decode(),
            mailboxes=mailboxes,
        )

    def start_worker(self, name: str, *, pool: str = "solo", concurrency: int = 1, queues: str = "poll,default") -> int:
        """Starts a real Celery worker; returns its process id, which is also its group's."""
        argv = ["worker", "-P", pool, "-c", str(concurrency), "-Q", queues, "-n", f"{name}@fleet", "-l", "INFO"]
        argv += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        return self._start(name, argv)

    def start_beat(self, name: str) -> int:
        """Starts a real scheduler."""
        return self._start(name, ["beat", "-s", str(self.folder / f"{name}.schedule"), "--pidfile="])

    def _start(self, name: str, argv: list[str]) -> int:
        pid = int(self.ask("start", argv=argv, log=str(self.log)))
        self.running[name] = pid
        return pid

    def kill(self, name: str) -> None:
        """SIGKILL to the whole group: as when the machine's power goes."""
        pid = self.running.pop(name)
        # The group exists from the child's first instructions on; before that only the process does.
        for end in (os.killpg, os.kill):
            try:
                end(pid, signal.SIGKILL)
                break
            except ProcessLookupError:
                continue
        self.ask("wait", pid=pid)

    def stop(self, name: str) -> int:
        """SIGTERM, then waits: a warm shutdown."""
        pid = self.running.pop(name)
        os.kill(pid, signal.SIGTERM)
        return int(self.ask("wait", pid=pid))

    def log_tail(self, lines: int = 40) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(check: Callable[[], bool], *, seconds: float, what: str, portal: Portal) -> None:
    """Looks every half second; fails with the log's tail when it never comes true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s:\n{portal.log_tail()}"
        time.sleep(0.5)
