"""How an entry of the address book stands, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from mailboxes.addresses import selectors
from mailboxes.models import AddressEntry
from mailboxes.models.address import DRIFTED, Drift


class Shown(NamedTuple):
    """Word, tone and meaning of a state."""

    word: str
    tone: str
    meaning: str


STATES: dict[str, Shown] = {
    Drift.CHANGED: Shown("Changed", "bad", "MESH answers another mailbox than the address book says."),
    Drift.GONE: Shown("No mailbox any more", "bad", "MESH names no mailbox of the organisation for this workflow any more."),
    Drift.SEVERAL: Shown("Several mailboxes", "warn", "MESH names several mailboxes. A person chooses; the portal never does."),
    Drift.UNKNOWN: Shown("No mailbox known", "warn", "MESH names none, or several of which nobody has chosen one yet."),
    Drift.NEW: Shown("Not checked yet", "busy", "MESH was not asked yet, or has not answered."),
    Drift.AGREES: Shown("Agrees", "good", "MESH answers what the address book says."),
}


@dataclass(frozen=True)
class Standing:
    """An entry with the words for it. ``name`` is the organisation's, where it is known."""

    entry: AddressEntry
    name: str

    @property
    def shown(self) -> Shown:
        return STATES[self.entry.drift]

    @property
    def drifted(self) -> bool:
        return self.entry.drift in DRIFTED

    @property
    def to_confirm(self) -> bool:
        """Whether MESH names something that a person can confirm."""
        return self.entry.drift in (*DRIFTED, Drift.UNKNOWN) and bool(self.entry.pair.results)

    @property
    def being_asked(self) -> bool:
        """Whether somebody waits for MESH's answer."""
        pair = self.entry.pair
        return pair.urgent or (pair.asked_at is None and pair.next_lookup_at is not None)

    @property
    def sentence(self) -> str:
        """What MESH answers, beside what the book says."""
        entry, found = self.entry, self.entry.pair.results
        named = ", ".join(one["id"] for one in found)
        match entry.drift:
            case Drift.CHANGED:
                return f"Was {entry.mailbox_id}, lookup now answers {named}"
            case Drift.GONE:
                return f"Was {entry.mailbox_id}, lookup now names no mailbox"
            case Drift.SEVERAL:
                return f"Was {entry.mailbox_id}, lookup now names {len(found)} mailboxes: {named}"
            case Drift.UNKNOWN if found:
                return f"Lookup names {len(found)} mailboxes, and nobody has chosen one: {named}"
            case Drift.UNKNOWN:
                return "Lookup names no mailbox for this workflow"
            case Drift.NEW:
                return "MESH was not asked yet"
        if len(found) > 1:
            return f"Lookup names {entry.mailbox_id} among {len(found)} mailboxes, as was accepted"
        return f"Lookup answers {entry.mailbox_id}"


def standings(entries: Iterable[AddressEntry]) -> list[Standing]:
    """The words for each of ``entries``."""
    rows = list(entries)
    names = selectors.names_of(entry.pair.ods_code for entry in rows)
    return [Standing(entry, names.get(entry.pair.ods_code, "")) for entry in rows]


def meanings() -> list[tuple[str, str, str]]:
    """For the disclosure that says what each state means."""
    return [(state.word, state.tone, state.meaning) for state in STATES.values()]
