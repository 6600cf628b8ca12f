"""Messages handed on by HTTPS: signed, tried again as the answer says, and never to where a webhook may not lead."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import resource
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpcore
import pytest
from django.utils import timezone

from mailboxes import outlets
from mailboxes.models import Mailbox, Outlet
from meshportal.core import outbound
from meshportal.demo.pki import Pki
from messages.handing import turn, webhook
from messages.models import Handed, HandOver, MessageEvent
from tests.handover import receiver as answers
from tests.handover.conftest import ACTOR, SECRET, Go, Stored, only
from tests.handover.receiver import Receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def hook(pki: Pki, tmp_path: Path, settings: Any) -> Iterator[Receiver]:
    """A receiver that the portal may call, and trusts."""
    authorities = tmp_path / "authorities.pem"
    authorities.write_text(pki.authority.certificate_pem.decode())
    settings.WEBHOOK_CA_FILE = str(authorities)
    settings.WEBHOOK_NETWORKS = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    settings.WEBHOOK_TIMEOUT = 1
    with Receiver(pki, tmp_path) as made:
        yield made


@pytest.fixture
def hooked(hook: Receiver, mailbox: Any) -> Mailbox:
    """A mailbox that hands on to it."""
    box: Mailbox = mailbox()
    outlets.set_webhook(actor=ACTOR, mailbox=box, url=hook.url, secret=SECRET)
    return box


def outlet() -> Outlet:
    return Outlet.objects.get()


def test_a_receiver_gets_the_message_and_can_check_who_sent_it(
    hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, caplog: Any
) -> None:
    body = os.urandom(3_000_000)
    row = stored(body, workflow_id="WF", local_id="L 1", file_name="Brief für 10 %.pdf", subject="PLANTED")
    go()
    [got] = hook.got
    assert (got.path, got.size, got.sha256) == ("/hook", len(body), hashlib.sha256(body).hexdigest())
    said = got.headers
    assert said["content-type"] == "application/octet-stream"
    assert said["meshportal-message-id"] == row.mesh_id and said["meshportal-workflow-id"] == "WF"
    assert said["meshportal-from"] == "YGM24HC001" and said["meshportal-to"] == hooked.mailbox_id
    assert said["meshportal-local-id"] == "L 1" and said["meshportal-file-name"] == "Brief f%C3%BCr 10 %25.pdf"
    # As a receiver would write it.
    text = f"{said['meshportal-timestamp']}.{said['meshportal-delivery']}.{got.sha256}".encode()
    assert said["meshportal-signature"] == "v1=" + hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    assert abs(int(said["meshportal-timestamp"]) - timezone.now().timestamp()) < 60
    assert only().state == Handed.DONE
    assert list(MessageEvent.objects.filter(message=row).values_list("kind", flat=True)) == ["handed_on"]
    assert "PLANTED" not in str(said) and SECRET not in caplog.text and SECRET not in str(said)


def test_every_try_is_the_same_delivery(hooked: Mailbox, hook: Receiver, stored: Stored, go: Go) -> None:
    hook.answers = [500, answers.cuts, 200]
    stored()
    go(3)
    assert {got.headers["meshportal-delivery"] for got in hook.got} == {str(only().delivery_id)}
    assert only().state == Handed.DONE and only().tries == 3


@pytest.mark.faults
@pytest.mark.parametrize("status", [400, 401, 404, 410, 413, 422, 301, 307])
def test_a_refusal_is_tried_a_few_times_and_holds_up_no_other(
    hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, settings: Any, status: int
) -> None:
    settings.WEBHOOK_REFUSALS = 3
    hook.answers = [status, 200, status, status]
    refused, good = stored(b"refused"), stored(b"good")
    go()
    assert HandOver.objects.get(message=good).state == Handed.DONE
    assert HandOver.objects.get(message=refused).state == Handed.PENDING
    go(2)
    row = HandOver.objects.get(message=refused)
    assert (row.state, row.tries) == (Handed.FAILED, 3)
    assert str(status) in row.problem and outlet().problem_code == ""
    kinds = MessageEvent.objects.filter(message=refused).order_by("id").values_list("kind", flat=True)
    assert list(kinds) == ["hand_over_failed", "hand_over_given_up"]


@pytest.mark.faults
def test_a_redirect_leads_nowhere(hooked: Mailbox, hook: Receiver, stored: Stored, go: Go) -> None:
    hook.answers = [(302, {"Location": hook.url})]
    stored()
    go()
    assert [got.path for got in hook.got] == ["/hook"] and only().problem_code == "webhook_redirects"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("status", "asked", "least", "most"),
    [
        (429, "120", 119, 121),
        (503, "120", 119, 121),
        (429, "99999999999999999999", 86_399, 86_401),
        (503, "0", 0, 2),
        (429, "soon", 0, 2),
        (408, "", 0, 2),
        (425, "-5", 0, 2),
    ],
)
def test_a_busy_receiver_is_left_alone_for_as_long_as_it_asks(
    hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, status: int, asked: str, least: float, most: float
) -> None:
    hook.answers = [(status, {"Retry-After": asked} if asked else {}), 200]
    first, second = stored(b"one"), stored(b"two")
    go()
    wait = (outlet().resume_at - timezone.now()).total_seconds()
    assert least - 2 <= wait <= most
    assert hook.begun == 1, "the others wait too"
    assert turn.claim_due(slow=False) is None or wait < 0
    Outlet.objects.update(lease_token=None, lease_until=None)
    go()
    assert [got.size for got in hook.got] == [3, 3, 3]
    assert HandOver.objects.get(message=first).done_at < HandOver.objects.get(message=second).done_at  # type: ignore[operator]
    assert outlet().problem_code == ""


@pytest.mark.faults
def test_a_receiver_that_answers_again_is_no_problem_any_more(hooked: Mailbox, hook: Receiver, stored: Stored, go: Go) -> None:
    hook.answers = [500, 400]
    stored()
    go()
    assert outlet().problem_code == "webhook_failed"
    go()
    assert (outlet().problem_code, outlet().failures) == ("", 0) and only().problem_code == "webhook_refused"


def test_retry_after_can_be_a_date() -> None:
    wait = webhook.retry_after(format_datetime(timezone.now() + timedelta(hours=1)))
    assert wait is not None and timedelta(minutes=59) < wait <= timedelta(hours=1)
    assert webhook.retry_after("Mon, 99 Foo 2026") is None and webhook.retry_after("") is None


@pytest.mark.faults
@pytest.mark.parametrize(
    "answer", [500, 502, answers.hangs(3), answers.drips(8), answers.cuts], ids=["500", "502", "hangs", "drips", "cuts"]
)
def test_a_failure_is_tried_for_days_and_the_others_come_first(
    hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, settings: Any, answer: Any
) -> None:
    hook.answers = [answer, 200, answer]
    failing, good = stored(b"failing"), stored(b"good")
    go()
    row = HandOver.objects.get(message=failing)
    assert row.state == Handed.PENDING and row.tries == 1
    assert row.due_at > outlet().resume_at > timezone.now() - timedelta(seconds=1)
    assert outlet().problem_code in ("webhook_failed", "webhook_no_answer")
    assert outlet().slow == (answer not in (500, 502, answers.cuts))
    Outlet.objects.update(resume_at=timezone.now())
    claimed = turn.claim_due(slow=outlet().slow)
    assert claimed is not None
    turn.work(claimed)
    assert HandOver.objects.get(message=good).state == Handed.DONE
    HandOver.objects.filter(pk=row.pk).update(began_at=timezone.now() - timedelta(days=settings.WEBHOOK_DAYS + 1))
    go()
    row.refresh_from_db()
    assert row.state == Handed.FAILED


@pytest.mark.faults
def test_an_answer_without_end_is_not_read(hooked: Mailbox, hook: Receiver, stored: Stored, go: Go) -> None:
    hook.answers = [answers.floods]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stored()
    go()
    assert only().state == Handed.DONE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


@pytest.mark.faults
def test_private_networks_are_refused_without_the_setting(
    hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, settings: Any
) -> None:
    settings.WEBHOOK_NETWORKS = []
    stored()
    go()
    assert (only().state, only().problem_code) == (Handed.PENDING, "webhook_forbidden")
    assert hook.begun == 0


@pytest.mark.faults
def test_a_name_with_one_private_address_is_refused_and_the_address_looked_at_is_the_one_called(monkeypatch: Any) -> None:
    looked: list[str] = []
    connected: list[str] = []
    found = ["93.184.216.34", "10.0.0.1"]

    def resolve(host: str, port: int, **_: Any) -> Any:
        looked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    def connect(_self: Any, host: str, *_: Any, **__: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError("nobody there")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    call = {"headers": {}, "body": lambda: iter([b""]), "size": 0, "timeout": 1.0, "deadline": 2.0}
    with pytest.raises(outbound.Forbidden):
        outbound.post("https://example.test/", **call)  # type: ignore[arg-type]
    assert connected == []
    found.pop()
    with pytest.raises(outbound.Unreachable):
        outbound.post("https://example.test/", **call)  # type: ignore[arg-type]
    assert connected == ["93.184.216.34"] and looked == ["example.test"] * 2, "asked once a call"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.1.2.3", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_public_internet(address: str) -> None:
    assert not outbound.may_reach(address, [])


def test_addresses_that_may_be_called() -> None:
    assert outbound.may_reach("93.184.216.34", []) and outbound.may_reach("2606:2800:220:1::1", [])
    assert outbound.may_reach("10.1.2.3", [ipaddress.ip_network("10.1.0.0/16")])
    assert not outbound.may_reach("10.2.2.3", [ipaddress.ip_network("10.1.0.0/16")])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.test/", "https://", "https:///x", "https://user:pw@example.test/", "https://example.test/#a",
        "https://example.test/a b", "https://exämple.test/", "https://example.test:99999/", "ftp://example.test/", "",
        "https://example.test/\r\nX: y",
    ],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(outbound.Unusable):
        outbound.check_url(url)


@pytest.mark.faults
def test_a_certificate_that_nobody_vouches_for(hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, settings: Any) -> None:
    settings.WEBHOOK_CA_FILE = ""
    stored()
    go()
    assert only().problem_code == "webhook_unreachable" and "certificate" in only().problem
    assert hook.got == []


@pytest.mark.faults
def test_a_proxy_of_the_environment_is_not_asked(
    hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, monkeypatch: Any
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    stored()
    go()
    assert only().state == Handed.DONE


@pytest.mark.faults
def test_a_damaged_body_never_reaches_a_receiver_whole(
    hooked: Mailbox, hook: Receiver, stored: Stored, go: Go, settings: Any
) -> None:
    row = stored(os.urandom(1_000_000))
    path = Path(settings.PAYLOAD_DIR) / row.payload.storage_key
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    go()
    assert hook.got == [] and only().problem_code == "body_unreadable"


def test_one_broken_consumer_has_a_lane_of_its_own(hooked: Mailbox, hook: Receiver, stored: Stored, go: Go) -> None:
    hook.answers = [answers.hangs(3)]
    stored()
    go()
    assert outlet().slow
    Outlet.objects.update(resume_at=timezone.now())
    HandOver.objects.update(due_at=timezone.now())
    assert turn.claim_due(slow=False) is None and turn.claim_due(slow=True) is not None
    assert turn.claim_due(slow=True) is None, "one worker at a time"
