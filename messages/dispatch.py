"""The sender's pool: threads for messages that wait to be sent, one for looks at those that were, and two for watched
folders, since a large document that is read there must not keep the others waiting."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

from mailboxes.models import WatchedFolder
from meshportal.audit import context
from meshportal.core.pool import Pool
from messages import send, track
from messages.folder import turn as folder
from messages.models import Message, Outgoing
from messages.states import TO_TRACK

QUEUE = "send"
FOLDER_THREADS = 2


def run_due() -> int:
    """Works whatever of the outbox is due; gives how many messages."""
    lanes: list[Callable[[], Outgoing | WatchedFolder | None]] = [*[send.claim_due] * settings.SEND_THREADS, track.claim_due]
    return Pool[Outgoing | WatchedFolder](
        queue=QUEUE,
        lanes=[*lanes, *[folder.claim_due] * FOLDER_THREADS],
        work=work,
        seconds=settings.SHARD_SECONDS,
        long_seconds=settings.TURN_SECONDS,
    ).run()


def work(row: Outgoing | WatchedFolder) -> None:
    """Sends, or looks, as the state of the message says; or takes what stands in a folder."""
    with context.request():
        if isinstance(row, WatchedFolder):
            folder.work(row)
        else:
            (track if _state(row) in TO_TRACK else send).work(row)


def _state(outgoing: Outgoing) -> str:
    return Message.objects.values_list("state", flat=True).get(pk=outgoing.message_id)
