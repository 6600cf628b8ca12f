"""What a mailbox's traffic says of its workflows, beside what is declared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone

from mailboxes import declared
from mailboxes.models import DeclaredWorkflow, Mailbox
from messages.models import Message
from messages.states import Direction

# Older traffic says little of what a mailbox is for now.
LOOKED_BACK = timedelta(days=90)
MOST = 200


@dataclass(frozen=True)
class Line:
    """One workflow of a mailbox: what is declared, and when it was last seen in each direction."""

    workflow_id: str
    may_send: bool
    may_receive: bool
    sent_at: datetime | None
    received_at: datetime | None

    @property
    def undeclared(self) -> bool:
        """True when it was seen in a direction that nobody declared."""
        return bool(self.sent_at and not self.may_send) or bool(self.received_at and not self.may_receive)

    @property
    def word(self) -> tuple[str, str]:
        if self.undeclared:
            return "Seen, not declared", "warn"
        if self.sent_at is None and self.received_at is None:
            return "Declared, not seen", "quiet"
        return "Declared and seen", "good"


def lines(mailbox: Mailbox, rows: list[DeclaredWorkflow] | None = None) -> list[Line]:
    """Every workflow that is declared or was seen in 90 days, those that nobody declared first."""
    found = {row.workflow_id: row for row in (declared.of(mailbox) if rows is None else rows)}
    recent = Message.objects.filter(mailbox=mailbox, seen_at__gte=timezone.now() - LOOKED_BACK).exclude(workflow_id="")
    seen: dict[tuple[str, str], datetime] = {}
    grouped = recent.order_by().values("workflow_id", "direction").annotate(last=Max("seen_at")).order_by("-last")
    for row in grouped[:MOST]:
        seen[row["workflow_id"], row["direction"]] = row["last"]
    every = {*found, *(workflow_id for workflow_id, _ in seen)}
    made = [
        Line(
            one,
            one in found and found[one].may_send,
            one in found and found[one].may_receive,
            seen.get((one, Direction.OUT)),
            seen.get((one, Direction.IN)),
        )
        for one in every
    ]
    return sorted(made, key=lambda line: (not line.undeclared, line.workflow_id))
