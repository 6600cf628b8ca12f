"""Files of mailboxes, and what it takes to import them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mailboxes import examining, importing
from mailboxes.models import Examination, MailboxImport
from meshportal.core import csvout
from messages.selectors import workflows_received
from tests.receive.conftest import ACTOR, double, pki, real_identity

__all__ = ["double", "pki", "real_identity"]

PASSWORD = "PLANTED-password"


def sheet(*rows: Mapping[str, Any]) -> bytes:
    """A file with a row for each; what one of them does not have is empty."""
    head = list(dict.fromkeys(name for row in rows for name in row))
    return "".join(csvout.lines(head, [[row.get(name, "") for name in head] for row in rows])).encode()


def new(number: int, **more: Any) -> dict[str, Any]:
    """A row of a mailbox that is not there yet."""
    row = {
        "mailbox_id": f"X26IM{number:03d}",
        "environment": "sandbox",
        "ods_code": "X26",
        "name": f"Ward {number}",
        "password": f"{PASSWORD}-{number}",
        "certificate": "Midshire 2026",
        "mode": "watch",
        "poll_seconds": 600,
    }
    return {**row, **more}


Prepare = Callable[..., MailboxImport]


@pytest.fixture
def prepare(team: Any, identity: Any) -> Prepare:
    """The dry run of a file."""

    def made(*rows: Mapping[str, Any], data: bytes | None = None, team: Any = team) -> MailboxImport:
        return importing.prepare(actor=ACTOR, team=team, data=sheet(*rows) if data is None else data, file_name="mailboxes.csv")

    return made


def applied(imported: MailboxImport, **more: Any) -> Examination:
    """Applies it as who has just looked at it."""
    return importing.apply(actor=ACTOR, imported=imported, digest=imported.digest, **more)


def faults(team: Any, data: bytes) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(importing.Faulty) as caught:
        importing.prepare(actor=ACTOR, team=team, data=data)
    return [str(problem) for problem in caught.value.problems]


def examined() -> int:
    """Does what a worker does, row by row; gives how many rows there were."""
    number = 0
    while row := examining.claim_due():
        examining.work(row, workflows_received)
        number += 1
    return number
