"""A pytest plugin that reads every log line as the portal would write it, and fails the test in which one holds a secret.

Planted: the keys of this run, the passwords that tests sign in with, everything that a test calls PLANTED, and whatever
looks like a token or a private key.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

_PATTERN = re.compile(
    r"NHSMESH [A-Z0-9]+:|AGE-SECRET-KEY-1|PRIVATE KEY-----|PLANTED|correct horse battery|[Pp]assword['\"]?[:=] ?['\"]?password\b"
)
_NAMES = ("SECRET_KEY", "MESHPORTAL_KEYS", "MESHPORTAL_PAYLOAD_KEYS")


def leak_in(line: str) -> str | None:
    """The secret that ``line`` holds, or None."""
    found = _PATTERN.search(line)
    if found:
        return found[0]
    return next((name for name in _NAMES if os.environ.get(name) and os.environ[name] in line), None)


class _Reader(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        found = leak_in(line)
        if found:
            self.leaks.append(f"{found} in a line of {record.name}")


_reader = _Reader()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Listens as the handlers of the LOGGING setting do, at whatever level a test sets."""
    from django.conf import settings

    formatter = settings.LOGGING["formatters"]["structured"]
    chosen: Any = dict(formatter)
    _reader.setFormatter(chosen.pop("()")(**chosen))
    logging.getLogger().addHandler(_reader)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A leak fails the test that it happened in."""
    result = yield
    if _reader.leaks:
        found, _reader.leaks = sorted(set(_reader.leaks)), []
        pytest.fail("A secret is in the log: " + "; ".join(found), pytrace=False)
    return result
