"""Looks into every file that the processes of a portal open, map or make, while they work."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.secrets.inside.sitecustomize import SEEN_BY
from tests.secrets.needles import Needle, found_in

_MOST = 64 * 1024 * 1024
_LOOK_EVERY = 0.02
_MAPS_EVERY = 0.2
# What is large and changes all the time (the write-ahead log) would keep it from looking at anything else.
_LARGE = 1024 * 1024
_AGAIN_AFTER = 5.0
_MAPPED = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+\s*(.*)")
# Shared memory without a name, or of a file that has none any more.
_NAMELESS = ("(deleted)", "/memfd:", "/dev/zero", "/dev/shm")


@dataclass(frozen=True, order=True)
class Finding:
    """A secret and where it lies. ``kind``: handed over, descriptor, mapping, file, database, broker or process."""

    kind: str
    place: str
    what: str


@dataclass
class _Seen:
    """How a file was when it was last read, and when that was."""

    size: int = -1
    changed: int = -1
    at: float = 0.0


class Watch:
    """``environment`` goes to the processes; they are known by it. ``needles`` may be added while it runs.

    What the processes open for writing is handed to it (see tests.secrets.inside); what programs open without Python, and what
    they map, it finds under /proc by looking all the time. As a context manager it watches until the end.
    """

    def __init__(self, socket_path: Path) -> None:
        self.environment = {SEEN_BY: str(socket_path)}
        self.needles: list[Needle] = []
        self.findings: set[Finding] = set()
        self.names: list[str] = []
        self.processes: set[int] = set()
        self.mappings = 0
        self.descriptors = 0
        self._mark = f"{SEEN_BY}={socket_path}".encode()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(socket_path))
        self._listener.listen(128)
        self._handed: list[tuple[str, int]] = []
        self._seen: dict[tuple[int, int], _Seen] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._take, self._look)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()
        for _, descriptor in self._handed:
            os.close(descriptor)
        if self._failed and error is None:
            raise self._failed[0]

    def begin(self) -> float:
        """Lets go of what was written before any secret came in; the time now, as files say it."""
        with self._lock:
            before, self._handed = self._handed, []
        for _, descriptor in before:
            os.close(descriptor)
        return time.time()

    def look_again(self) -> set[Finding]:
        """Reads everything that was handed over once more, with all needles; all that was found since the beginning."""
        assert not self._failed, self._failed
        for name, descriptor in self._handed_over():
            self._search("handed over", name, Path(f"/proc/self/fd/{descriptor}"), self.needles)
        self._look_at_processes(mapped=True)
        return set(self.findings)

    def _handed_over(self) -> list[tuple[str, int]]:
        """One descriptor of each file."""
        with self._lock:
            handed = list(self._handed)
        files: dict[tuple[int, int], tuple[str, int]] = {}
        for name, descriptor in handed:
            try:
                facts = os.fstat(descriptor)
            except OSError:
                # Let go of meanwhile.
                continue
            files.setdefault((facts.st_dev, facts.st_ino), (name, descriptor))
        return list(files.values())

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            if not self._over.is_set():
                self._failed.append(error)

    def _take(self) -> None:
        while not self._over.is_set():
            line, _ = self._listener.accept()
            with line:
                name, descriptors, _, _ = socket.recv_fds(line, 1024, 1)
                with self._lock:
                    self._handed += [(name.decode(errors="replace"), descriptor) for descriptor in descriptors]
                    self.names.append(name.decode(errors="replace"))

    def _look(self) -> None:
        mapped_at = 0.0
        while not self._over.wait(_LOOK_EVERY):
            now = time.monotonic()
            mapped = now - mapped_at > _MAPS_EVERY
            self._look_at_processes(mapped=mapped)
            if mapped:
                mapped_at = now
            for name, descriptor in self._handed_over():
                path = Path(f"/proc/self/fd/{descriptor}")
                if self._changed(path):
                    self._search("handed over", name, path, [needle for needle in self.needles if needle.usual])

    def _look_at_processes(self, *, mapped: bool) -> None:
        usual = [needle for needle in self.needles if needle.usual]
        for entry in [found.name for found in Path("/proc").iterdir() if found.name.isdigit()]:
            if int(entry) == os.getpid():
                continue
            try:
                if int(entry) not in self.processes:
                    if self._mark not in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                        continue
                    self.processes.add(int(entry))
                self._look_at_descriptors(entry, usual)
                if mapped:
                    self._look_at_mappings(entry, usual)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                # It ended meanwhile.
                continue

    def _look_at_descriptors(self, process: str, needles: list[Needle]) -> None:
        for path in Path(f"/proc/{process}/fd").iterdir():
            target = str(path.readlink())
            if not target.startswith("/") or target.startswith(("/dev/null", "/dev/pts", "/proc", "/sys", "/usr", "/lib")):
                continue
            self.descriptors += 1
            if self._changed(path):
                self._search("descriptor", target, path, needles)

    def _look_at_mappings(self, process: str, needles: list[Needle]) -> None:
        for line in Path(f"/proc/{process}/maps").read_text(errors="replace").splitlines():
            found = _MAPPED.fullmatch(line)
            if found is None:
                continue
            first, last, rights, name = found.groups()
            shared = rights[3] == "s" and "w" in rights
            if not name or not (shared or any(part in name for part in _NAMELESS)):
                continue
            self.mappings += 1
            start, end = int(first, 16), int(last, 16)
            try:
                with Path(f"/proc/{process}/mem").open("rb") as memory:
                    memory.seek(start)
                    data = memory.read(min(end - start, _MOST))
            except OSError:
                # A mapping beyond the end of its file holds nothing.
                continue
            self._note("mapping", name, data, needles)

    def _changed(self, path: Path) -> bool:
        try:
            facts = path.stat()
        except OSError:
            return False
        seen = self._seen.setdefault((facts.st_dev, facts.st_ino), _Seen())
        now = time.monotonic()
        if (facts.st_size, facts.st_mtime_ns) == (seen.size, seen.changed):
            return False
        if facts.st_size > _LARGE and now - seen.at < _AGAIN_AFTER:
            return False
        seen.size, seen.changed, seen.at = facts.st_size, facts.st_mtime_ns, now
        return True

    def _search(self, kind: str, place: str, path: Path, needles: list[Needle]) -> None:
        try:
            with path.open("rb") as file:
                data = file.read(_MOST)
        except OSError:
            # A terminal, a socket, or gone.
            return
        self._note(kind, place, data, needles)

    def _note(self, kind: str, place: str, data: bytes, needles: list[Needle]) -> None:
        for what in found_in(data, needles):
            self.findings.add(Finding(kind, place, what))


def files_under(*folders: Path, needles: list[Needle], since: float = 0.0) -> tuple[set[Finding], int]:
    """What the files of ``folders`` hold that were made or changed from ``since`` on, and how many these are."""
    findings, number = set(), 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                # The time of the last change is one that no program can set back.
                if not path.is_file() or path.stat().st_ctime < since:
                    continue
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            number += 1
            findings |= {Finding("file", str(path.relative_to(folder)), what) for what in found_in(data, needles)}
    return findings, number
