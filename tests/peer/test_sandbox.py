"""The portal against the official mesh-sandbox: reports, hostile headers, poison, tracking, what its leniency allows."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from meshportal.core import payloads
from meshportal.demo.pki import PkiFiles
from meshportal.demo.sandbox import PASSWORD, Sandbox
from meshportal.mesh import MeshClient, errors, tls_context
from meshportal.mesh.auth import token
from meshportal.mesh.exchange import utc_now
from messages.models import Message
from messages.states import State
from messages.tally import Tally
from tests.peer.conftest import OURS, THEIRS

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("sandbox")]

Poll = Callable[[], Tally]
ClientOf = Callable[[str], MeshClient]


def test_handshake_list_send_head_get_acknowledge_track(client_of: ClientOf) -> None:
    ours, theirs = client_of(OURS), client_of(THEIRS)
    ours.handshake()
    ours.ping()
    receipt = ours.send(b"letter" * 100, recipient=THEIRS, workflow_id="TEST_WORKFLOW", local_id="track-1", chunk_size=100)
    assert receipt.chunk_total == 6
    assert receipt.message_id in theirs.inbox_page().message_ids
    headers = theirs.head(receipt.message_id)
    assert (headers.sender, headers.recipient, headers.chunk_total) == (OURS, THEIRS, 6)
    with theirs.download(receipt.message_id) as download:
        assert b"".join(download) == b"letter" * 100
    assert ours.track(receipt.message_id).status == "accepted"
    theirs.acknowledge(receipt.message_id)
    theirs.acknowledge(receipt.message_id)
    tracked = ours.track(receipt.message_id, version=1)
    assert (tracked.status, tracked.chunk_count) == ("acknowledged", 6)
    assert tracked.acknowledged_at is not None
    assert ours.track_by_local_id("track-1").message_id == receipt.message_id


def test_tracking_by_a_local_id_that_two_messages_have_and_by_an_unknown_id(client: MeshClient) -> None:
    for _ in range(2):
        client.send(b"x", recipient=THEIRS, workflow_id="TEST_WORKFLOW", local_id="twice")
    with pytest.raises(errors.NotUnique):
        client.track_by_local_id("twice")
    with pytest.raises(errors.NotFound):
        client.track("20200529155357895317_3573F8")


def test_lookup_and_search(client: MeshClient) -> None:
    assert [found.mailbox_id for found in client.lookup("x26", "TEST_WORKFLOW")] == ["X26ABC2"]
    assert client.lookup("X26", "NO_SUCH_WORKFLOW") == ()
    assert "X26ABC2" in {found.mailbox_id for found in client.search("TEST_WORKFLOW")}


@pytest.mark.parametrize("refused", ["recipient", "password", "mailbox"])
def test_refusals_say_why(client_of: ClientOf, sandbox: Sandbox, files: PkiFiles, refused: str) -> None:
    if refused == "recipient":
        with pytest.raises(errors.Refused) as error:
            client_of(OURS).send(b"x", recipient="NOBODY", workflow_id="TEST_WORKFLOW")
        assert (error.value.code, error.value.status) == ("12", 417)
        return
    honest = client_of(OURS)
    wrong = MeshClient(
        honest._connection,
        mailbox_id="X26NOBODY" if refused == "mailbox" else OURS,
        password="wrong",
        shared_key=sandbox.shared_key,
    )
    with pytest.raises(errors.AuthenticationFailed) as refusal:
        wrong.handshake()
    assert refusal.value.status == 403


@pytest.mark.django_db
@pytest.mark.parametrize(("status", "code"), [("undeliverable", "14"), ("error", "17")])
def test_a_report_is_stored_linked_and_acknowledged(
    client_of: ClientOf, sandbox: Sandbox, poll: Poll, status: str, code: str
) -> None:
    sent = client_of(THEIRS).send(b"x", recipient=OURS, workflow_id="TEST_WORKFLOW")
    poll()
    report_id = sandbox.report(
        OURS, linked_message_id=sent.message_id, code=code, description="Not registered", status=status, subject="A letter"
    )
    tally = poll()
    assert (tally.stored, tally.acknowledged, tally.failed) == (1, 1, 0)
    report = Message.objects.get(mesh_id=report_id)
    assert (report.message_type, report.state, report.status_code) == ("REPORT", State.ACKNOWLEDGED, code)
    assert report.linked_message == Message.objects.get(mesh_id=sent.message_id)
    assert report_id not in client_of(OURS).inbox_page().message_ids


HOSTILE: dict[str, dict[str, Any]] = {
    "path": {"file_name": "../../etc/passwd", "subject": "../x", "local_id": "..", "workflow_id": "../x"},
    "markup": {"file_name": "<script>a</script>", "subject": "<b>", "local_id": "<i>", "workflow_id": "<script>"},
    "formula": {"file_name": "=cmd", "subject": "+1", "local_id": "@x", "workflow_id": "-W"},
    "long": {"file_name": "f" * 300, "subject": "s" * 500, "local_id": "l" * 300, "workflow_id": "W" * 300},
}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_hostile_headers_arrive_as_text(client_of: ClientOf, poll: Poll, kind: str) -> None:
    sent = client_of(THEIRS).send(b"body", recipient=OURS, **HOSTILE[kind])
    assert poll().acknowledged == 1
    message = Message.objects.get(mesh_id=sent.message_id)
    shown = (message.file_name, message.subject, message.local_id, message.workflow_id)
    assert shown == tuple(HOSTILE[kind][name] for name in ("file_name", "subject", "local_id", "workflow_id"))


@pytest.mark.django_db
def test_a_poisonous_message_is_put_aside_and_the_others_come(
    client_of: ClientOf, sandbox: Sandbox, files: PkiFiles, poll: Poll, settings: Any
) -> None:
    settings.MAX_ATTEMPTS = 1
    context = tls_context(files.client(THEIRS).read_bytes(), files.client_key(THEIRS).read_bytes(), files.ca.read_bytes())
    with httpx.Client(verify=context, trust_env=False) as raw:
        answer = raw.post(
            f"{sandbox.base_url}/messageexchange/{THEIRS}/outbox",
            content=b"this is no gzip",
            headers={
                "Authorization": token(THEIRS, PASSWORD, sandbox.shared_key, timestamp=utc_now()),
                "Mex-To": OURS,
                "Mex-WorkflowID": "TEST_WORKFLOW",
                "Content-Encoding": "gzip",
            },
        )
    poison = answer.json().get("message_id") or answer.json()["messageID"]
    good = client_of(THEIRS).send(b"good", recipient=OURS, workflow_id="TEST_WORKFLOW")
    tally = poll()
    assert (tally.stored, tally.failed) == (1, 1)
    assert Message.objects.get(mesh_id=good.message_id).state == State.ACKNOWLEDGED
    bad = Message.objects.get(mesh_id=poison)
    assert (bad.state, bad.problem_code) == (State.QUARANTINED, "corrupt")
    # Still there for a person to decide about; out of the way of the tests that follow.
    ours = client_of(OURS)
    assert poison in ours.inbox_page().message_ids
    ours.acknowledge(poison)


@pytest.mark.django_db
def test_a_gzip_file_that_is_the_payload_is_delivered_as_it_is(client_of: ClientOf, poll: Poll) -> None:
    packed = gzip.compress(b"a letter")
    sent = client_of(THEIRS).send(packed, recipient=OURS, workflow_id="TEST_WORKFLOW", file_name="a.gz", compressed=True)
    poll()
    message = Message.objects.get(mesh_id=sent.message_id)
    assert b"".join(payloads.open_blocks(message.payload.storage_key)) == packed
