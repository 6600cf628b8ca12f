"""The steps of a message, the attempts to send it and the reports about it, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailboxes.models import Channel
from meshportal.web.templatetags.portal import filesize
from messages.models import AckKind, Message, MessageEvent, Outcome, SendAttempt
from messages.words import plain, report_code, returned_because

# What happened, and whether it is trouble.
_KINDS: dict[str, tuple[str, bool]] = {
    "seen": ("Seen in the inbox for the first time", False),
    "seen_again": ("In the inbox again", False),
    "stored": ("Downloaded and stored", False),
    "acknowledged": ("Acknowledged to MESH, which removed it from the inbox", False),
    "acknowledged_again": ("Still listed by MESH, so acknowledged once more", False),
    "acknowledge_failed": ("MESH did not take the acknowledgement; the portal tries again", True),
    "download_failed": ("The download failed; the portal tries again", True),
    "quarantined": ("Put aside after the last try: needs a person", True),
    "retried": ("Asked to try again", False),
    "discard_asked": ("Decided to acknowledge it without keeping", False),
    "discarded": ("Acknowledged to MESH without keeping", False),
    "gone": ("MESH no longer offered it", True),
    "left": ("No longer in the inbox", False),
    "report_received": ("A report about this message came in", True),
    "ack_received": ("The recipient’s system acknowledged it", False),
    "ack_rejected": ("The recipient’s system rejected it: a person must look", True),
    "resent": ("Sent again as a new message", False),
    "queued": ("Put into the outbox", False),
    "sending": ("The first request to MESH was begun", False),
    "accepted": ("Accepted by MESH, which gave it its message ID", False),
    "accepted_again": ("An answer of MESH came late: it may have accepted the message twice", True),
    "not_found": ("MESH knows of no message with this local ID; the portal asks again later", False),
    "all_sent": ("The last part was accepted by MESH", False),
    "uncertain": ("No answer came from MESH: nobody knows whether it was accepted", True),
    "not_sent": ("Nothing of it was taken by MESH; the portal tries again", True),
    "never_arrived": ("MESH knows of no such message, so it is sent again", False),
    "refused": ("Refused: it will not be sent", True),
    "collected": ("Found to be collected by a client of the recipient’s mailbox", False),
    "returned": ("Found to be returned by MESH", True),
    "expired": ("Not collected within 5 days: it left the recipient’s inbox", True),
    "put_back": ("Back in the recipient’s inbox", False),
    "held": ("Held: the recipient’s practice is changing its address", False),
    "released": ("Released by two people, to the address that they agreed on", False),
    "cancelled": ("Cancelled before anything of it was sent", False),
    "decided_arrived": ("Decided that it arrived", False),
    "decided_again": ("Decided to send it again", False),
    "handed_on": ("Handed on to the mailbox’s consumer", False),
    "hand_over_failed": ("Could not be handed on; the portal tries again", True),
    "hand_over_given_up": ("Could not be handed on: needs a person", True),
    "hand_over_again": ("Asked to be handed on again", False),
    "client_received": ("Put into its IN folder by the mailbox’s own MESH client", False),
    "client_sent": ("Sent by the mailbox’s own MESH client", False),
    "client_failed": ("The mailbox’s own MESH client could not send it", True),
    "body_read": ("Body opened", False),
    "body_downloaded": ("Body downloaded", False),
}


def _yes(value: Any) -> str:
    return "Yes" if value else "No"


def _text(value: Any) -> str:
    return plain(str(value))


def _channel(value: Any) -> str:
    return dict(Channel.choices).get(value, _text(value))


# The facts of a step that are worth showing: label and how the value reads.
_FACTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "problem": ("What happened", _text),
    "why": ("What happened", _text),
    "reason": ("Reason", _text),
    "channel": ("To", _channel),
    "attempt": ("Try", _text),
    "bytes": ("Size", filesize),
    "chunks": ("Chunks", _text),
    "sha256": ("SHA-256", _text),
    "status": ("Answer of MESH", _text),
    "ack_kind": ("Kind", lambda value: AckKind(value).label),
    "code": ("Code", _text),
    "description": ("MESH said", _text),
    "by": ("Local ID of the new message", _text),
    "looks": ("Times MESH was asked", _text),
    "message_id": ("Message ID", _text),
    "recipient": ("To mailbox", _text),
    "before": ("Instead of mailbox", _text),
    "asked_by": ("Asked for by", _text),
    "already": ("Was already done", _yes),
}


@dataclass(frozen=True)
class Step:
    """One step of the timeline: when, what, who, and the details that are folded away."""

    id: int
    at: datetime
    what: str
    who: str
    trouble: bool
    facts: tuple[tuple[str, str], ...]


def step(event: MessageEvent) -> Step:
    """``event`` in words. A kind that nobody has words for is shown by its name."""
    what, trouble = _KINDS.get(event.kind, (event.kind.replace("_", " ").capitalize(), False))
    facts = tuple(
        (label, read(event.detail[key]))
        for key, (label, read) in _FACTS.items()
        if key in event.detail and event.detail[key] not in (None, "")
    )
    return Step(event.pk, event.at, what, event.actor_label, trouble, facts)


# --- Attempts ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Try:
    """One request of a sent message, in words: ``Chunk 2 of 3``, when it began, how it ended."""

    id: int
    what: str
    at: datetime
    ended: str
    trouble: bool
    problem: str


# Refused for the moment (a wrong password, say) is no refusal for good, and yet it reached MESH.
_ENDED: dict[str, str] = {Outcome.FAILED: "Not accepted"}


def tries(message: Message, attempts: list[SendAttempt]) -> list[Try]:
    """``attempts`` in words, in their order."""
    total = message.outgoing.chunk_total
    return [
        Try(
            id=attempt.pk,
            what=f"Chunk {attempt.chunk} of {total}" if total > 1 else "The whole message",
            at=attempt.began_at,
            ended=_ENDED.get(attempt.outcome) or attempt.get_outcome_display() or "No answer yet",
            trouble=attempt.outcome not in ("", Outcome.ACCEPTED),
            problem=plain(attempt.problem),
        )
        for attempt in attempts
    ]


# --- Reports ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ReportWords:
    """What a report says (MESH API specification, Report messages), and what to do about it."""

    code: str
    sentence: str
    meaning: str
    advice: str


def report_words(report: Message) -> ReportWords:
    """The report in words. Its code says why; both codes 14 are told apart by their text."""
    code = plain(report_code(report))
    about = plain(report.linked_mesh_id) or "a message that it does not name"
    why, advice = returned_because(report)
    return ReportWords(
        code=code,
        sentence=f"This is a non-delivery report about message {about}. {why}",
        meaning="The letter or result in that message has not reached its recipient.",
        advice=advice,
    )
