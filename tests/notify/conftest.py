"""Kinds and rules of the tests' own, and a way to move time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from meshportal.accounts.models import Role
from meshportal.audit.actors import Actor
from meshportal.notify import registry
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule

ACTOR = Actor.system("tests")
PERSON = Actor(kind="user", id="1", label="Mina Manage <mina@midshire.example>")
# A Tuesday morning in winter: London clocks show UTC.
START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
THING = Kind("test.thing", "Thing", "thing broke", "things broke", Severity.CRITICAL, "Mend it.", Role.OPERATOR)
MINOR = Kind("test.minor", "Minor thing", "thing creaks", "things creak", Severity.WARNING, "Oil it.", Role.OPERATOR)

Holding = dict[str, Condition]


@pytest.fixture(autouse=True)
def _own_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry as it is in use, and two kinds more; rules come only where a test adds them."""
    monkeypatch.setattr(registry, "_kinds", {**registry._kinds, THING.name: THING, MINOR.name: MINOR})


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> Holding:
    """What holds now, by any name; the only rule there is finds just this."""
    found: Holding = {}
    rule = Rule("test", (THING.name, MINOR.name), lambda now: list(found.values()))
    monkeypatch.setattr(registry, "_rules", {"test": rule})
    return found


@pytest.fixture
def thing(team: Any) -> Callable[..., Condition]:
    """A condition of ``team``; any field can be given."""

    def make(key: str = "one", **fields: Any) -> Condition:
        defaults: dict[str, Any] = {
            "kind": THING.name,
            "key": key,
            "subject": f"Mailbox {key}",
            "sentence": "is broken.",
            "team": team,
        }
        return Condition(**{**defaults, **fields})

    return make
