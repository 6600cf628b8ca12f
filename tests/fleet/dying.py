"""A process that dies at a given step: before or after any file operation, any statement that writes, and any commit; and
in the middle of what it writes to a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

_FILES = ("rename", "replace", "unlink", "mkdir", "fsync", "open")
_READS = ("SELECT", "BEGIN", "SAVEPOINT", "RELEASE", "PRAGMA")


class Steps:
    """Names the steps of this process, and ends it at once at number ``last``; None lets it live."""

    def __init__(self, last: int | None) -> None:
        self._last = last
        self.names: list[str] = []

    @property
    def taken(self) -> int:
        return len(self.names)

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if self._last is not None and self.taken >= self._last:
            os._exit(9)

    def install(self) -> None:
        """For the rest of this process."""
        for name in _FILES:
            setattr(os, name, self._wrapped(name, getattr(os, name), counts=_creates if name == "open" else None))
        os.write = self._torn(os.write)
        # The portal's own storage renames by the path's method, which holds the real one.
        Path.replace = self._wrapped("replace", Path.replace)  # type: ignore[method-assign]
        BaseDatabaseWrapper._commit = self._wrapped("commit", BaseDatabaseWrapper._commit)  # type: ignore[attr-defined]
        CursorWrapper.execute = self._wrapped("", CursorWrapper.execute, counts=_writes)  # type: ignore[method-assign]

    def _wrapped(self, name: str, real: Callable[..., Any], counts: Callable[..., bool] | None = None) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if counts is not None and not counts(*args):
                return real(*args, **kwargs)
            called = _called(name, args)
            self(f"before {called}")
            found = real(*args, **kwargs)
            self(f"after {called}")
            return found

        return wrapper

    def _torn(self, real: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def write(descriptor: int, data: Any) -> int:
            self("before write")
            if self.taken + 1 == self._last:
                real(descriptor, data[: len(data) // 2])
            self("amid write")
            written = real(descriptor, data)
            self("after write")
            return written

        return write


def _called(name: str, args: tuple[Any, ...]) -> str:
    """What is done, for people: the operation and the kind of file, or the statement and its table."""
    if not name:
        return " ".join(str(args[1]).replace('"', "").split()[:3])
    return f"{name} {Path(args[0]).suffix}".strip() if args and isinstance(args[0], (str, Path)) else name


def _creates(_name: Any, flags: int, *_args: Any) -> bool:
    return bool(flags & os.O_CREAT)


def _writes(_cursor: Any, sql: Any, *_args: Any) -> bool:
    return not str(sql).lstrip().upper().startswith(_READS)
