"""Ends what a starter left running when the starter itself was killed.

A small process of its own that is told of every child group over a pipe. When the pipe closes, however its starter
ended, it stops the groups that were not crossed off. Works on every Unix, unlike a parent-death signal, and takes
whole groups.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_GRACE = 5.0


class Guard:
    """The starter's end of the pipe."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self._pipe = os.fdopen(writing, "wb", buffering=0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "meshportal.demo.guard"],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parents[2],
            start_new_session=True,
        )
        os.close(reading)

    def add(self, group: int) -> None:
        """From now on ``group`` is ended when this process goes."""
        self._tell(f"+{group}\n")

    def drop(self, group: int) -> None:
        """``group`` has ended; its number may come to belong to somebody else."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Ends the guard, and every group that was not dropped."""
        self._pipe.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        # Without the guard everything still works; it only serves when things go wrong.
        try:
            self._pipe.write(line.encode())
        except (BrokenPipeError, ValueError):
            pass


@contextmanager
def guarded() -> Iterator[Guard]:
    """Every :class:`Service` that is started inside is watched over."""
    from meshportal.demo.processes import Service

    before, guard = Service.guard, Guard()
    Service.guard = guard
    try:
        yield guard
    finally:
        Service.guard = before
        guard.close()


def watch(lines: Iterable[str]) -> set[int]:
    """The groups that are left when ``lines`` end."""
    groups: set[int] = set()
    for line in lines:
        change, number = line[:1], line[1:].strip()
        if number.isdigit():
            (groups.add if change == "+" else groups.discard)(int(number))
    return groups


def end(groups: set[int]) -> None:
    """TERM, and KILL for what is left after a few seconds."""
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + _GRACE
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Reads until the pipe closes."""
    # A terminal's signals are for the starter; this one must be the last to go.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(watch(sys.stdin))


if __name__ == "__main__":
    main()
