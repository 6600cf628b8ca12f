"""Working many mailboxes at once in one process: a bounded pool of threads over kept connections.

Each thread claims the mailbox that has been due for longest, works it, and claims the next. Mailboxes that timed out
last time have a small lane of their own, so that however many hang, the others are polled on time (promise P4). The
normal lane goes on claiming for as long as any thread is busy, so one long download never keeps the process from
taking new work.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

import structlog
from django.conf import settings
from django.db import DatabaseError, connections

from mailboxes import polling
from meshportal.audit import context
from messages import turn

log = structlog.get_logger("messages.shard")

_LOOK_AGAIN_SECONDS = 0.5


class Shard:
    """One run of the pool. ``seconds`` is how long it takes new work while nobody is busy with a long turn."""

    def __init__(self, *, threads: int, slow_threads: int, seconds: float) -> None:
        self._lanes = [False] * threads + [True] * slow_threads
        self._until = time.monotonic() + seconds
        # Longer than any single turn can take: past it even a busy pool takes no new work, and the task ends.
        self._hard_until = self._until + settings.TURN_SECONDS + settings.LEASE_SECONDS
        self._busy = 0
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """Works until nothing is due, or the time is up and the last turn has ended."""
        threads = [
            threading.Thread(target=self._lane, args=(slow,), name=f"poll-{'slow-' if slow else ''}{number}")
            for number, slow in enumerate(self._lanes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.done

    def _lane(self, slow: bool) -> None:
        try:
            while self._may_claim(slow):
                if not self._one(slow):
                    if not self._somebody_is_busy():
                        return
                    time.sleep(_LOOK_AGAIN_SECONDS)
        finally:
            connections.close_all()

    def _may_claim(self, slow: bool) -> bool:
        now = time.monotonic()
        if now < self._until:
            return True
        return not slow and now < self._hard_until and self._somebody_is_busy()

    def _somebody_is_busy(self) -> bool:
        with self._lock:
            return self._busy > 0

    def _one(self, slow: bool) -> bool:
        """Claims and works one mailbox; False when none was due."""
        try:
            mailbox = polling.claim_due(slow=slow)
            if mailbox is None:
                return False
            with self._lock:
                self._busy += 1
            try:
                with context.request():
                    tally = turn.work(mailbox)
            finally:
                with self._lock:
                    self._busy -= 1
        except DatabaseError:
            # The database went away or was busy for too long. The lease runs out by itself; look again in a while.
            log.exception("database_failed")
            connections.close_all()
            return False
        with self._lock:
            self.done.update(mailboxes=1, stored=tally.stored, acknowledged=tally.acknowledged, failed=tally.failed)
        return True


def run_due() -> Counter[str]:
    """Works every due mailbox with the pool of the settings."""
    return Shard(threads=settings.POLL_THREADS, slow_threads=settings.POLL_SLOW_THREADS, seconds=settings.SHARD_SECONDS).run()
