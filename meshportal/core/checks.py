"""System checks for what would otherwise fail at three in the morning."""

from __future__ import annotations

import tempfile
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from meshportal.core import crypto, payloads


@register()
def keys_are_usable(**_kwargs: Any) -> list[CheckMessage]:
    """Every key parses, and a value sealed with the first opens again."""
    found: list[CheckMessage] = []
    for name, probe in (("MESHPORTAL_KEYS", crypto.keyring), ("MESHPORTAL_PAYLOAD_KEYS", payloads.identities)):
        try:
            probe()
        except ImproperlyConfigured as error:
            found.append(Error(str(error), id=f"meshportal.{name}"))
    return found


@register()
def data_dir_is_writable(**_kwargs: Any) -> list[CheckMessage]:
    """Payloads and the embedded database need a place that can be written."""
    try:
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.DATA_DIR):
            pass
    except OSError as error:
        return [Error(f"MESHPORTAL_DATA_DIR ({settings.DATA_DIR}) cannot be written: {error}.", id="meshportal.E003")]
    return []


@register(deploy=True)
def shared_keys_are_given(**_kwargs: Any) -> list[CheckMessage]:
    """Without the shared key of its environment a mailbox can never sign in to MESH."""
    if any(settings.MESH_SHARED_KEYS.values()):
        return []
    return [
        Warning(
            "No MESHPORTAL_LIVE_SHARED_KEY, MESHPORTAL_INT_SHARED_KEY or MESHPORTAL_SANDBOX_SHARED_KEY is set: "
            "no mailbox can be polled.",
            id="meshportal.W004",
        )
    ]


@register(deploy=True)
def database_suits_production(**_kwargs: Any) -> list[CheckMessage]:
    """SQLite serves one machine; several hosts need PostgreSQL."""
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return [
            Warning(
                "The database is SQLite, which serves one machine. Set DATABASE_URL to PostgreSQL before adding a second host.",
                id="meshportal.W005",
            )
        ]
    return []
