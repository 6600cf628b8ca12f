"""The sender's pool: threads for messages that wait to be sent, and one for looks at those that were."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

from meshportal.audit import context
from meshportal.core.pool import Pool
from messages import send, track
from messages.models import Message, Outgoing
from messages.states import TO_TRACK

QUEUE = "send"


def run_due() -> int:
    """Works whatever of the outbox is due; gives how many messages."""
    lanes: list[Callable[[], Outgoing | None]] = [send.claim_due] * settings.SEND_THREADS
    return Pool(
        queue=QUEUE,
        lanes=[*lanes, track.claim_due],
        work=work,
        seconds=settings.SHARD_SECONDS,
        long_seconds=settings.TURN_SECONDS,
    ).run()


def work(outgoing: Outgoing) -> None:
    """Sends, or looks, as the state of the message says."""
    with context.request():
        (track if _state(outgoing) in TO_TRACK else send).work(outgoing)


def _state(outgoing: Outgoing) -> str:
    return Message.objects.values_list("state", flat=True).get(pk=outgoing.message_id)
