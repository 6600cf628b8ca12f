"""When a call is tried again, and after how long.

==============================================  =========================  ===================================
what happened                                   GET HEAD PUT handshake,    first POST of a message
                                                later chunks
==============================================  =========================  ===================================
not connected (name, refused, timeout, TLS)     again                      again: no byte was sent
certificate or host name refused                no                         no
dropped or timed out after a byte was sent      again                      no: SendUncertain
425 429 503                                     again                      no; the error says ``retryable``
500 and other 5xx                               again                      no: SendUncertain
401 403                                         once more, see below       no
any other answer                                no                         no
body cut short before a byte was handed out     again                      (no body)
==============================================  =========================  ===================================

A token is good for one request, so every attempt is made anew from its start, token included. A 403 can mean that a
token was used up on the way (MESH API specification, MESH Authorization header), hence one more attempt and never
two; none when the clocks differ by more than MESH allows, or when MESH gives an EPL code: a new token mends neither.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from meshportal.mesh.errors import AuthenticationFailed, ConnectionFailed, ConnectionLost, MeshError

# MESH API specification, MESH Authorization header.
TOKEN_WINDOW = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often and after how long. Times in seconds.

    ``attempts`` counts the first. The wait doubles from ``base`` up to ``longest``, and a random half of it is taken
    off. A ``Retry-After`` is obeyed; one longer than ``longest_retry_after`` is not waited for here: the error is
    raised with it, for the caller's schedule.
    """

    attempts: int = 3
    base: float = 0.5
    longest: float = 8.0
    longest_retry_after: float = 30.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    random: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")

    def wait(self, attempt: int, asked: float | None) -> float | None:
        """Seconds to wait after the failed ``attempt``; None when the server asks for longer than we wait."""
        delay = min(self.base * 2.0 ** min(attempt - 1, 30), self.longest) * (0.5 + self.random() / 2)
        if asked is None:
            return delay
        return max(asked, delay) if asked <= self.longest_retry_after else None


class Attempts:
    """The attempts of one call. ``number`` is the current one, from 1."""

    def __init__(self, policy: RetryPolicy, *, first_post: bool = False) -> None:
        self._policy = policy
        self._first_post = first_post
        self._refusals = 0
        self.number = 1

    def wait_or_raise(self, error: MeshError) -> None:
        """Waits for the next attempt, or raises ``error`` when there is to be none."""
        if self.number >= self._policy.attempts or not self._may_repeat(error):
            raise error
        wait = self._policy.wait(self.number, error.retry_after)
        if wait is None:
            raise error
        self._policy.sleep(wait)
        self.number += 1

    def _may_repeat(self, error: MeshError) -> bool:
        if self._first_post:
            unsent = isinstance(error, ConnectionFailed) or (isinstance(error, ConnectionLost) and error.nothing_sent)
            return unsent and error.retryable
        if isinstance(error, AuthenticationFailed):
            self._refusals += 1
            skewed = error.clock_skew is not None and abs(error.clock_skew) > TOKEN_WINDOW
            return self._refusals == 1 and not skewed and not error.code.startswith("EPL")
        return error.retryable
