"""What became of a message: one sentence, what it means for the letter in it, what to do, and who can help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from mailboxes.models import Mode
from meshportal.web import time
from messages import sent_verdicts
from messages.models import Message, MessageEvent
from messages.states import State
from messages.words import DESK, TONES, Said, moment, plain


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


def _listed(message: Message, _since: MessageEvent | None) -> Said:
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


def _stored(message: Message, _since: MessageEvent | None) -> Said:
    when = f" on {moment(message.stored_at)}" if message.stored_at else ""
    return (
        f"Stored{when}, not yet acknowledged. MESH still lists it until the portal’s next turn.",
        [],
    )


def _acknowledged(message: Message, _since: MessageEvent | None) -> Said:
    when = f" on {moment(message.acknowledged_at)}" if message.acknowledged_at else ""
    return f"Stored and acknowledged{when}. MESH has removed it from the inbox.", []


def _quarantined(message: Message, since: MessageEvent | None) -> Said:
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


def _discarding(_message: Message, since: MessageEvent | None) -> Said:
    who = f"{since.actor_label} decided on {moment(since.at)}" if since else "A person decided"
    return f"{who} to acknowledge this message without keeping it. MESH is told at the mailbox’s next turn.", []


def _discarded(message: Message, _since: MessageEvent | None) -> Said:
    when = f" on {moment(message.acknowledged_at)}" if message.acknowledged_at else ""
    return (
        f"Acknowledged without keeping{when}. MESH has removed it, and the portal never held its body.",
        [("What to do", "If the letter or result in it is still needed, ask the sender to send it again.")],
    )


def _gone(message: Message, since: MessageEvent | None) -> Said:
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


def _watched(message: Message, _since: MessageEvent | None) -> Said:
    waited = time.age_words(message.arrived_at)
    late = timezone.now() - message.arrived_at > timedelta(days=1)
    return (
        f"Waiting in the inbox for {waited}. The portal only watches this mailbox: its own client is expected to collect it.",
        [
            ("What happened", message.problem),
            ("What to do", "Ask whoever runs the mailbox’s client why it has not collected this message." if late else ""),
        ],
    )


def _left(message: Message, since: MessageEvent | None) -> Said:
    at = since.at if since else None
    when = f" by {moment(at)}" if at else ""
    if at is not None and message.sent_at is not None and at < message.leaves_inbox_at:
        return f"Left the inbox{when}, before its five days were over: some client collected it.", []
    return (
        f"Left the inbox{when}: some client collected it, or MESH withdrew it after five days.",
        [("What to do", f"If its client does not have it, ask {DESK} to restore it: quote the message ID.")],
    )


_VERDICTS: dict[str, Callable[[Message, MessageEvent | None], Said]] = {
    State.LISTED: _listed,
    State.STORED: _stored,
    State.ACKNOWLEDGED: _acknowledged,
    State.QUARANTINED: _quarantined,
    State.DISCARDING: _discarding,
    State.DISCARDED: _discarded,
    State.GONE: _gone,
    State.WATCHED: _watched,
    State.LEFT: _left,
    **sent_verdicts.VERDICTS,
}
