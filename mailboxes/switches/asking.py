"""What a case wants to know of messages, which are an app above this one: it says who answers when it is ready.

Until somebody does (in a process without that app) nothing is held and nothing is proven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from mailboxes.models import Release, SwitchCase
from meshportal.audit.actors import Actor


@dataclass(frozen=True)
class Held:
    """The messages that a case holds: how many, since when the oldest, and of which workflows."""

    number: int = 0
    oldest: datetime | None = None
    workflows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """``collected`` messages at the new address by workflow, and when one last came back with code 14."""

    collected: Mapping[str, int] = field(default_factory=dict)
    last_returned: datetime | None = None


@dataclass(frozen=True)
class Traffic:
    """What a team sent to a mailbox lately: the workflows, and the ODS codes that people typed for it."""

    workflows: tuple[str, ...] = ()
    ods_codes: tuple[str, ...] = ()


class Messages(Protocol):
    """What the app of messages answers."""

    def held(self, case: SwitchCase) -> Held:
        """What the case holds now."""

    def proof(self, case: SwitchCase) -> Proof:
        """What speaks for the new address, and against it."""

    def traffic(self, *, team_id: Any, environment: str, mailbox_id: str) -> Traffic:
        """What was sent to a mailbox in the last 30 days."""

    def teams_that_send(self, *, environment: str, ods_code: str, mailbox_id: str) -> list[Any]:
        """The ids of the teams that sent something to the practice, or to the mailbox, in the last 30 days."""

    def release(self, *, actor: Actor, release: Release, addresses: Mapping[str, str]) -> int:
        """Sends the held messages of a case on, each workflow to its address. Needs the caller's transaction; how many."""


class _Nobody:
    def held(self, case: SwitchCase) -> Held:
        return Held()

    def proof(self, case: SwitchCase) -> Proof:
        return Proof()

    def traffic(self, *, team_id: Any, environment: str, mailbox_id: str) -> Traffic:
        return Traffic()

    def teams_that_send(self, *, environment: str, ods_code: str, mailbox_id: str) -> list[Any]:
        return []

    def release(self, *, actor: Actor, release: Release, addresses: Mapping[str, str]) -> int:
        return 0


_answering: list[Messages] = [_Nobody()]


def answered_by(messages: Messages) -> None:
    """Says who answers from now on; called once, when that app is ready."""
    _answering[0] = messages


def messages() -> Messages:
    """Who answers."""
    return _answering[0]
