"""Where the demonstration keeps things: keys, database, letters, logs. One folder, private to the user, one owner at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyrage
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]
SANDBOX_PYTHON = ROOT / ".venv-sandbox" / "bin" / "python"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is mistaken for another when typed from a screen
_OURS = (
    "MESHPORTAL_",
    "SECRET_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "DEBUG",
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "LOG_",
    "DJANGO_",
)


class DemoError(Exception):
    """The demonstration cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Stage:
    """The folder, and what stands where in it."""

    folder: Path

    @property
    def data(self) -> Path:
        """The portal's MESHPORTAL_DATA_DIR: database, payloads, collected static files."""
        return self.folder / "data"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def sandbox(self) -> Path:
        return self.folder / "sandbox"

    @property
    def sent(self) -> Path:
        """Which letters were sent, and under which message ids."""
        return self.folder / "sent.json"

    def prepare(self) -> None:
        """Makes the folders, and every key that is not there yet."""
        for folder in (self.folder, self.secrets, self.data, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        for name, make in _SECRETS.items():
            if not (self.secrets / name).exists():
                write_private(self.secrets / name, make())

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    def secret(self, name: str) -> str:
        """One of the keys, or the password that everybody signs in with."""
        return (self.secrets / name).read_text().strip()

    @contextmanager
    def owned(self) -> Iterator[Callable[[str], None]]:
        """Holds the folder. Raises DemoError when another demonstration has it, and says which.

        Gives a function that tells those who come later where this one is to be found.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)

        def note(text: str) -> None:
            os.ftruncate(handle, 0)
            os.pwrite(handle, text.encode(), 0)

        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
                raise DemoError(
                    f"A demonstration already runs on {self.folder}: {holder}. Stop it with Ctrl-C where it was started."
                ) from None
            note(f"process {os.getpid()}")
            yield note
        finally:
            os.close(handle)

    def environment(self, *, redis_url: str, sandbox_url: str, database_url: str = "") -> dict[str, str]:
        """The portal's settings. Keys are named by file, so that no process listing shows them."""
        chosen = {
            "DJANGO_SETTINGS_MODULE": "meshportal.settings",
            "SECRET_KEY_FILE": str(self.secrets / "secret-key"),
            "MESHPORTAL_KEYS_FILE": str(self.secrets / "keys"),
            "MESHPORTAL_PAYLOAD_KEYS_FILE": str(self.secrets / "payload-keys"),
            "MESHPORTAL_SANDBOX_SHARED_KEY_FILE": str(self.secrets / "shared-key"),
            "MESHPORTAL_SANDBOX_URL": sandbox_url,
            "MESHPORTAL_DATA_DIR": str(self.data.resolve()),
            "MESHPORTAL_SECURE": "0",
            "MESHPORTAL_RING_SECONDS": "1",
            "MESHPORTAL_RETRY_BASE_SECONDS": "5",
            # MESH is asked after 4, 16 and 64 seconds what became of a message, so that people see it settle.
            "MESHPORTAL_TRACK_SECONDS": "4",
            "REDIS_URL": redis_url,
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
            "LOG_PRETTY": "1",
        }
        return {**chosen, "DATABASE_URL": database_url} if database_url else chosen


_SECRETS: dict[str, Callable[[], str]] = {
    "secret-key": lambda: secrets.token_urlsafe(50),
    "keys": lambda: Fernet.generate_key().decode(),
    "payload-keys": lambda: str(pyrage.x25519.Identity.generate()),
    "shared-key": lambda: secrets.token_hex(16),
    "password": lambda: "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4)),
}


def adopt(environment: dict[str, str]) -> None:
    """Makes this process one of the portal's: ``environment`` instead of whatever settings the shell has."""
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]
    os.environ.update(environment)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only the user may read; it is there whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    Path(temporary).replace(path)
