"""Working many mailboxes at once in one process: a bounded pool of threads over kept connections.

Each thread claims the mailbox that has been due for longest, works it, and claims the next. Mailboxes that timed out
last time have a small lane of their own, so that however many hang, the others are polled on time (promise P4). While a
turn takes longer than turns do (a large message is coming in), the other threads go on claiming, so that a few long
downloads never keep a process from its work; each look also counts as a sign of life of the queue.
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
from meshportal.core import heartbeats
from messages import turn

log = structlog.get_logger("messages.shard")

_LOOK_AGAIN_SECONDS = 0.5
_BEAT_SECONDS = 15.0
QUEUE = "poll"


class Shard:
    """One run of the pool. ``seconds`` is how long it takes new work, unless a turn goes on for longer than turns do."""

    def __init__(self, *, threads: int, slow_threads: int, seconds: float) -> None:
        self._lanes = [False] * threads + [True] * slow_threads
        self._until = time.monotonic() + seconds
        self._began: dict[int, float] = {}
        self._beaten = 0.0
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
            while True:
                if self._may_claim():
                    self._sign_of_life()
                    if self._one(slow):
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
            return any(now - began > settings.TURN_SECONDS for began in self._began.values())

    def _sign_of_life(self) -> None:
        """The canary waits behind this very task; what it would say is said here."""
        now = time.monotonic()
        with self._lock:
            if now - self._beaten < _BEAT_SECONDS:
                return
            self._beaten = now
        try:
            heartbeats.beat(QUEUE)
        except DatabaseError:
            log.warning("heartbeat_failed")
            connections.close_all()

    def _one(self, slow: bool) -> bool:
        """Claims and works one mailbox; False when none was due."""
        me = threading.get_ident()
        try:
            mailbox = polling.claim_due(slow=slow)
            if mailbox is None:
                return False
            with self._lock:
                self._began[me] = time.monotonic()
            try:
                with context.request():
                    tally = turn.work(mailbox)
            finally:
                with self._lock:
                    del self._began[me]
        except DatabaseError:
            # The database went away or was busy for too long. The lease runs out by itself; look again in a while.
            log.exception("database_failed")
            connections.close_all()
            return False
        except Exception:
            # Whatever it was, it was one mailbox's: its lease runs out, and this thread has others to work.
            log.exception("turn_broke")
            return True
        with self._lock:
            self.done.update(mailboxes=1, stored=tally.stored, acknowledged=tally.acknowledged, failed=tally.failed)
        return True


def run_due() -> Counter[str]:
    """Works every due mailbox with the pool of the settings."""
    return Shard(threads=settings.POLL_THREADS, slow_threads=settings.POLL_SLOW_THREADS, seconds=settings.SHARD_SECONDS).run()
