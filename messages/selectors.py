"""Reads about messages. Lists leave the sealed columns in the database: what is not read cannot be shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone

from mailboxes.models import Mailbox, Mode
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.core.crypto import CannotUnseal
from messages.models import (
    Ack,
    BulkResend,
    BulkResendRow,
    BulkRowState,
    Composed,
    FolderPickup,
    Message,
    MessageEvent,
    SendAttempt,
)
from messages.states import Direction

SEALED = ("subject", "recipient_sealed", "headers")
MAX_EVENTS = 200
MAX_REPORTS = 20
MAX_GESTURES = 5


@dataclass(frozen=True)
class Sealed:
    """What is sealed of one message. ``problem`` says why it cannot be opened; then the rest is empty."""

    subject: str = ""
    recipient: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def never_queued(team: Team, *, since: datetime) -> Any:
    """For each mailbox of the team that has some: how many documents of its folder became no message, and when the first
    did not."""
    rows = FolderPickup.objects.filter(
        mailbox__in=in_team(Mailbox, team), sent=False, message__isnull=True, ended_at__gt=since
    ).order_by()
    named = rows.values("mailbox_id", "mailbox__name", "mailbox__mailbox_id")
    return named.annotate(number=Count("pk"), first=Min("ended_at"))


def listed(team: Team, direction: Direction = Direction.IN) -> QuerySet[Message]:
    """Every message that came into the team's mailboxes, or went out of them, for lists."""
    return (
        in_team(Message, team)
        .filter(direction=direction)
        .select_related("mailbox", *(["outgoing"] if direction == Direction.OUT else []))
        .defer(*SEALED, "search", "problem_advice", "mailbox__password")
    )


def counted(team: Team, mailbox: Mailbox | None = None) -> QuerySet[Message]:
    """Every message of the team, or of one of its mailboxes, in both directions and bare: for counting alone."""
    rows = in_team(Message, team)
    return rows if mailbox is None else rows.filter(mailbox=mailbox)


def mailboxes(team: Team) -> QuerySet[Mailbox]:
    """The team's mailboxes, without what is sealed."""
    return in_team(Mailbox, team).select_related("organisation").defer("password")


def may_send(team: Team) -> QuerySet[Mailbox]:
    """The team's mailboxes that a message can be sent from, by name."""
    return mailboxes(team).exclude(mode=Mode.PAUSED).filter(closing_at__isnull=True).order_by("name", "mailbox_id")


def composed() -> QuerySet[Composed]:
    """Messages that are being composed, without what is sealed. The caller scopes them to a team."""
    return Composed.objects.select_related("mailbox__organisation").defer("mailbox__password", "subject")


def whole() -> QuerySet[Message]:
    """Messages with everything that a message's page shows, but what is sealed. The caller scopes them to a team."""
    linked = [f"linked_message__{name}" for name in SEALED]
    return Message.objects.select_related("team", "mailbox__organisation", "payload", "outgoing", "linked_message", "ack").defer(
        *SEALED, *linked, "search", "mailbox__password"
    )


def to_resend(team: Team, keys: list[Any]) -> QuerySet[Message]:
    """Sent messages of the team with what sending them again needs, newest first."""
    return _for_resend(in_team(Message, team).filter(pk__in=keys))


def sent_named(name: str, *, environment: str | None = None) -> QuerySet[Message]:
    """As :func:`to_resend` those with a message ID or local ID, of whatever team: for whoever runs the portal."""
    by_id = Message.objects.filter(mesh_id=name, direction=Direction.OUT)
    rows = by_id if by_id.exists() else Message.objects.filter(local_id=name)
    return _for_resend(rows if environment is None else rows.filter(environment=environment))


def _for_resend(rows: QuerySet[Message]) -> QuerySet[Message]:
    found = rows.filter(direction=Direction.OUT).select_related("mailbox__team", "outgoing", "payload")
    return found.defer("headers", "search", "mailbox__password").order_by("-seen_at", "-pk")


