"""What a message's pages say: its clocks, its row in a list, its headers. The verdict is in :mod:`messages.verdicts`.

Pure functions of rows that are loaded already. No sentence says "delivered" (promise P6): what MESH knows is that some
client collected a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from meshportal.web import time
from meshportal.web.masking import mask_numbers, mask_subject
from messages import ages, refusals
from messages.models import Message, MessageType
from messages.states import IN_INBOX, OUT, Direction, State
from messages.visible import visible

DESK = refusals.DESK
# A sentence, and facts (label, sentence); an empty one is left out.
Said = tuple[str, list[tuple[str, str]]]
TONES: dict[str, str] = {
    State.LISTED: "busy",
    State.STORED: "busy",
    State.ACKNOWLEDGED: "good",
    State.QUARANTINED: "bad",
    State.DISCARDING: "warn",
    State.DISCARDED: "quiet",
    State.GONE: "bad",
    State.WATCHED: "info",
    State.LEFT: "quiet",
    State.QUEUED: "busy",
    State.ON_HOLD: "warn",
    State.SENDING: "busy",
    State.UPLOADING: "busy",
    State.ACCEPTED: "info",
    State.COLLECTED: "good",
    State.RETURNED: "bad",
    State.EXPIRED: "bad",
    State.REFUSED: "bad",
    State.UNCERTAIN: "warn",
    State.CANCELLED: "quiet",
    State.CONFIRMED: "good",
}
# In these the message lies in an inbox: one of ours, or the recipient's.
_COLLECTABLE = (*IN_INBOX, State.ACCEPTED)
_RECOVERABLE = (State.GONE, State.LEFT, State.EXPIRED)
# In these the problem that the row holds is what stands in the way now.
_TROUBLED = (
    State.QUARANTINED,
    State.LISTED,
    State.WATCHED,
    State.QUEUED,
    State.UPLOADING,
    State.REFUSED,
    State.UNCERTAIN,
)


def plain(text: str) -> str:
    """Text from another organisation for a page: NHS numbers hidden, and nothing in it that hides or reorders what follows."""
    return mask_numbers(visible(text))


def moment(at: datetime) -> str:
    """``3 March 2026 at 10:41 GMT``, for sentences."""
    local = time.in_london(at)
    return f"{local.day} {local:%B %Y at %H:%M} {local.tzname()}"


# --- Clocks -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Clock:
    """A period that ends by itself. ``label`` fits both ``in 2 days`` and ``3 hours ago``."""

    label: str
    start: datetime
    end: datetime
    soon_days: int

    @property
    def away(self) -> str:
        """``in 2 days 4 hours``, or ``3 hours ago``."""
        words = time.age_words(self.end)
        return f"{words} ago" if self.over else f"in {words}"

    @property
    def over(self) -> bool:
        return self.end <= timezone.now()

    @property
    def tone(self) -> str:
        """bad when the period is over, warn when it ends soon, else quiet."""
        if self.over:
            return "bad"
        return "warn" if self.end - timezone.now() <= timedelta(days=self.soon_days) else "quiet"


def inbox_clock(message: Message) -> Clock | None:
    """The five days in the inbox (MESH API specification, Message expiration); None when it is not there any more."""
    if message.state not in _COLLECTABLE:
        return None
    end = message.leaves_inbox_at
    inbox = "the recipient’s inbox" if message.state in OUT else "the inbox"
    label = f"Leaves {inbox}" if end > timezone.now() else f"Was due to leave {inbox}"
    return Clock(label, message.arrived_at, end, soon_days=1)


def deletion_clock(message: Message) -> Clock | None:
    """The thirty days until MESH deletes a message that nobody acknowledged, as far as the portal knows."""
    end = message.deleted_at
    over = end <= timezone.now()
    if message.state in _COLLECTABLE:
        return Clock("Was due to be deleted by MESH" if over else "Deleted by MESH", message.arrived_at, end, soon_days=5)
    if recoverable(message):
        return Clock("MESH deleted it" if over else "Can be restored; MESH deletes it", message.arrived_at, end, soon_days=5)
    return None


def recoverable(message: Message) -> bool:
    """Whether the service desk can put the message back into the inbox until MESH deletes it."""
    if message.state == State.RETURNED:
        return refusals.restorable(report_code(message), message.status_description)
    return message.state in _RECOVERABLE


def report_code(message: Message) -> str:
    """The code that MESH gave, as its tables write it."""
    return message.status_code.strip().upper()


def returned_because(message: Message) -> tuple[str, str]:
    """Why MESH returned a message, and what to do; both are plain text."""
    said = refusals.said_of(report_code(message), message.status_description)
    given = ", ".join(
        part
        for part in (
            f"code {plain(message.status_code.strip())}" if message.status_code.strip() else "",
            plain(message.status_description).strip().rstrip("."),
        )
        if part
    )
    advice = "Find out why, and whether the document must be sent again."
    if said is None:
        return (f"MESH says: {given}." if given else "MESH does not say why."), advice
    return f"{said[0]} (MESH says: {given}.)" if given else said[0], said[1]


def clocks(message: Message) -> list[Clock]:
    """The clocks that still matter for ``message``, the nearest first."""
    return [clock for clock in (inbox_clock(message), deletion_clock(message)) if clock is not None]


# --- Rows of a list -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Line:
    """A message as a row of a list: harmless texts, its tag and its nearest clock."""

    message: Message
    tone: str
    mesh_id: str
    report_code: str
    sender: str
    recipient: str
    workflow: str
    file_name: str
    local_id: str
    problem: str
    clock: Clock | None
    day: int | None

    @property
    def sent(self) -> bool:
        """Whether it is a message from one of our mailboxes, not to one."""
        return self.message.direction == Direction.OUT

    @property
    def name(self) -> str:
        """What the message is called: its ID, and as long as MESH has given none, the local ID."""
        return self.mesh_id or self.local_id or "without an ID"

    @property
    def given_local_id(self) -> str:
        """The local ID, unless it is the message's name already, or one that the portal made and nobody knows it by."""
        made = self.sent and self.message.outgoing.own_local_id
        return "" if made or not self.mesh_id else self.local_id

    @property
    def no_sender(self) -> str:
        """What stands where a message names no sender: reports come from MESH itself."""
        if self.message.message_type == MessageType.REPORT:
            return "MESH"
        return "Not known yet" if self.message.size is None else "Not given"

    @property
    def own_file_name(self) -> str:
        """The file name, unless it is the one that MESH gives where the sender gave none."""
        return "" if self.file_name == f"{self.mesh_id}.dat" else self.file_name

    @classmethod
    def of(cls, message: Message) -> Line:
        problem = returned_because(message)[0] if message.state == State.RETURNED else message.problem
        return cls(
            message=message,
            tone=TONES[message.state],
            mesh_id=plain(message.mesh_id),
            report_code=plain(message.status_code),
            sender=plain(message.sender),
            recipient=plain(message.recipient_mailbox),
            workflow=plain(message.workflow_id),
            file_name=plain(message.file_name),
            local_id=plain(message.local_id),
            problem=plain(problem) if message.state in (*_TROUBLED, State.RETURNED) else "",
            # What left the inbox of a watched mailbox was, as a rule, collected: no countdown.
            day=ages.day_of(message),
            clock=None if message.state == State.LEFT else next(iter(clocks(message)), None),
        )


