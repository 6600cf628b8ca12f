"""The poller's pool: threads for due mailboxes, and a small lane of their own for those that timed out last time.

However many mailboxes hang, the others are polled on time (promise P4).
"""

from __future__ import annotations

from functools import partial

from django.conf import settings

from mailboxes import polling
from mailboxes.models import Mailbox
from meshportal.audit import context
from meshportal.core.pool import Pool
from messages import turn

QUEUE = "poll"


def pool(*, threads: int, slow_threads: int, seconds: float) -> Pool[Mailbox]:
    """A run of the pool that works due mailboxes."""
    return Pool(
        queue=QUEUE,
        lanes=[partial(polling.claim_due, slow=False)] * threads + [partial(polling.claim_due, slow=True)] * slow_threads,
        work=_work,
        seconds=seconds,
        long_seconds=settings.TURN_SECONDS,
    )


def _work(mailbox: Mailbox) -> None:
    with context.request():
        turn.work(mailbox)


def run_due() -> int:
    """Works every due mailbox with the pool of the settings; gives how many."""
    return pool(threads=settings.POLL_THREADS, slow_threads=settings.POLL_SLOW_THREADS, seconds=settings.SHARD_SECONDS).run()
