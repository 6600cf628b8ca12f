"""A mailbox of the portal whose MESH is the strict double, and the means to poll it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from certificates import services as certificates
from certificates.models import ClientIdentity
from certificates.reading import Source
from mailboxes import connections, polling
from mailboxes.models import Mailbox
from meshportal.audit.actors import Actor
from meshportal.demo.pki import Pki, create_pki
from messages import turn
from messages.models import Message
from messages.tally import Tally
from tests.conftest import Make
from tests.double import Double

ACTOR = Actor.command("tests")
BOX = "X26HC001"


@pytest.fixture(scope="session")
def pki() -> Pki:
    """One authority for all tests here."""
    return create_pki([(BOX, "X26")])


@pytest.fixture
def double(pki: Pki, settings: Any) -> Iterator[Double]:
    """The service, with one mailbox of ours and one of a sender."""
    with Double(pki) as made:
        made.add_mailbox(BOX)
        made.add_mailbox("YGM24HC001", ods_code="YGM24")
        settings.MESH_URLS = {**settings.MESH_URLS, "sandbox": made.base_url}
        settings.MESH_READ_TIMEOUT = settings.MESH_CONNECT_TIMEOUT = 2
        yield made
        connections.forget_all()
    assert made.errors == []


@pytest.fixture
def real_identity(team: Any, pki: Pki) -> ClientIdentity:
    """The client certificate that the double accepts, and the bundle that it is accepted by."""
    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="test CA", pem=pki.authority.certificate_pem)
    client = pki.clients[BOX]
    made, _ = certificates.import_identity(
        actor=ACTOR,
        team=team,
        environment="sandbox",
        name="Midshire",
        sources=[Source("the file", client.certificate_pem), Source("the key", client.key_pem)],
    )
    return made


@pytest.fixture
def box(double: Double, mailbox: Make, real_identity: ClientIdentity) -> Mailbox:
    """A mailbox in collect mode."""
    made: Mailbox = mailbox(mailbox_id=BOX, identity=real_identity)
    return made


Poll = Callable[..., Tally]


@pytest.fixture
def poll() -> Poll:
    """Polls a mailbox once, as a worker does; messages that wait for their next try are due when ``skip_waits``."""

    def once(mailbox: Mailbox, *, skip_waits: bool = True) -> Tally:
        if skip_waits:
            Message.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        claimed = polling.claim_now(mailbox)
        assert claimed is not None, "somebody holds the mailbox"
        tally = turn.work(claimed)
        mailbox.refresh_from_db()
        return tally

    return once


def states() -> dict[str, str]:
    """The state of every message, by message ID."""
    return dict(Message.objects.values_list("mesh_id", "state"))
