"""The three MESH environments as they are named on screen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Environment:
    """``key`` as stored; ``tag`` is the short word of the tag; ``name`` the words of a sentence."""

    key: str
    tag: str
    name: str
    meaning: str


ENVIRONMENTS: dict[str, Environment] = {
    found.key: found
    for found in (
        Environment("live", "LIVE", "live", "Real messages about real patients."),
        Environment("int", "INT", "integration", "NHS England's integration environment: test data only."),
        Environment("sandbox", "SANDBOX", "sandbox", "A sandbox on this installation: made-up data only."),
    )
}
