"""A double for each test, which must leave no thread and have made no mistake of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshportal.demo.pki import Pki, create_pki

from .caller import Caller
from .facade import Double


@pytest.fixture(scope="session")
def double_pki() -> Pki:
    """One authority for all tests here."""
    return create_pki([("X26ABC1", "X26"), ("X26ABC2", "X26")])


@pytest.fixture
def double() -> Iterator[Double]:
    """A double over plain HTTP with three mailboxes."""
    before = set(threading.enumerate())
    with Double() as made:
        made.add_mailbox("X26ABC1")
        made.add_mailbox("X26ABC2", workflows=["TEST_WORKFLOW", "OTHER"])
        made.add_mailbox("X26ABC3", ods_code="X27")
        yield made
    assert made.errors == []
    assert set(threading.enumerate()) <= before


@pytest.fixture
def callers(double: Double) -> Iterator[dict[str, Caller]]:
    """A caller for each of the three mailboxes, by the last digit of its id."""
    with ExitStack() as stack:
        made = {digit: Caller(double.port, f"X26ABC{digit}") for digit in "123"}
        for caller in made.values():
            stack.callback(caller.close)
        yield made


@pytest.fixture
def one(callers: dict[str, Caller]) -> Caller:
    """X26ABC1."""
    return callers["1"]


@pytest.fixture
def two(callers: dict[str, Caller]) -> Caller:
    """X26ABC2."""
    return callers["2"]


@pytest.fixture
def three(callers: dict[str, Caller]) -> Caller:
    """X26ABC3."""
    return callers["3"]
