"""Working many leased rows at once in one process: a bounded pool of threads, in lanes.

Each thread claims the row that has been due for longest in its lane, works it, and claims the next. While a row takes
longer than rows do (a large message comes in or goes out), the other threads go on claiming, so that a few long ones
never keep a process from its work; each look also counts as a sign of life of the queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog
from django.db import DatabaseError, connections

from meshportal.core import heartbeats

log = structlog.get_logger("core.pool")

Row = TypeVar("Row")
_LOOK_AGAIN_SECONDS = 0.5
_BEAT_SECONDS = 15.0


class Pool(Generic[Row]):
    """One run of a pool.

    ``lanes`` holds one claiming function for each thread: it claims a due row or gives None. ``work`` works one and gives
    the lease back. ``seconds`` is how long new rows are taken, unless one goes on for more than ``long_seconds``.
    ``queue`` is the Celery queue whose canary waits behind this very task.
    """

    def __init__(
        self,
        *,
        queue: str,
        lanes: Sequence[Callable[[], Row | None]],
        work: Callable[[Row], object],
        seconds: float,
        long_seconds: float,
    ) -> None:
        self._queue = queue
        self._lanes = lanes
        self._work = work
        self._until = time.monotonic() + seconds
        self._long = long_seconds
        self._began: dict[int, float] = {}
        self._beaten = 0.0
        self._lock = threading.Lock()
        self.worked = 0

    def run(self) -> int:
        """Works until nothing is due, or the time is up and the last row is done; gives the number of rows worked."""
        threads = [
            threading.Thread(target=self._lane, args=(claim,), name=f"{self._queue}-{number}")
            for number, claim in enumerate(self._lanes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.worked

    def _lane(self, claim: Callable[[], Row | None]) -> None:
        try:
            while True:
                if self._may_claim():
                    self._sign_of_life()
                    if self._one(claim):
                        continue
                if not self._began:
                    return
                time.sleep(_LOOK_AGAIN_SECONDS)
        finally:
            connections.close_all()

    def _may_claim(self) -> bool:
        now = time.monotonic()
        if now < self._until:
            return True
        with self._lock:
            return any(now - began > self._long for began in self._began.values())

    def _sign_of_life(self) -> None:
        """What the canary would say, if it did not wait behind this task."""
        now = time.monotonic()
        with self._lock:
            if now - self._beaten < _BEAT_SECONDS:
                return
            self._beaten = now
        try:
            heartbeats.beat(self._queue)
        except DatabaseError:
            log.warning("heartbeat_failed")
            connections.close_all()

    def _one(self, claim: Callable[[], Row | None]) -> bool:
        """Claims and works one row; False when none was due."""
        me = threading.get_ident()
        try:
            row = claim()
            if row is None:
                return False
            with self._lock:
                self._began[me] = time.monotonic()
            try:
                self._work(row)
            finally:
                with self._lock:
                    del self._began[me]
        except DatabaseError:
            # The database went away or was busy for too long. The lease runs out by itself; look again in a while.
            log.exception("database_failed")
            connections.close_all()
            return False
        except Exception:
            # Whatever it was, it was one row's: its lease runs out, and this thread has others to work.
            log.exception("row_broke")
            return True
        with self._lock:
            self.worked += 1
        return True
