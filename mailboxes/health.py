"""How a mailbox is doing, in the words and tones that pages show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from certificates.life import CertificateLife, certificate_life
from mailboxes.models import Mailbox, Mode
from meshportal.web.time import span_words

PROBLEM, LATE, NEW, OK, PAUSED = "problem", "late", "new", "ok", "paused"
NEEDS_A_PERSON = (PROBLEM, LATE)


@dataclass(frozen=True)
class Word:
    """A state as it is shown: the word, the tone of its tag, and what it means."""

    word: str
    tone: str
    meaning: str


# In the order of how much each needs a person, which is the order of the list.
STATES: dict[str, Word] = {
    PROBLEM: Word(
        "Problem",
        "bad",
        "The last poll failed. The reason and what to do stand on the mailbox's page. The portal goes on trying, less "
        "often each time.",
    ),
    LATE: Word(
        "Late",
        "warn",
        "No poll has succeeded for three of this mailbox's intervals, and no reason is known: perhaps no worker is running.",
    ),
    NEW: Word("New", "info", "The mailbox was added and waits for its first poll."),
    OK: Word("OK", "good", "The last poll succeeded, and it was on time. It says nothing about what other clients do."),
    PAUSED: Word(
        "Paused", "quiet", "The portal does not call MESH for this mailbox. Its messages still age and leave the inbox."
    ),
}

MODE_MEANINGS: dict[str, str] = {
    Mode.COLLECT: (
        "The portal downloads each message, keeps it, and only then acknowledges it to MESH, which removes it from the inbox."
    ),
    Mode.WATCH: (
        "The portal only looks: it lists the inbox and reads headers. Nothing is downloaded or acknowledged, so this "
        "mailbox's own client goes on collecting as before."
    ),
    Mode.PAUSED: (
        "The portal does not call MESH for this mailbox. Messages that nobody else collects leave the inbox after 5 days "
        "and are deleted after 30."
    ),
}

_STOPS = (
    "The portal stops taking messages, and another client has to. What nobody collects leaves the inbox after 5 days and is "
    "deleted after 30. What the portal has already stays here."
)
# What a change of mode does, by the mode before and after.
MODE_MOVES: dict[tuple[str, str], str] = {
    (Mode.WATCH, Mode.COLLECT): (
        "From the next poll on the portal takes each message and acknowledges it, so the mailbox's present client no longer "
        "gets it. Stop that client first."
    ),
    (Mode.COLLECT, Mode.WATCH): _STOPS,
    (Mode.COLLECT, Mode.PAUSED): (
        "The portal no longer calls MESH for this mailbox: nothing is collected and nothing sent. What nobody collects leaves "
        "the inbox after 5 days and is deleted after 30. What waits to be sent waits here."
    ),
    (Mode.WATCH, Mode.PAUSED): (
        "The portal no longer looks at this mailbox and sends nothing for it. Its own client goes on, and nobody is warned "
        "here when it stops."
    ),
    (Mode.PAUSED, Mode.COLLECT): (
        "The portal signs in, takes everything that waits and acknowledges it. Make sure that no other client collects it."
    ),
    (Mode.PAUSED, Mode.WATCH): "The portal looks again, and takes nothing. What waits to be sent goes out.",
}


def mode_hints(present: str = "") -> dict[str, str]:
    """What each mode means; beside another than the ``present`` one, what moving to it does."""
    return {mode: MODE_MOVES.get((present, mode), MODE_MEANINGS[mode]) for mode in Mode.values}


def meanings() -> list[tuple[str, str, str]]:
    """Every state for the disclosure "What does this mean?"."""
    return [(state.word, state.tone, state.meaning) for state in STATES.values()]


@dataclass(frozen=True)
class Standing:
    """A mailbox with what its row and its page say about it at one moment."""

    mailbox: Mailbox
    now: datetime

    @cached_property
    def state(self) -> str:
        return self.mailbox.health

    @property
    def shown(self) -> Word:
        return STATES[self.state]

    @cached_property
    def certificate(self) -> CertificateLife:
        return certificate_life(self.mailbox.identity, self.now)

    @property
    def mode_meaning(self) -> str:
        return MODE_MEANINGS[self.mailbox.mode]

    @property
    def quiet_since(self) -> datetime:
        """When a listing last succeeded; for a mailbox that never was listed, when it was added."""
        return self.mailbox.last_polled_at or self.mailbox.created_at

    @property
    def being_polled(self) -> bool:
        return self.mailbox.lease_until is not None and self.mailbox.lease_until > self.now

    @property
    def due(self) -> bool:
        """True when the next poll waits only for a free worker."""
        return self.mailbox.next_poll_at <= self.now

    @property
    def handshake_late(self) -> bool:
        """True when sign-ins are older than MESH asks for, with an hour's grace. A paused mailbox owes none."""
        last = self.mailbox.last_handshake_at
        if self.state in (PAUSED, NEW):
            return False
        return last is None or self.now - last > Mailbox.HANDSHAKE_EVERY + timedelta(hours=1)

    @property
    def clock_warning(self) -> str:
        """A sentence when this server's clock and MESH's differ by more than a little, else ''."""
        seconds = self.mailbox.clock_skew_seconds
        if seconds is None or abs(seconds) <= Mailbox.SKEW_WARNING.total_seconds():
            return ""
        return clock_sentence(seconds)


def clock_sentence(seconds: int) -> str:
    """How far this server's clock is off; ``seconds`` is our clock minus MESH's."""
    way = "ahead of" if seconds > 0 else "behind"
    return f"This server's clock is {span_words(timedelta(seconds=seconds))} {way} the clock of MESH."


def standings(mailboxes: Any, now: datetime) -> list[Standing]:
    """Each of ``mailboxes`` with its standing."""
    return [Standing(mailbox, now) for mailbox in mailboxes]
