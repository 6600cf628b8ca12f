"""What a message's pages say: one sentence for where it stands, what that means, and who can help.

Pure functions of rows that are loaded already. No sentence says "delivered" (promise P6): what MESH knows is that some
client collected a message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from mailboxes.models import Mode
from meshportal.web import time
from meshportal.web.masking import mask_numbers, mask_subject
from messages.models import Message, MessageEvent, MessageType
from messages.states import IN_INBOX, State
from messages.visible import visible

DESK = "the National Service Desk on 0300 303 5035"
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
_RECOVERABLE = (State.GONE, State.LEFT)


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
    if message.state not in IN_INBOX:
        return None
    end = message.leaves_inbox_at
    label = "Leaves the inbox" if end > timezone.now() else "Was due to leave the inbox"
    return Clock(label, message.arrived_at, end, soon_days=1)


def deletion_clock(message: Message) -> Clock | None:
    """The thirty days until MESH deletes a message that nobody acknowledged, as far as the portal knows."""
    end = message.deleted_at
    over = end <= timezone.now()
    if message.state in IN_INBOX:
        return Clock("Was due to be deleted by MESH" if over else "Deleted by MESH", message.arrived_at, end, soon_days=5)
    if message.state in _RECOVERABLE:
        return Clock("MESH deleted it" if over else "Can be restored; MESH deletes it", message.arrived_at, end, soon_days=5)
    return None


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
    workflow: str
    file_name: str
    local_id: str
    problem: str
    clock: Clock | None

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
        troubled = message.state in (State.QUARANTINED, State.LISTED, State.WATCHED)
        return cls(
            message=message,
            tone=TONES[message.state],
            mesh_id=plain(message.mesh_id),
            report_code=plain(message.status_code),
            sender=plain(message.sender),
            workflow=plain(message.workflow_id),
            file_name=plain(message.file_name),
            local_id=plain(message.local_id),
            problem=plain(message.problem) if troubled else "",
            # What left the inbox of a watched mailbox was, as a rule, collected: no countdown.
            clock=None if message.state == State.LEFT else next(iter(clocks(message)), None),
        )


# --- The verdict --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Verdict:
    """``sentence`` says what became of the message; ``facts`` (label, sentence) what follows from it."""

    tone: str
    sentence: str
    facts: tuple[tuple[str, str], ...] = ()


def verdict(message: Message, events: list[MessageEvent]) -> Verdict:
    """What became of ``message``. ``events`` are its steps, newest first: they say when and by whom."""
    since = next((event for event in events if event.to_state == message.state), None)
    sentence, facts = _VERDICTS[message.state](message, since)
    return Verdict(TONES[message.state], sentence, tuple((label, plain(said)) for label, said in facts if said))


_Said = tuple[str, list[tuple[str, str]]]


def _listed(message: Message, _since: MessageEvent | None) -> _Said:
    if message.mailbox.mode == Mode.PAUSED:
        return (
            "Waiting in the MESH inbox, and nothing will collect it: the mailbox is paused.",
            [
                (
                    "What to do",
                    f"Ask a manager of your team to take the mailbox up again before {moment(message.leaves_inbox_at)}.",
                )
            ],
        )
    if not message.problem:
        return "Waiting in the MESH inbox. The portal downloads it at the mailbox’s next turn.", []
    again = f" The portal tries again at {moment(message.next_attempt_at)}." if message.next_attempt_at else ""
    tries = "1 try has" if message.attempts == 1 else f"{message.attempts} tries have"
    return (
        f"Waiting in the MESH inbox. {tries} failed.{again}",
        [("What happened", message.problem), ("What to do", message.problem_advice)],
    )


def _stored(message: Message, _since: MessageEvent | None) -> _Said:
    when = f" on {moment(message.stored_at)}" if message.stored_at else ""
    return (
        f"Stored{when}, not yet acknowledged. MESH still lists it until the portal’s next turn.",
        [],
    )


def _acknowledged(message: Message, _since: MessageEvent | None) -> _Said:
    when = f" on {moment(message.acknowledged_at)}" if message.acknowledged_at else ""
    return f"Stored and acknowledged{when}. MESH has removed it from the inbox.", []


def _quarantined(message: Message, since: MessageEvent | None) -> _Said:
    when = f" on {moment(since.at)}" if since else ""
    tries = "one try" if message.attempts == 1 else f"{message.attempts} tries"
    left = message.leaves_inbox_at > timezone.now()
    until = (
        f"It stays in the inbox until {moment(message.leaves_inbox_at)}; then MESH tells the sender that it was not collected."
        if left
        else f"Its five days in the inbox ended on {moment(message.leaves_inbox_at)}, so MESH may have told the sender already."
    )
    return (
        f"Not stored: the portal gave up{when}, after {tries}.",
        [
            ("What happened", message.problem or "The portal could not store this message."),
            ("What it means", f"The letter or result in it has not reached anybody through this portal. {until}"),
            ("What to do", f"{_without_waiting(message.problem_advice)} When the cause is mended, try again.".strip()),
            (
                "Who can help",
                f"The sender, {plain(message.sender) or 'whose mailbox is not known yet'}; or {DESK}: quote the message ID.",
            ),
        ],
    )


def _without_waiting(advice: str) -> str:
    """``advice`` for a message that the portal has given up: nothing tries again by itself any more."""
    for promise in ("The portal tries again by itself.", "The portal tries again."):
        advice = advice.replace(promise, "").strip()
    return advice.replace("If it stays so, ask", "Ask").replace("If it stays so, ring", "Ring")


def _discarding(_message: Message, since: MessageEvent | None) -> _Said:
    who = f"{since.actor_label} decided on {moment(since.at)}" if since else "A person decided"
    return f"{who} to acknowledge this message without keeping it. MESH is told at the mailbox’s next turn.", []


def _discarded(message: Message, _since: MessageEvent | None) -> _Said:
    when = f" on {moment(message.acknowledged_at)}" if message.acknowledged_at else ""
    return (
        f"Acknowledged without keeping{when}. MESH has removed it, and the portal never held its body.",
        [("What to do", "If the letter or result in it is still needed, ask the sender to send it again.")],
    )


def _gone(message: Message, since: MessageEvent | None) -> _Said:
    when = f" On {moment(since.at)} MESH" if since else " MESH"
    restorable = message.deleted_at > timezone.now()
    return (
        f"Gone before it could be stored.{when} no longer offered it.",
        [
            ("What happened", message.problem),
            ("What it means", "The letter or result in it has not reached anybody through this portal."),
            (
                "What to do",
                message.problem_advice if restorable else "MESH has deleted it by now. Ask the sender to send it again.",
            ),
        ],
    )


def _watched(message: Message, _since: MessageEvent | None) -> _Said:
    waited = time.age_words(message.arrived_at)
    late = timezone.now() - message.arrived_at > timedelta(days=1)
    return (
        f"Waiting in the inbox for {waited}. The portal only watches this mailbox: its own client is expected to collect it.",
        [
            ("What happened", message.problem),
            ("What to do", "Ask whoever runs the mailbox’s client why it has not collected this message." if late else ""),
        ],
    )


def _left(message: Message, since: MessageEvent | None) -> _Said:
    at = since.at if since else None
    when = f" by {moment(at)}" if at else ""
    if at is not None and message.sent_at is not None and at < message.leaves_inbox_at:
        return f"Left the inbox{when}, before its five days were over: some client collected it.", []
    return (
        f"Left the inbox{when}: some client collected it, or MESH withdrew it after five days.",
        [("What to do", f"If its client does not have it, ask {DESK} to restore it: quote the message ID.")],
    )


_VERDICTS: dict[str, Callable[[Message, MessageEvent | None], _Said]] = {
    State.LISTED: _listed,
    State.STORED: _stored,
    State.ACKNOWLEDGED: _acknowledged,
    State.QUARANTINED: _quarantined,
    State.DISCARDING: _discarding,
    State.DISCARDED: _discarded,
    State.GONE: _gone,
    State.WATCHED: _watched,
    State.LEFT: _left,
}


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
    parts = [
        ("MESH message ID", plain(message.mesh_id)),
        ("Mailbox", message.mailbox.mailbox_id),
        ("Environment", message.get_environment_display()),
        ("From", plain(message.sender)),
        ("Workflow ID", plain(message.workflow_id)),
        ("Accepted by MESH", time.london(message.sent_at, seconds=True) if message.sent_at else ""),
        ("State in meshportal", message.get_state_display()),
        ("Problem", message.problem),
    ]
    return "\n".join(f"{label}: {text}" for label, text in parts if text)