def sealed_of(message: Message) -> Sealed:
    """The sealed columns of ``message``. Columns that the portal's keys do not open are a sentence, not an exception."""
    try:
        subject, recipient, headers = Message.objects.values_list(*SEALED).get(pk=message.pk)
    except CannotUnseal:
        return Sealed(
            problem="The subject and the headers of this message cannot be opened with the portal’s keys. Ask whoever runs "
            "the portal to put the missing key back into MESHPORTAL_KEYS."
        )
    return Sealed(
        subject=subject or "", recipient=recipient or "", headers={name: str(said) for name, said in (headers or {}).items()}
    )


def events_of(message: Message) -> list[MessageEvent]:
    """The latest steps of ``message``, newest first; one more than :data:`MAX_EVENTS` when there are more."""
    return list(MessageEvent.objects.filter(message=message).order_by("-at", "-id")[: MAX_EVENTS + 1])


def attempts_of(message: Message) -> list[SendAttempt]:
    """The latest requests that were made for a sent message, newest first; one more than :data:`MAX_EVENTS` when there are
    more."""
    return list(SendAttempt.objects.filter(message=message).order_by("-id")[: MAX_EVENTS + 1])


def reports_about(message: Message) -> list[Message]:
    """The latest reports that MESH sent about ``message``."""
    rows = Message.objects.filter(team_id=message.team_id, linked_message=message).defer(*SEALED, "search")
    return list(rows.order_by("-seen_at")[:MAX_REPORTS])


def acks_of(message: Message) -> list[Ack]:
    """The latest acknowledgements of ``message`` by its recipient's system."""
    sealed = [f"message__{name}" for name in SEALED]
    rows = Ack.objects.filter(about=message, message__team_id=message.team_id).select_related("message").defer(*sealed)
    return list(rows.order_by("-message__seen_at")[:MAX_REPORTS])


def acknowledged_by(message: Message) -> Message | None:
    """The sent message that ``message``, an acknowledgement, was paired with."""
    return Message.objects.filter(team_id=message.team_id, acks__message=message).only("mesh_id", "local_id").first()


def workflows_received(mailbox: Mailbox, *, most: int = 5) -> list[str]:
    """The workflows that came to ``mailbox`` in the last 30 days, the latest first."""
    recent = Message.objects.filter(mailbox=mailbox, direction=Direction.IN, seen_at__gte=timezone.now() - timedelta(days=30))
    rows = recent.exclude(workflow_id="").order_by().values("workflow_id").annotate(last=Max("seen_at")).order_by("-last")
    return [row["workflow_id"] for row in rows[:most]]


# --- Bulk resends -------------------------------------------------------------------------------------------------------
def bulk_resends(team: Team) -> QuerySet[BulkResend]:
    """Every bulk resend of the team."""
    return in_team(BulkResend, team)


def bulk_rows(gesture: BulkResend) -> QuerySet[BulkResendRow]:
    """The rows of a bulk resend with their messages, old and new, without what is sealed."""
    unread = [f"{which}__{name}" for which in ("message", "new") for name in (*SEALED, "search", "problem_advice")]
    found = BulkResendRow.objects.filter(gesture=gesture)
    return found.select_related("message__mailbox", "message__outgoing", "new__outgoing").defer(
        *unread, "message__mailbox__password"
    )


def bulk_counts(gestures: Iterable[BulkResend]) -> dict[Any, dict[str, int]]:
    """How many rows of each gesture, by its key, are in each state."""
    counts = {gesture.pk: dict.fromkeys(BulkRowState.values, 0) for gesture in gestures}
    rows = BulkResendRow.objects.filter(gesture__in=list(counts)).order_by().values_list("gesture_id", "state")
    for key, state, number in rows.annotate(number=Count("pk")):
        counts[key][state] = number
    return counts


def bulk_rows_of(message: Message) -> list[BulkResendRow]:
    """The latest bulk resends that a message was part of, as what was sent again or as the new one."""
    rows = BulkResendRow.objects.filter(Q(message=message) | Q(new=message), gesture__team_id=message.team_id)
    return list(rows.select_related("gesture").order_by("-created_at", "-pk")[:MAX_GESTURES])
