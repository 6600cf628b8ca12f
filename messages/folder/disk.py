"""What is done to files in a mailbox's folder: every name is one step below an open folder, and no link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mailboxes import folders
from messages.ctl import LIMIT

# A folder that holds more than this is read in part, and somebody is told.
MOST_NAMES = 20_000
MOST_CHOSEN = 1000
_BLOCK = 1024 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TAKING = ".taking"


class Changed(Exception):
    """The file was written to while it was read."""


class NotAFile(Exception):
    """A symbolic link, or something else that is no plain file."""


@dataclass(frozen=True)
class Stamp:
    """By what a change of a file shows. ``moved_at``: when it was last written or moved, in seconds by the file server."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    is_file: bool

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        plain = stat.S_ISREG(found.st_mode)
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, plain)

    def age(self, now: float) -> float:
        """Seconds since it was written, or put here under its name; copying can keep the first, renaming the second."""
        # A writer may set any time, also one to come.
        times = [ns / 1e9 for ns in (self.mtime_ns, self.ctime_ns)]
        return now - max([one for one in times if one <= now] or [now])


@dataclass(frozen=True)
class Pair:
    """The names of the two files of a document; '' for one that is not there."""

    dat: str = ""
    ctl: str = ""

    @property
    def whole(self) -> bool:
        return bool(self.dat and self.ctl)

    @property
    def names(self) -> list[str]:
        return [name for name in (self.dat, self.ctl) if name]


class Folder:
    """The open folder of a mailbox, a context manager. Raises FolderTrouble, and OSError for what concerns one file."""

    def __init__(self, folder: str) -> None:
        self._stack = ExitStack()
        try:
            self._home = self._keep(folders.opened(folder))
            self.out = self._keep(folders.child(self._home, "OUT"))
            self.taking = self._keep(folders.child(self._home, TAKING, make=True))
        except BaseException:
            self._stack.close()
            raise
        self._targets: dict[str, int] = {}

    def _keep(self, at: int) -> int:
        self._stack.callback(os.close, at)
        return at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes all that it opened."""
        self._stack.close()

    def target(self, *, sent: bool) -> int:
        """``SENT`` or ``FAILED``, made when it is not there."""
        name = "SENT" if sent else "FAILED"
        if name not in self._targets:
            self._targets[name] = self._keep(folders.child(self._home, name, make=True))
        return self._targets[name]

    def pairs(self) -> tuple[list[Pair], bool]:
        """What stands in OUT, whole pairs first, and whether there is more than was looked at. Folders, hidden files and
        other endings are passed over."""
        found: dict[str, Pair] = {}
        crowded = False
        with os.scandir(self.out) as entries:
            for number, entry in enumerate(entries):
                if number >= MOST_NAMES:
                    crowded = True
                    break
                ending = entry.name[-4:].lower()
                if ending not in (".dat", ".ctl") or entry.name.startswith(".") or not _file_or_link(entry):
                    continue
                base, part = entry.name[:-4], ending[1:]
                there = found.get(base, Pair())
                if not getattr(there, part):
                    found[base] = Pair(**{"dat": there.dat, "ctl": there.ctl, part: entry.name})
        chosen = sorted(found.values(), key=lambda pair: not pair.whole)
        whole = [pair for pair in chosen if pair.whole][:MOST_CHOSEN]
        return whole + [pair for pair in chosen if not pair.whole][:MOST_CHOSEN], crowded

    def held(self) -> set[str]:
        """The names, without ending, of what stands in .taking; the first of many."""
        with os.scandir(self.taking) as entries:
            return {entry.name[:-4] for _, entry in zip(range(MOST_NAMES), entries, strict=False)}


def _file_or_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or entry.is_file(follow_symlinks=False)


def stamp(at: int, name: str | bytes) -> Stamp | None:
    """The stamp of a file; None when it is not there."""
    try:
        return Stamp.of(os.stat(name, dir_fd=at, follow_symlinks=False))
    except FileNotFoundError:
        return None


def there(at: int, name: str | bytes) -> bool:
    return stamp(at, name) is not None


def opened(at: int, name: str | bytes) -> int:
    """A descriptor to read a plain file with, for the caller to close. Raises NotAFile, OSError."""
    # Asked before it is opened: opening a pipe or a device can do harm of its own.
    if not Stamp.of(os.stat(name, dir_fd=at, follow_symlinks=False)).is_file:
        raise NotAFile
    descriptor = os.open(name, _READ, dir_fd=at)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile
    return descriptor


def read_small(at: int, name: str | bytes) -> bytes:
    """The bytes of a control file, one more than it may have at the most. Raises NotAFile, OSError."""
    descriptor = opened(at, name)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LIMIT + 1)


def blocks(descriptor: int) -> Iterator[bytes]:
    """The bytes of an open file, which must stay as it is until its end. Raises Changed at the end otherwise, OSError."""
    before = Stamp.of(os.fstat(descriptor))
    size = 0
    while block := os.read(descriptor, _BLOCK):
        size += len(block)
        if size > before.size:
            raise Changed
        yield block
    after = Stamp.of(os.fstat(descriptor))
    if (before.size, before.mtime_ns) != (after.size, after.mtime_ns) or size != before.size:
        raise Changed
    # Its writer may not have cared, and the portal is about to say what became of it.
    folders.sync(descriptor)


def move(source: int, name: str | bytes, target: int, to: str | bytes) -> None:
    """Moves a file, and makes that last. Does nothing when it was moved already."""
    try:
        os.rename(name, to, src_dir_fd=source, dst_dir_fd=target)
    except FileNotFoundError:
        # A target that was removed says the same.
        if there(source, name):
            raise
        return
    folders.sync(target)
    folders.sync(source)


def write(at: int, name: str, data: bytes) -> None:
    """Writes a new file whole and durably, in place of what a killed process left under the same name."""
    remove(at, name)
    descriptor = os.open(name, _WRITE, 0o660, dir_fd=at)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        remove(at, name)
        raise


def remove(at: int, name: str | bytes) -> None:
    """Removes a file; absent is fine."""
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        return
    folders.sync(at)
