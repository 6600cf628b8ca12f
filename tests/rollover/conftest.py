"""Two certificates of one authority that the strict double accepts, and mailboxes that use the old one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from certificates import services as certificates
from certificates.models import ClientIdentity
from certificates.reading import Source
from mailboxes import handshakes, rollover
from mailboxes.models import Mailbox, RollOver
from meshportal.demo.pki import Pki
from tests.conftest import Make
from tests.double import Double
from tests.receive.conftest import ACTOR, double, pki, poll, real_identity

__all__ = ["double", "pki", "poll", "real_identity"]
NEW = "NEWSERVER"


@pytest.fixture
def new(team: Any, pki: Pki, real_identity: ClientIdentity) -> ClientIdentity:
    """The new certificate."""
    client = pki.authority.client(NEW, "X26")
    sources = [Source("the file", client.certificate_pem), Source("the key", client.key_pem)]
    return certificates.import_identity(actor=ACTOR, team=team, environment="sandbox", name="Next", sources=sources)[0]


@pytest.fixture
def boxes(double: Double, mailbox: Make, real_identity: ClientIdentity) -> list[Mailbox]:
    """Four mailboxes that use the old certificate."""
    names = [f"X26RO{number:03d}" for number in range(4)]
    for name in names:
        double.add_mailbox(name)
    return [mailbox(mailbox_id=name, identity=real_identity) for name in names]


@pytest.fixture
def roll(team: Any, boxes: list[Mailbox], real_identity: ClientIdentity, new: ClientIdentity) -> RollOver:
    """A roll-over of ``boxes``."""
    return rollover.begin(actor=ACTOR, team=team, old=real_identity, new=new)


Tested = Callable[[], None]


@pytest.fixture
def tested(roll: RollOver) -> Tested:
    """Asks for a test of ``roll`` and works it, as a worker does."""

    def test() -> None:
        RollOver.objects.update(tested_at=None)
        rollover.ask_test(actor=ACTOR, roll_over=roll)
        while row := handshakes.claim_due():
            handshakes.work(row)

    return test
