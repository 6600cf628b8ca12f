"""The last filter before a log line: whatever the code forgets, no secret and no NHS number leaves."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from meshportal import logs


@pytest.fixture
def line(settings: Any) -> Any:
    """The JSON line that the configured formatter makes of a record."""
    formatter = dict(logs.configuration(level="INFO", pretty=False)["formatters"]["structured"])
    made = formatter.pop("()")(**formatter)

    def write(message: str, *args: Any, **extra: Any) -> dict[str, Any]:
        record = logging.LogRecord("x", logging.INFO, __file__, 1, message, args, None)
        for name, value in extra.items():
            setattr(record, name, value)
        parsed: dict[str, Any] = json.loads(made.format(record))
        return parsed

    return write


@pytest.mark.parametrize(
    "secret",
    [
        "NHSMESH X26HC001:nonce:0:202611251200:" + "a" * 64,
        "AGE-SECRET-KEY-1" + "Q" * 58,
        "-----BEGIN " + "PRIVATE KEY-----\nMIIEv",
        "999 000 0018",
        "9990000018",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(line: Any, secret: str) -> None:
    written = json.dumps(line("before %s after", secret))
    assert secret[:20] not in written
    assert "before" in written


def test_values_under_secret_names_are_taken_out() -> None:
    event = {
        "event": "x",
        "password": "p",
        "Authorization": "a",
        "nested": {"private_key": "k", "list": [{"cookie": "c"}]},
        "subject": "Mrs Jones",
        "raw": b"bytes",
    }
    cleaned = logs.redact(None, "info", event)
    assert cleaned == {
        "event": "x",
        "password": "[removed]",
        "Authorization": "[removed]",
        "nested": {"private_key": "[removed]", "list": [{"cookie": "[removed]"}]},
        "subject": "[removed]",
        "raw": "[5 bytes]",
    }


def test_a_longer_number_is_no_nhs_number(line: Any) -> None:
    assert "20261125030517123456" in line("id 20261125030517123456_ABCDEF")["event"]
