"""The steps of a message and the reports about it, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshportal.web.templatetags.portal import filesize
from messages.models import Message, MessageEvent
from messages.words import DESK, plain

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
    "body_read": ("Body opened", False),
    "body_downloaded": ("Body downloaded", False),
}


def _yes(value: Any) -> str:
    return "Yes" if value else "No"


def _text(value: Any) -> str:
    return plain(str(value))


# The facts of a step that are worth showing: label and how the value reads.
_FACTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "problem": ("What happened", _text),
    "reason": ("Reason", _text),
    "attempt": ("Try", _text),
    "bytes": ("Size", filesize),
    "chunks": ("Chunks", _text),
    "sha256": ("SHA-256", _text),
    "status": ("Answer of MESH", _text),
    "code": ("Code", _text),
    "description": ("MESH said", _text),
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


# --- Reports ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ReportWords:
    """What a report says (MESH API specification, Report messages), and what to do about it."""

    code: str
    sentence: str
    meaning: str
    advice: str


_ADDRESS_MOVED = (
    "Find the recipient’s present address before sending again: the organisation may have closed or changed its clinical system."
)
_SENDER = "Correct the settings of the system that sent it, then send it again."
_PATIENT = "Check the patient’s NHS number, date of birth and surname in the system that sent it, then send it again."
_ADVICE: dict[str, str] = {
    **dict.fromkeys(("12", "17", "EPL-150", "EPL-151"), _ADDRESS_MOVED),
    **dict.fromkeys(("02", "06", "07", "08", "09", "11", "19"), _SENDER),
    **dict.fromkeys(("16", "18"), "Ask MESH to enable this workflow for the sending mailbox, then send it again."),
    **dict.fromkeys(("EPL-152", "EPL-153", "EPL-154"), _PATIENT),
}


def report_words(report: Message) -> ReportWords:
    """The report in words. Code 14 has two texts: not collected, and mailbox deactivated."""
    code = report.status_code.strip().upper()
    said = plain(report.status_description).strip().rstrip(".")
    about = plain(report.linked_mesh_id) or "a message that it does not name"
    details = ", ".join(part for part in (f"code {plain(code)}" if code else "", said) if part)
    advice = _ADVICE.get(code, "Find out from the sender’s system what was in the message, and whether it must be sent again.")
    if code == "14":
        advice = (
            _ADDRESS_MOVED
            if "deactivat" in said.lower()
            else f"Ask the recipient why it was not collected, then send it again; or have {DESK} restore it within 30 days."
        )
    return ReportWords(
        code=plain(code),
        sentence=f"This is a non-delivery report about message {about}{': ' if details else ''}{details}.",
        meaning="The letter or result in that message has not reached its recipient.",
        advice=advice,
    )
