"""Reading the control files of a client's folders: no link is followed below the folder, and nothing is written."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailboxes import folders
from mailboxes.folders import FolderTrouble
from messages.ctl import LIMIT

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Moving(Exception):
    """The file is still written to, or was moved away: the next look finds it."""


@dataclass(frozen=True)
class Content:
    """A file as it was read."""

    data: bytes
    digest: str


def stamp_of(found: os.stat_result) -> str:
    """By what a change of a file shows."""
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def age_of(found: os.stat_result, now: float) -> float:
    """Seconds since it was written. A writer may set any time, also one to come."""
    times = [one for one in (found.st_mtime, found.st_ctime) if one <= now]
    return now - max(times) if times else 0.0


@contextmanager
def opened(home: Path, name: str) -> Iterator[int | None]:
    """A descriptor of the folder ``name`` of ``home``; None when there is none. Raises FolderTrouble."""
    try:
        above = os.open(home, _DIRECTORY)
    except OSError as error:
        raise folders.trouble(error) from error
    try:
        try:
            at = folders.child(above, name)
        except FolderTrouble as error:
            if error.problem.code != "folder_missing":
                raise
            yield None
            return
        try:
            yield at
        finally:
            os.close(at)
    finally:
        os.close(above)


def control_files(at: int) -> Iterator[tuple[str, os.stat_result]]:
    """The control files of a folder by name. Hidden ones, links, folders and other endings are passed over."""
    try:
        with os.scandir(at) as entries:
            names = sorted(one.name for one in entries if one.name[-4:].lower() == ".ctl" and not one.name.startswith("."))
    except OSError as error:
        raise folders.trouble(error) from error
    for name in names:
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            yield name, found


def read(at: int, name: str, expected: str) -> Content:
    """The file ``name``, as long as it still has the stamp ``expected``. Raises Moving, and OSError when it is not to be read."""
    try:
        file = os.open(name, _READ, dir_fd=at)
    except FileNotFoundError:
        raise Moving from None
    try:
        parts = []
        left = LIMIT + 1
        while left and (part := os.read(file, left)):
            parts.append(part)
            left -= len(part)
        if stamp_of(os.fstat(file)) != expected:
            raise Moving
    finally:
        os.close(file)
    data = b"".join(parts)
    return Content(data, hashlib.sha256(data).hexdigest())
