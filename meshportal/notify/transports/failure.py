"""What a way out says when a message did not go."""

from __future__ import annotations

from datetime import timedelta


class Failed(Exception):
    """The text is a sentence without address or secret. ``for_good``: trying again would not help. ``wait``: what the receiver
    asked for."""

    def __init__(self, sentence: str, *, for_good: bool = False, wait: timedelta | None = None) -> None:
        super().__init__(sentence)
        self.for_good = for_good
        self.wait = wait
