"""Runs the benches that are named, or all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable

# Before anything of Django: it puts the settings of a test run into the environment.
from tests import environment
from tests.bench import imports, lookups, memory, pages, polling

BENCHES: dict[str, Callable[[], bool]] = {
    "memory": memory.run,
    "polling": polling.run,
    "pages": pages.run,
    "imports": imports.run,
    "lookups": lookups.run,
}


def main() -> int:
    """0 when every bench kept its promise."""
    names = sys.argv[1:] or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        print(f"There is no bench {', '.join(unknown)}. There are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    try:
        kept = [BENCHES[name]() for name in names]
    finally:
        environment.pytest_unconfigure()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