# --- Headers ------------------------------------------------------------------------------------------------------------
_ADDRESSES = frozenset({"mex-to", "mex-tosmtp", "mex-from", "mex-fromsmtp"})


def masked_header(name: str, value: str) -> str:
    """The value of a MESH header as everybody may see it: subjects hidden, and addresses that are no plain mailbox ID
    (automatic routing puts an NHS number, a birth date and a surname there)."""
    if name == "mex-subject" or (name in _ADDRESSES and not (value.isascii() and value.isalnum())):
        return mask_subject(value)
    return plain(value)


def for_service_desk(message: Message) -> str:
    """What the service desk asks for, to be pasted: identifiers and times alone."""
    outgoing = getattr(message, "outgoing", None)
    parts = [
        ("MESH message ID", plain(message.mesh_id)),
        # One that the portal made names nobody; another system may have put anything there.
        ("Local ID", message.local_id if outgoing is not None and outgoing.own_local_id else ""),
        ("Mailbox", message.mailbox.mailbox_id),
        ("Environment", message.get_environment_display()),
        ("From", plain(message.sender)),
        ("To", plain(message.recipient_mailbox) if outgoing is not None else ""),
        ("Workflow ID", plain(message.workflow_id)),
        ("Accepted by MESH", time.london(message.sent_at, seconds=True) if message.sent_at else ""),
        ("State in meshportal", message.get_state_display()),
        ("Problem", plain(message.problem)),
    ]
    return "\n".join(f"{label}: {text}" for label, text in parts if text)


def restore_request(message: Message) -> str:
    """What to write to the service desk so that it puts a message back into the recipient's inbox; '' when MESH deleted it."""
    if message.deleted_at <= timezone.now():
        return ""
    return (
        "Please put this message back into the inbox of the recipient's mailbox. It was not collected within 5 days; MESH "
        f"keeps it until {moment(message.deleted_at)}.\n\n{for_service_desk(message)}"
    )
