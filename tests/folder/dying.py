"""A process that dies at a given step: before or after any file operation, any statement that writes, and any commit."""

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
    """Counts the steps of this process, and ends it at once at number ``last``; None lets it live."""

    def __init__(self, last: int | None) -> None:
        self._last = last
        self.taken = 0

    def __call__(self) -> None:
        self.taken += 1
        if self._last is not None and self.taken >= self._last:
            os._exit(9)

    def around(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self()
        found = real(*args, **kwargs)
        self()
        return found

    def install(self) -> None:
        """For the rest of this process."""
        for name in _FILES:
            setattr(os, name, self._wrapped(getattr(os, name), counts=_creates if name == "open" else None))
        # The portal's own storage renames by the path's method, which holds the real one.
        Path.replace = self._wrapped(Path.replace)  # type: ignore[method-assign]
        BaseDatabaseWrapper._commit = self._wrapped(BaseDatabaseWrapper._commit)  # type: ignore[attr-defined]
        CursorWrapper.execute = self._wrapped(CursorWrapper.execute, counts=_writes)  # type: ignore[method-assign]

    def _wrapped(self, real: Callable[..., Any], counts: Callable[..., bool] | None = None) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if counts is not None and not counts(*args):
                return real(*args, **kwargs)
            return self.around(real, *args, **kwargs)

        return wrapper


def _creates(_name: Any, flags: int, *_args: Any) -> bool:
    return bool(flags & os.O_CREAT)


def _writes(_cursor: Any, sql: Any, *_args: Any) -> bool:
    return not str(sql).lstrip().upper().startswith(_READS)
