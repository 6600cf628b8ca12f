"""The official sandbox, as far as it tells things apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from certificates import services as certificates
from certificates.reading import Source
from mailboxes import connections
from mailboxes.doctor import State
from meshportal.demo.sandbox import Sandbox
from tests.conftest import Make
from tests.doctor.conftest import Examine
from tests.receive.conftest import ACTOR

pytestmark = [pytest.mark.django_db, pytest.mark.peer]


@pytest.fixture
def identity_there(team: Any, sandbox: Sandbox, settings: Any, listen: Callable[[str], None]) -> Any:
    pki = sandbox.pki
    certificates.replace_trust_bundle(actor=ACTOR, environment="sandbox", name="test CA", pem=pki.authority.certificate_pem)
    client = pki.clients["X26ABC1"]
    sources = [Source("the file", client.certificate_pem), Source("the key", client.key_pem)]
    made, _ = certificates.import_identity(actor=ACTOR, team=team, environment="sandbox", name="There", sources=sources)
    listen(sandbox.base_url)
    settings.MESH_SHARED_KEYS = {**settings.MESH_SHARED_KEYS, "sandbox": sandbox.shared_key}
    yield made
    connections.forget_all()


@pytest.mark.parametrize(
    ("fields", "step", "code"),
    [
        ({}, "", ""),
        ({"password": "another"}, "sign_in", "sign_in_refused"),
        ({"mailbox_id": "X26ABC9"}, "sign_in", "mailbox_unknown"),
    ],
    ids=["good", "wrong password", "unknown mailbox"],
)
def test_the_official_sandbox(
    identity_there: Any, mailbox: Make, examine: Examine, fields: dict[str, Any], step: str, code: str
) -> None:
    ours = mailbox(**{"mailbox_id": "X26ABC1", "identity": identity_there, **fields})
    results = examine(ours)
    if step:
        assert (results[step].state, results[step].code) == (State.BAD, code), results
    else:
        assert {one.state for one in results.values()} == {State.GOOD, State.SKIPPED}, results
        assert results["handshake"].state == results["inbox"].state == State.GOOD
