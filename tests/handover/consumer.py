"""What stands behind the folder of a mailbox: it looks into IN, and takes what has its .ctl, or leaves it there."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from messages import ctl

# The SHA-256 of what is in it says that a pair is whole; of a report, which is its .ctl alone, there is nothing to say.
Files = tuple[tuple[int, int], ...]


class Consumer:
    """``digests`` are the SHA-256 of each document by its MESH ID; it may grow. ``takes`` pairs at once, or never.

    ``came`` holds the MESH ID of each pair that came, as often as it came, and ``came_at`` when it last did. A pair that
    stands there and is put there again comes again: its files are others. What must never show is written into ``wrong``.
    """

    def __init__(self, home: Path, digests: Mapping[str, str], *, takes: bool = True) -> None:
        self._inside = home / "IN"
        self._digests = digests
        self._takes = takes
        self._standing: dict[str, Files] = {}
        self._lock = threading.Lock()
        self.came: list[str] = []
        self.came_at: dict[str, float] = {}
        self.wrong: list[str] = []
        self.looks = 0

    def look(self) -> None:
        """At everything that is there at this moment."""
        with self._lock:
            self.looks += 1
            for path in sorted(self._inside.iterdir()):
                if path.suffix == ".ctl":
                    self._see(path)
                elif path.suffix != ".dat" or path.stem not in self._digests:
                    self.wrong.append(f"{path.name} has no business in IN")

    def _see(self, path: Path) -> None:
        body = path.with_suffix(".dat")
        try:
            files = tuple(
                (status.st_ino, status.st_mtime_ns) for status in map(os.stat, [path, body] if body.exists() else [path])
            )
            if self._standing.get(path.name) == files:
                return
            said = ctl.parse(path.read_bytes())
            if said.message_type != "Report":
                digest = hashlib.sha256(body.read_bytes()).hexdigest()
                if digest != self._digests[said.dts_id]:
                    raise ValueError("half a .dat")
        except (OSError, ValueError, KeyError) as error:
            self.wrong.append(f"{path.name}: {error}")
            return
        self.came.append(said.dts_id)
        self.came_at[said.dts_id] = time.time()
        if self._takes:
            body.unlink(missing_ok=True)
            path.unlink()
        else:
            self._standing[path.name] = files

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Looks all the while, from a thread."""
        stop = threading.Event()

        def poll() -> None:
            while not stop.wait(0.002):
                self.look()

        thread = threading.Thread(target=poll, name="consumer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.look()
