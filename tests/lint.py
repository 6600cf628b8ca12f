"""Everything that is checked without running a test, as ``make lint`` runs it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyrage
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[1]
_MODULE = (sys.executable, "-m")
_MANAGE = (sys.executable, "manage.py")
CHECKS: dict[str, tuple[str, ...]] = {
    "ruff, rules": (*_MODULE, "ruff", "check", "."),
    "ruff, formatting": (*_MODULE, "ruff", "format", "--check", "."),
    "import-linter, layers": (str(Path(sys.executable).with_name("lint-imports")), "--no-cache"),
    "Django, deployment checks": (*_MANAGE, "check", "--deploy", "--fail-level", "WARNING"),
    "Django, migrations are complete": (*_MANAGE, "makemigrations", "--check", "--dry-run"),
    "mypy, types": (*_MODULE, "mypy"),
}


def settings(folder: Path) -> dict[str, str]:
    """Settings as in production, with keys that live for this run; nothing listens at the addresses."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "MESHPORTAL_KEYS": Fernet.generate_key().decode(),
        "MESHPORTAL_PAYLOAD_KEYS": str(pyrage.x25519.Identity.generate()),
        "MESHPORTAL_DATA_DIR": str(folder),
        "MESHPORTAL_LIVE_SHARED_KEY": secrets.token_hex(16),
        "ALLOWED_HOSTS": "mesh.example",
        "DATABASE_URL": "postgresql://meshportal@127.0.0.1:1/meshportal",
    }


def main() -> int:
    """0 when every check passed; all of them run."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="meshportal-lint-") as name:
        folder = Path(name)
        given = {key: value for key, value in os.environ.items() if not key.startswith(("MESHPORTAL_", "DATABASE_", "SECRET_"))}
        for what, command in CHECKS.items():
            environment = {**given, **settings(folder)}
            if "makemigrations" in command:
                # It compares with a database's history, and an empty SQLite has none.
                environment["DATABASE_URL"] = f"sqlite:///{folder / 'lint.sqlite3'}"
            began = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            verdict = "ok" if done.returncode == 0 else f"FAILED (exit {done.returncode})"
            print(f"{what}: {verdict}, {time.monotonic() - began:.1f} s", flush=True)
            if done.returncode:
                failed.append(what)
                print(done.stdout + done.stderr, flush=True)
    print(f"{len(CHECKS) - len(failed)} of {len(CHECKS)} checks passed.", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
