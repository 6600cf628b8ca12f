"""What is wrong with messages, counted by mailbox: for the overview of a team, and for the rules that look at every team."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce

from messages.models import AckAnswer, Message, MessageType
from messages.states import IN_INBOX, Direction, State

# Letters that came back stand on the overview for a week: by then somebody has dealt with them, or never will.
CAME_BACK = timedelta(days=7)
REPORTS_FOR = timedelta(days=7)
# What a sent message can come to that a person must know of.
SENT = (State.UNCERTAIN, State.RETURNED, State.EXPIRED, State.REFUSED)

Rows = QuerySet[Message, dict[str, Any]]
_BOX = ("mailbox_id", "mailbox__name", "mailbox__mailbox_id")


def quarantined(messages: QuerySet[Message]) -> Rows:
    """``number`` of those that could not be stored, and when the ``oldest`` came and the ``newest`` was seen."""
    # By mailbox first: that is how the index of states begins.
    rows = messages.filter(state=State.QUARANTINED).order_by().values(*_BOX)
    found: Rows = rows.annotate(number=Count("pk"), oldest=Min(Coalesce("sent_at", "seen_at")), newest=Max("seen_at"))
    return found


def sent(messages: QuerySet[Message], now: datetime) -> Rows:
    """By ``state`` of :data:`SENT`: ``number``, when the first was ``queued`` and ``moved`` there, and the ``newest``."""
    # A message that came back lately was queued within MESH's thirty days and these: the end of the index's range.
    lately = Q(seen_at__gt=now - Message.LIFE - CAME_BACK, updated_at__gt=now - CAME_BACK)
    rows = messages.filter(state__in=[str(state) for state in SENT]).filter(lately | Q(state=State.UNCERTAIN))
    rows = rows.order_by().values(*_BOX, "state")
    found: Rows = rows.annotate(number=Count("pk"), queued=Min("seen_at"), moved=Min("updated_at"), newest=Max("updated_at"))
    return found


def unexplained_reports(messages: QuerySet[Message], now: datetime) -> QuerySet[Message]:
    """The non-delivery reports that no returned message stands for."""
    rows = messages.filter(direction=Direction.IN, message_type=MessageType.REPORT, seen_at__gt=now - REPORTS_FOR)
    # A report that found the message it is about is told by that message, which came back.
    return rows.exclude(linked_message__direction=Direction.OUT, linked_message__state=State.RETURNED)


def reports(messages: QuerySet[Message], now: datetime) -> Rows:
    """``number`` of non-delivery reports, and when the ``oldest`` and the ``newest`` came."""
    rows = unexplained_reports(messages, now).order_by().values(*_BOX)
    found: Rows = rows.annotate(number=Count("pk"), oldest=Min("seen_at"), newest=Max("seen_at"))
    return found


def waiting(messages: QuerySet[Message], now: datetime) -> Rows:
    """When the ``oldest`` message came that still stands in the inbox, as far as MESH still keeps it."""
    rows = messages.filter(state__in=[str(state) for state in IN_INBOX], seen_at__gt=now - Message.LIFE)
    found: Rows = rows.order_by().values(*_BOX).annotate(oldest=Min(Coalesce("sent_at", "seen_at")))
    return found


def rejected(messages: QuerySet[Message], now: datetime) -> QuerySet[Message]:
    """The acknowledgements in which a recipient's system rejects a message."""
    return messages.filter(ack__answer=AckAnswer.NEGATIVE, ack__created_at__gt=now - REPORTS_FOR)
