"""What the demonstration sends through the portal's own outbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshportal.demo import outgoing, seed, world
from meshportal.demo.pki import create_pki
from meshportal.demo.sending import Register
from messages.models import Message
from messages.states import State


@pytest.fixture
def register(db: None, tmp_path: Path) -> Register:
    """Of a demonstration that was filled, and whose messages were queued."""
    pki = create_pki([(team.certificate_for, world.BY_ID[team.certificate_for].ods_code) for team in world.TEAMS])
    seed.seed(pki, password="abcd-efgh-jkmn-pqrs")
    register = Register.read(tmp_path / "sent.json")
    assert outgoing.put(register) == len(outgoing.wanted())
    return register


class Deaf:
    """Stands where the sandbox stands, and remembers what it was to report."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def report(self, mailbox_id: str, *, linked_message_id: str, status: str, code: str, **_more: str) -> str:
        self.told.append((mailbox_id, status, code))
        return f"report on {linked_message_id}"


def test_a_dozen_messages_of_every_end_that_can_be_brought_about() -> None:
    ends = {one.state for one in outgoing.wanted()}
    assert ends >= {State.COLLECTED, State.ACCEPTED, State.REFUSED, State.RETURNED, State.CANCELLED, State.QUEUED}
    keys = [one.key for one in outgoing.wanted()]
    assert len(keys) == len(set(keys)) >= 12
    for one in outgoing.wanted():
        assert one.sender in world.BY_ID
        # Nothing but the portal itself collects: what should arrive goes to a mailbox that it collects from.
        known = world.BY_ID.get(one.recipient)
        assert (one.state == State.COLLECTED) == (known is not None and known.collects and world.BY_ID[one.sender].collects)


def test_they_are_queued_once_and_the_cancelled_one_was_never_to_be_sent(register: Register) -> None:
    assert outgoing.put(Register.read(register.path)) == 0
    assert outgoing.counts(register) == {"cancelled": 1, "queued": len(outgoing.wanted()) - 1}
    assert Message.objects.get(state=State.CANCELLED).outgoing.due_at is None
    assert any("should be collected" in sentence for sentence in outgoing.missing(register))


def test_mesh_is_told_once_and_not_before_it_has_the_message(register: Register) -> None:
    sandbox: Any = Deaf()
    assert not outgoing.tell(register, sandbox)
    assert sandbox.told == []
    told = [one for one in outgoing.wanted() if one.told is not None]
    for number, one in enumerate(told):
        Message.objects.filter(pk=register.ids[one.key]).update(state=State.ACCEPTED, mesh_id=f"20261124{number:012d}_FEDCBA")
    for _ in range(3):
        outgoing.tell(register, sandbox)
    assert sandbox.told == [("RZ9HC001", "undeliverable", "14"), ("RZ9HC001", "error", "14")]
    assert outgoing.tell(register, sandbox)


def test_a_damaged_register_is_a_sentence_not_a_crash(register: Register) -> None:
    register.ids.clear()
    assert all("not known to the portal" in sentence for sentence in outgoing.missing(register))
    assert outgoing.counts(register) == {}
