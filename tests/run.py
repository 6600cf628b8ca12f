"""The whole suite, as ``make test`` runs it: ``python -m tests.run [arguments of pytest]``.

First everything on SQLite, then what touches the database on a PostgreSQL server of its own. Without PostgreSQL the
second half is left out, said loudly; with MESHPORTAL_TEST_REQUIRE_ALL=1 that fails the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from meshportal.demo.guard import guarded
from meshportal.demo.processes import ServiceError
from tests import services

_INTERRUPTED, _NO_TESTS = 2, 5


def main(arguments: Sequence[str]) -> int:
    """0 when every test passed on every database."""
    for service in ("redis", "sandbox", "chromium", "openssl", "keytool"):
        if sentence := services.missing(service):
            print(f"NOTE: some tests will be {'failed' if services.must_have_all() else 'skipped'}: {sentence}", flush=True)
    first = _pytest("SQLite", arguments, {"MESHPORTAL_TEST_DATABASE": "sqlite"})
    if first == _INTERRUPTED:
        return first
    if sentence := services.missing("postgresql"):
        print(f"\n{'!' * 100}\nThe suite did NOT run on PostgreSQL. {sentence}\n{'!' * 100}", flush=True)
        return 1 if services.must_have_all() else first
    try:
        with guarded(), services.PostgresServer() as server:
            second = _pytest(
                "PostgreSQL (what touches the database)",
                arguments,
                {
                    "MESHPORTAL_TEST_DATABASE": "postgresql",
                    "MESHPORTAL_TEST_POSTGRES_URL": server.url,
                    "MESHPORTAL_TEST_ONLY_DATABASE": "1",
                },
            )
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    # A narrow choice of tests may hold none that touches the database; no test at all is a failure.
    return first if second == _NO_TESTS else first or second


def _pytest(what: str, arguments: Sequence[str], environment: dict[str, str]) -> int:
    print(f"\n=== The tests on {what} ===", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-n", os.environ.get("MESHPORTAL_TEST_PROCESSES", "2"), "--dist", "loadgroup"]
    status = subprocess.run([*command, *arguments], env={**os.environ, **environment}, check=False).returncode
    print(f"=== On {what}: exit {status} after {time.monotonic() - began:.0f} s ===", flush=True)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
