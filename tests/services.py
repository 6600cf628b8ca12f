"""The servers and programs that some tests need: where they are, what to install when they are not, and our own PostgreSQL.

Nothing here uses a server that it did not start: every one listens on a free port of the loopback interface and keeps
its data in a temporary folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from meshportal.demo.processes import LOOPBACK, Service, ServiceError, free_port, plain_environment
from meshportal.demo.redis_server import find_redis_server

ROOT = Path(__file__).resolve().parents[1]
SANDBOX_PYTHON = ROOT / ".venv-sandbox" / "bin" / "python"
REQUIRE_ALL = "MESHPORTAL_TEST_REQUIRE_ALL"
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The browser's path."""
    return next((found for name in _CHROMIUM if (found := shutil.which(name))), None)


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, the newest where there are several."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: _number(folder.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        # Debian links single programs; the others are beside the real one.
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def missing(service: str) -> str | None:
    """None when ``service`` can be used here, else a sentence on what to install."""
    match service:
        case "redis":
            try:
                find_redis_server()
            except ServiceError as error:
                return str(error)
        case "postgresql":
            if postgresql_programs() is None:
                return "PostgreSQL's server programs were not found. Install PostgreSQL (Debian: apt install postgresql)."
        case "sandbox":
            if not SANDBOX_PYTHON.exists():
                return "The official MESH sandbox is not installed. Type: make .venv-sandbox/.filled"
        case "chromium":
            if chromium() is None:
                return "Chromium was not found. Install it (Debian: apt install chromium fonts-liberation)."
        case "openssl":
            if shutil.which("openssl") is None:
                return "The program openssl was not found. Install it (Debian: apt install openssl)."
        case "keytool":
            if shutil.which("keytool") is None:
                return "Java's program keytool was not found. Install it (Debian: apt install default-jre-headless)."
        case _:
            raise ValueError(f"No such service: {service}")
    return None


def must_have_all() -> bool:
    """True where a missing service fails the run instead of skipping tests: in continuous integration."""
    return os.environ.get(REQUIRE_ALL) == "1"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class PostgresServer:
    """A PostgreSQL server in a temporary folder, without durability, for one run of the tests.

    PostgreSQL refuses to run as root: then it runs as ``postgres`` or ``nobody``.
    """

    def __init__(self, *, max_connections: int = 100) -> None:
        programs = postgresql_programs()
        if programs is None:
            raise ServiceError(missing("postgresql") or "")
        self._programs = programs
        self._max_connections = max_connections
        self._password = secrets.token_hex(16)
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self._folder: Path | None = None
        self._service: Service | None = None
        self.port = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of an empty database, for a superuser that may make others."""
        return f"postgresql://meshportal:{self._password}@{LOOPBACK}:{self.port}/postgres"

    def start(self) -> None:
        """Makes the cluster, starts the server and waits until it answers. Raises ServiceError."""
        self._folder = folder = Path(tempfile.mkdtemp(prefix="meshportal-postgres-"))
        secret, data = folder / "password", folder / "data"
        secret.write_text(self._password)
        secret.chmod(0o600)
        if self._user is not None:
            for path in (folder, secret):
                shutil.chown(path, self._user)
        environment = plain_environment({"HOME": str(folder), "TZ": "UTC", "LC_ALL": "C"})
        options = ["--username=meshportal", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8"]
        options.append("--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C")
        made = Service(
            "initdb",
            [self._programs / "initdb", *options, "--no-sync", "-D", data],
            log=folder / "initdb.log",
            env=environment,
            cwd=folder,
            user=self._user,
        )
        self._run(made)
        self.port = free_port()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": str(self._max_connections),
            "shared_buffers": "128MB",
            "max_wal_size": "512MB",
        }
        self._service = Service(
            "PostgreSQL",
            [
                self._programs / "postgres",
                "-D",
                data,
                *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
            ],
            log=folder / "postgres.log",
            env=environment,
            cwd=folder,
            user=self._user,
        )
        self._service.start()
        self._service.wait_until(self._answers, what=f"port {self.port}")

    def stop(self) -> None:
        """Stops it and removes its folder."""
        if self._service is not None:
            # INT does not wait for connected clients.
            self._service.stop(first=signal.SIGINT)
            self._service = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _run(self, service: Service) -> None:
        service.start()
        try:
            status = service.wait(60)
            if status:
                raise ServiceError(f"{service.name} ended with status {status}:\n{service.log_tail()}")
        finally:
            service.stop()

    def _answers(self) -> str | None:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return None
        except psycopg.OperationalError as error:
            return str(error).strip()


def _unprivileged() -> str:
    import pwd

    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise ServiceError("PostgreSQL cannot run as root, and there is neither a user postgres nor nobody.")


def openssl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs openssl, for a second opinion on a certificate."""
    return subprocess.run(["openssl", *arguments], check=False, capture_output=True, stdin=subprocess.DEVNULL)
