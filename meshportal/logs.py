"""Structured logs: one JSON object a line, with the request or task id, and nothing secret.

Nothing in the portal logs a body, a password, a key or an authorization header; the last processor is a belt to
those braces: it removes values under such names and masks what looks like a token or an NHS number.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"pass(word|phrase)|secret|authori[sz]ation|private|cookie|shared_key|body|payload|subject", re.I)
# Also the secret part of a calendar's address, which would stand in the line of a request that failed.
_TOKEN = re.compile(r"NHSMESH\s+\S+|AGE-SECRET-KEY-1\S+|(?<=/calendar/)[\w-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.S)
_TEN_DIGITS = re.compile(r"(?<!\d)\d{3}[ -]?\d{3}[ -]?\d{4}(?!\d)")


def _clean(value: object) -> object:
    if isinstance(value, str):
        return _TEN_DIGITS.sub("[number]", _TOKEN.sub("[removed]", value))
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    if isinstance(value, dict):
        return {key: "[removed]" if _SECRET_NAMES.search(str(key)) else _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that keeps secrets and NHS numbers out of the line."""
    for key, value in event.items():
        if key in {"timestamp", "_record"}:
            continue
        event[key] = "[removed]" if _SECRET_NAMES.search(key) else _clean(value)
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configuration(*, level: str, pretty: bool) -> dict[str, Any]:
    """The LOGGING setting. ``pretty`` is for a person at a terminal; otherwise JSON for a collector."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last = structlog.dev.ConsoleRenderer(colors=False) if pretty else structlog.processors.JSONRenderer()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact,
                    last,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # httpx and httpcore log addresses and, at DEBUG, header values.
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "celery.beat": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
        },
    }
