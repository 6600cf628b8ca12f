"""The environment variables that the suite runs under: a pytest plugin (``-p tests.environment``), since Django reads
its settings before any conftest is loaded.

Keys are made anew for each run. ``MESHPORTAL_TEST_DATABASE`` (sqlite or postgresql) chooses the database; for
PostgreSQL ``MESHPORTAL_TEST_POSTGRES_URL`` names the server. ``make test`` sets them (:mod:`tests.run`).
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import pyrage
import pytest
from cryptography.fernet import Fernet

KINDS = ("sqlite", "postgresql")
_DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "django_db_setup"}
# The fleet's portals have databases of their own, in processes of their own.
_DATABASE_MARKERS = ("django_db", "crash", "simulation")


def database_kind() -> str:
    """sqlite or postgresql."""
    kind = os.environ.get("MESHPORTAL_TEST_DATABASE", "sqlite")
    if kind not in KINDS:
        raise SystemExit(f"MESHPORTAL_TEST_DATABASE must be one of {', '.join(KINDS)}, not {kind}.")
    return kind


def only_database() -> bool:
    """True when only the tests that touch the database are to run."""
    return os.environ.get("MESHPORTAL_TEST_ONLY_DATABASE") == "1"


def touches_database(item: pytest.Item) -> bool:
    """True for a test whose outcome may depend on the kind of database."""
    used = set(getattr(item, "fixturenames", ()))
    return bool(used & _DATABASE_FIXTURES) or any(item.get_closest_marker(name) for name in _DATABASE_MARKERS)


def prepare() -> Path:
    """Fills the environment; returns the folder that holds everything this process writes."""
    folder = Path(tempfile.mkdtemp(prefix="meshportal-tests-"))
    (folder / "staticfiles").mkdir()
    database = os.environ.get("MESHPORTAL_TEST_POSTGRES_URL", "") if database_kind() == "postgresql" else ""
    # Set, not defaulted: a developer's own settings must not reach the tests.
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "meshportal.settings",
        "SECRET_KEY": secrets.token_hex(32),
        "MESHPORTAL_KEYS": Fernet.generate_key().decode(),
        "MESHPORTAL_PAYLOAD_KEYS": str(pyrage.x25519.Identity.generate()),
        "MESHPORTAL_DATA_DIR": str(folder),
        "MESHPORTAL_SECURE": "0",
        "MESHPORTAL_SANDBOX_SHARED_KEY": "TestKey",
        "MESHPORTAL_RETRY_BASE_SECONDS": "1",
        "DATABASE_URL": database or f"sqlite:///{folder / 'meshportal.sqlite3'}",
        "DEBUG": "0",
    }
    for name in ("SECRET_KEY_FILE", "MESHPORTAL_KEYS_FILE", "MESHPORTAL_PAYLOAD_KEYS_FILE", "DATABASE_URL_FILE"):
        os.environ.pop(name, None)
    return folder


FOLDER = prepare()


def pytest_unconfigure() -> None:
    """Leaves nothing behind."""
    shutil.rmtree(FOLDER, ignore_errors=True)
