"""What a step of the doctor found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a step went. ``warn``: the mailbox connects, but somebody should look."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    SKIPPED = "skipped"


WORDS = {State.GOOD: "Good", State.WARN: "Look at this", State.BAD: "Failed", State.SKIPPED: "Not done"}
TONES = {State.GOOD: "good", State.WARN: "warn", State.BAD: "bad", State.SKIPPED: "quiet"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One step. ``found`` and ``remedy`` are sentences, ``facts`` are labels with what was seen, ``seconds`` its duration.

    ``code`` names the cause for filters and tests. No field holds a secret, a subject or a body.
    """

    step: str
    name: str
    state: State
    found: str
    remedy: str = ""
    code: str = ""
    facts: Sequence[tuple[str, str]] = ()
    seconds: float | None = None

    @property
    def word(self) -> str:
        """The state as the page and the report say it."""
        return WORDS[self.state]

    @property
    def tone(self) -> str:
        """The tone of its tag."""
        return TONES[self.state]

    @property
    def took(self) -> str:
        """Its duration in words; '' where nothing was waited for."""
        if self.seconds is None:
            return ""
        if self.seconds >= 0.9995:
            return f"{self.seconds:.1f} seconds"
        thousandths = round(self.seconds * 1000)
        return f"{thousandths} milliseconds" if thousandths > 1 else "1 millisecond"


def verdict(results: Sequence[Result]) -> tuple[State, str]:
    """The worst state, and one sentence on the whole."""
    failed = next((one for one in results if one.state == State.BAD), None)
    if failed is not None:
        return State.BAD, f"The connection fails at “{failed.name}”: {failed.found}"
    looks = [one for one in results if one.state == State.WARN]
    if looks:
        named = " and ".join(f"“{one.name}”" for one in looks)
        return State.WARN, f"The mailbox connects. Somebody should look at {named}."
    return State.GOOD, "The mailbox connects, and everything that was checked is right."
