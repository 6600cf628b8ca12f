"""A mailbox whose MESH is the strict double, and an examination of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailboxes import doctor
from mailboxes.models import Mailbox
from tests.receive.conftest import box, double, pki, real_identity

__all__ = ["box", "double", "pki", "real_identity"]

Examine = Callable[..., dict[str, doctor.Result]]


@pytest.fixture
def examine() -> Examine:
    """Every step's result by its name."""

    def run(mailbox: Mailbox, **options: Any) -> dict[str, doctor.Result]:
        results = {one.step: one for one in doctor.examine(mailbox, **options)}
        assert list(results) == list(doctor.STEPS)
        return results

    return run


@pytest.fixture
def listen(settings: Any) -> Callable[[str], None]:
    """Points the sandbox environment at another address."""

    def to(url: str) -> None:
        settings.MESH_URLS = {**settings.MESH_URLS, "sandbox": url}

    return to
