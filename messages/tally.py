"""The state of one turn on one mailbox, and what ends it early."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from django.conf import settings

from mailboxes.models import Mailbox
from mailboxes.problems import Problem, explain
from meshportal.mesh import MeshClient, errors

_SLOW_AFTER_SECONDS = 20.0

Report = Callable[[str], None]
Result = TypeVar("Result")


@dataclass
class Tally:
    """What a turn did."""

    listed: int = 0
    stored: int = 0
    acknowledged: int = 0
    discarded: int = 0
    failed: int = 0
    left: int = 0
    handshake: bool = False
    more_waiting: bool = False
    problem: Problem | None = None
    lease_lost: bool = False


class Stop(Exception):
    """Ends the turn early with a problem of the whole mailbox."""

    def __init__(self, problem: Problem, *, slow: bool = False) -> None:
        super().__init__(problem.sentence)
        self.problem = problem
        self.slow = slow


@dataclass
class Turn:
    """The state of one turn. ``report`` gets a line for every step (the command line prints them)."""

    mailbox: Mailbox
    report: Report
    tally: Tally = field(default_factory=Tally)
    client: MeshClient | None = None
    began: float = field(default_factory=time.monotonic)
    failures_in_a_row: int = 0
    storage_failures: int = 0
    signed_in: bool = False
    slow: bool = False

    @property
    def host(self) -> str:
        return urlsplit(settings.MESH_URLS[self.mailbox.environment]).netloc

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() - self.began > settings.TURN_SECONDS

    def explain(self, error: errors.MeshError) -> Problem:
        """What ``error`` means for the mailbox at this point of the turn."""
        skew = self.client.clock_skew if self.client is not None else None
        return explain(error, host=self.host, clock_skew=skew, signed_in=self.signed_in)

    def concerns_mailbox(self, error: errors.MeshError) -> bool:
        """Whether a person must change a setting. MESH also says 403 of somebody else's message (sandbox): after a
        listing that worked it is about the one message."""
        return error.misconfigured and not (isinstance(error, errors.AuthenticationFailed) and self.signed_in)

    def whole(self, call: Callable[[], Result]) -> Result:
        """A call that concerns the whole mailbox: its failure ends the turn."""
        began = time.monotonic()
        try:
            return call()
        except errors.MeshError as error:
            slow = time.monotonic() - began > _SLOW_AFTER_SECONDS or timed_out(error)
            raise Stop(self.explain(error), slow=slow) from error


def timed_out(error: Exception) -> bool:
    """Whether the service was too slow, so that this mailbox waits in the slow lane next time."""
    return isinstance(error, errors.ResponseTimeout | errors.ConnectTimeout | errors.BodyTooSlow)
