"""Every injected fault really happens, as often as its rule says; the recorder tells what happened."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from meshportal.demo.pki import Pki, client_context, create_authority

from . import faults
from .caller import Caller, token
from .facade import Double
from .process import DoubleProcess

LOST = (ConnectionError, http.client.RemoteDisconnected, http.client.BadStatusLine)


def test_drops_on_the_way_in_and_out(double: Double, one: Caller) -> None:
    for when, arrives in (
        ("before_body", False),
        ("during_body", False),
        ("after", True),
        ("during_answer", True),
    ):
        for reset in (False, True):
            count = len(double.sent_by("X26ABC1"))
            rule = double.faults.add(
                match={"mailbox": "X26ABC1", "route": "send"},
                action=faults.drop(when, reset=reset),  # type: ignore[arg-type]
            )
            with pytest.raises((*LOST, http.client.IncompleteRead)):
                one.send(b"x" * 5000)
            assert double.faults.fired(rule) == 1
            assert len(double.sent_by("X26ABC1")) - count == int(arrives)
            record = double.recorder.records(route="send")[-1]
            assert record.status == (202 if when == "during_answer" else None)
    assert one.send().status == 202


def test_an_empty_answer_can_be_cut_too(double: Double, one: Caller) -> None:
    put = double.put("X26ABC1", b"x")
    double.faults.add(match={"route": "acknowledge"}, action=faults.drop("during_answer"))
    with pytest.raises((*LOST, http.client.HTTPException)):
        one.ask("PUT", f"inbox/{put.message_id}/status/acknowledged")
    assert double.inbox("X26ABC1") == []


def test_a_dropped_request_uses_its_token_up(double: Double, one: Caller) -> None:
    auth = token("X26ABC1")
    double.faults.add(match={"route": "list"}, action=faults.drop())
    with pytest.raises(LOST):
        one.ask("GET", "inbox", auth=auth)
    assert one.ask("GET", "inbox", auth=auth).msg == "Error Duplicated Authentication Token"


def test_rules_match_and_count(double: Double, one: Caller, two: Caller) -> None:
    first, second = (double.put("X26ABC1", b"abcdef", chunks=2).message_id for _ in range(2))
    double.faults.add(match={"message_id": first, "chunk": 2}, action=faults.status(500), times=2)
    asked = [one.ask("GET", f"inbox/{each}/2").status for each in (second, first, first, first)]
    assert asked == [200, 500, 500, 200]
    double.faults.add(match={"mailbox": ["X26ABC2", "Y*"], "nth": [2, 4]}, action=faults.status(503), times=None)
    assert [two.ask("GET", "inbox").status for _ in range(5)] == [200, 503, 200, 503, 200]
    rule = double.faults.add(match={"method": "HEAD"}, action=faults.status(500))
    double.faults.remove(rule)
    assert one.ask("HEAD", f"inbox/{first}").status == 200
    double.faults.add(match={"route": "list"}, action=faults.status(500), times=None)
    assert one.ask("GET", "inbox", auth=token("X26ABC1", password="wrong")).status == 403
    double.faults.clear()
    assert one.ask("GET", "inbox").status == 200
    with pytest.raises(ValueError, match="unknown match key"):
        double.faults.add(match={"mailbx": "X"}, action=faults.drop())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("v1", "application/json"),
        ("v2", "application/vnd.mesh.v2+json"),
        ("validation", "application/json"),
        ("string", "application/json"),
        ("soap", "text/xml; charset=UTF-8"),
        ("html", "text/html"),
        ("text", "text/plain"),
        ("empty", None),
    ],
)
def test_error_answers(double: Double, one: Caller, body: str, kind: str | None) -> None:
    put = double.put("X26ABC1", b"x")
    for status in (400, 403, 404, 410, 425, 429, 500, 502, 503, 504):
        action = faults.status(status, body, event="SEND", error_code="77", message="words", retry_after=7)
        double.faults.add(match={"route": "acknowledge"}, action=action)
        answer = one.ask("PUT", f"inbox/{put.message_id}/status/acknowledged")
        assert (answer.status, answer.headers["Content-Type"], answer.headers["Retry-After"]) == (
            status,
            kind,
            "7",
        )
        if kind is not None and "json" in kind:
            assert "words" in answer.body.decode()
    assert double.inbox("X26ABC1") == [put.message_id]


def test_an_error_after_the_work_was_done(double: Double, one: Caller) -> None:
    put = double.put("X26ABC1", b"x")
    double.faults.add(match={"route": "acknowledge"}, action=faults.status(500, processed=True))
    assert one.ask("PUT", f"inbox/{put.message_id}/status/acknowledged").status == 500
    assert double.inbox("X26ABC1") == []


def test_spoilt_bodies(double: Double, one: Caller) -> None:
    path = f"inbox/{double.put('X26ABC1', b'0123456789' * 100).message_id}"
    match = {"route": "get"}
    double.faults.add(match=match, action=faults.truncate(0.3, declare="full"))
    with pytest.raises(http.client.IncompleteRead) as short:
        one.ask("GET", path)
    assert (len(short.value.partial), short.value.expected) == (300, 700)
    double.faults.add(match=match, action=faults.truncate(250, declare="actual"))
    assert len(one.ask("GET", path).body) == 250
    double.faults.add(match=match, action=faults.cut_gzip())
    answer = one.ask("GET", path)
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    with pytest.raises(EOFError):
        gzip.decompress(answer.body)
    double.faults.add(match=match, action=faults.drip(block=100, interval=0.001))
    assert len(one.ask("GET", path).body) == 1000


def test_spoilt_headers(double: Double, one: Caller) -> None:
    path = f"inbox/{double.put('X26ABC1', b'x').message_id}"
    double.faults.add(match={"route": "get"}, action=faults.header("mex-chunk-range", "2:9"))
    double.faults.add(match={"route": "get"}, action=faults.skew_date(-7200))
    answer = one.ask("GET", path)
    assert answer.headers["mex-chunk-range"] == "2:9"
    behind = double.clock.now() - parsedate_to_datetime(answer.headers["Date"])
    assert 7200 <= behind.total_seconds() < 7300
    double.faults.add(match={"route": "list"}, action=faults.redirect("https://elsewhere.invalid/", 307))
    moved = one.ask("GET", "inbox")
    assert (moved.status, moved.headers["Location"]) == (307, "https://elsewhere.invalid/")


def test_delay_and_hang(double: Double) -> None:
    caller = Caller(double.port, "X26ABC1")
    double.faults.add(match={}, action=faults.delay(0.05))
    assert caller.ask("GET", "inbox").status == 200
    record = double.recorder.records()[-1]
    assert record.faults == ["delay"] and record.ended is not None and record.ended - record.started >= 0.05
    caller.close()
    for when, arrives in (("before_body", 0), ("after", 1)):
        impatient = Caller(double.port, "X26ABC1", timeout=0.2)
        double.faults.add(match={"route": "send"}, action=faults.hang(3600, when=when))  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            impatient.send()
        assert len(double.sent_by("X26ABC1")) == arrives
    brief = Caller(double.port, "X26ABC1")
    double.faults.add(match={}, action=faults.hang(0.01))
    with pytest.raises(LOST):
        brief.ask("GET", "inbox")
    # Leaving the test with two requests hanging for an hour shows that stopping ends them.


def test_outage_keeps_everything(double: Double, one: Caller) -> None:
    put = double.put("X26ABC1", b"x")
    double.down()
    with pytest.raises(ConnectionError):
        one.ask("GET", "inbox")
    double.up()
    assert one.ask("GET", "inbox").json["messages"] == [put.message_id]


def test_recorder(double: Double, one: Caller, two: Caller, tmp_path: Path) -> None:
    put = double.put("X26ABC1", b"x")
    one.ask("GET", "inbox")
    one.ask("GET", f"inbox/{put.message_id}")
    (listing,), (download,) = double.recorder.listings("X26ABC1"), double.recorder.gets("X26ABC1")
    assert (listing.route, listing.status, listing.connection) == ("list", 200, download.connection)
    assert (download.message_id, download.bytes_out, len(download.nonce)) == (put.message_id, 1, 36)
    assert listing.ended is not None and listing.started <= listing.ended <= download.started
    assert double.recorder.overlaps("X26ABC1") == []
    with socket.create_connection(("127.0.0.1", double.port)) as slow:
        head = f"POST /messageexchange/X26ABC1/outbox HTTP/1.1\r\nAuthorization: {token('X26ABC1')}\r\n"
        slow.sendall(head.encode() + b"Mex-To: X26ABC2\r\nMex-WorkflowID: W\r\nContent-Length: 5\r\n\r\nab")
        _wait(lambda: double.recorder.records(route="send"))
        two.ask("GET", "inbox")
        one.ask("GET", "inbox")
        slow.sendall(b"cde")
        assert slow.recv(100).startswith(b"HTTP/1.1 202")
    ((first, second),) = double.recorder.overlaps("X26ABC1")
    assert (first.route, second.route) == ("send", "list")
    assert double.recorder.overlaps("X26ABC2") == []


def test_records_are_written_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with Double(records=path, record_limit=2) as double:
        caller = Caller(double.port, "X26ABC1")
        for _ in range(3):
            assert caller.ask("GET", "/messageexchange/_ping").status == 200
        caller.close()
    assert (len(double.recorder.records()), double.recorder.total) == (2, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3]


def _ask_over_tls(double: Double, context: ssl.SSLContext, mailbox: str = "X26ABC1") -> int:
    caller = Caller(double.port, mailbox, tls=context)
    try:
        return caller.ask("GET", "inbox").status
    finally:
        caller.close()


def test_mutual_tls(double_pki: Pki) -> None:
    authority = double_pki.authority
    trust = authority.certificate_pem
    with Double(double_pki) as double:
        double.add_mailbox("X26ABC1")
        double.add_mailbox("X26ABC2")
        good = client_context(trust, double_pki.clients["X26ABC1"])
        assert _ask_over_tls(double, good) == 200
        for identity in (
            None,
            authority.client("X26ABC1", "X26", validity="expired"),
            authority.client("X26ABC1", "X26", validity="not_yet_valid"),
            create_authority().client("X26ABC1", "X26"),
        ):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                _ask_over_tls(double, client_context(trust, identity))
        with pytest.raises(ssl.SSLCertVerificationError):
            _ask_over_tls(double, client_context(create_authority().certificate_pem, double_pki.clients["X26ABC1"]))
        assert _ask_over_tls(double, good, "X26ABC2") == 200
        double.configure(bind_certificates=True)
        assert _ask_over_tls(double, good, "X26ABC2") == 403
        double.update_mailbox("X26ABC2", certificates=[double_pki.clients["X26ABC1"].common_name])
        assert _ask_over_tls(double, good, "X26ABC2") == 200
        assert double.recorder.records()[-1].certificate == "X26ABC1.X26.api.mesh-client.nhs.uk"
    assert double.errors == []


def test_tls_refusals(double_pki: Pki) -> None:
    context = client_context(double_pki.authority.certificate_pem, double_pki.clients["X26ABC1"])
    with Double(double_pki) as double:
        double.add_mailbox("X26ABC1")
        for how, raised in (
            ("close", (ssl.SSLError, ConnectionError)),
            ("reset", ConnectionError),
            ("alert", ssl.SSLError),
        ):
            double.faults.add(match={}, action=faults.refuse_tls(how))  # type: ignore[arg-type]
            with pytest.raises(raised):
                _ask_over_tls(double, context)
        for name, refused in (("NOBODY.*", False), ("X26ABC1.*", True)):
            double.faults.add(match={"certificate": name}, action=faults.refuse_tls("after_handshake"))
            if refused:
                with pytest.raises(LOST):
                    _ask_over_tls(double, context)
        assert _ask_over_tls(double, context) == 200
        stalled = socket.create_connection(("127.0.0.1", double.port))
        assert _ask_over_tls(double, context) == 200
    stalled.close()
    assert double.errors == []


def test_without_client_certificates_and_with_a_common_name_only(double_pki: Pki) -> None:
    odd = Pki(double_pki.authority, double_pki.authority.server(common_name_only=True), {})
    with Double(odd, client_certificates=False) as double:
        double.add_mailbox("X26ABC1")
        context = client_context(double_pki.authority.certificate_pem)
        context.hostname_checks_common_name = False
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            _ask_over_tls(double, context)
        context.hostname_checks_common_name = True
        assert _ask_over_tls(double, context) == 200


def test_idle_connections_are_closed(double: Double) -> None:
    double.configure(idle_timeout=0.05)
    with socket.create_connection(("127.0.0.1", double.port), timeout=20) as silent:
        assert silent.recv(10) == b""


def test_many_clients_at_once(double: Double) -> None:
    statuses: list[int] = []

    def work(digit: str) -> None:
        caller = Caller(double.port, f"X26ABC{digit}")
        for _ in range(10):
            statuses.append(caller.ask("GET", "inbox").status)
        caller.close()

    threads = [threading.Thread(target=work, args=(digit,)) for digit in "123" * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 120
    assert double.connections == 12


def test_as_a_process(double_pki: Pki, tmp_path: Path) -> None:
    context = client_context(double_pki.authority.certificate_pem, double_pki.clients["X26ABC1"])
    with DoubleProcess(tmp_path, double_pki) as double:
        pid = double.pid
        double.add_mailbox("X26ABC1")
        put = double.put("X26ABC1", b"bytes \x00\xff", headers={"mex-subject": b"\x01"}, sender="Y")
        double.add_fault(match={"route": "list"}, action=faults.status(503, "soap"), times=1)
        caller = Caller(double.port, "X26ABC1", tls=context)
        assert [caller.ask("GET", "inbox").status for _ in range(2)] == [503, 200]
        assert caller.ask("GET", f"inbox/{put.message_id}").body == b"bytes \x00\xff"
        assert caller.ask("PUT", f"inbox/{put.message_id}/status/acknowledged").status == 200
        caller.close()
        info = double.message(put.message_id)
        assert info is not None and info.status == "acknowledged" and double.inbox("X26ABC1") == []
        assert double.content(put.message_id) == b"bytes \x00\xff"
        arrived = double.first_ack_time(put.message_id)
        assert arrived is not None and arrived < time.monotonic()
        assert [record.status for record in double.listings("X26ABC1")] == [503, 200]
        assert (len(double.gets("X26ABC1")), len(double.acks("X26ABC1")), double.overlaps("X26ABC1")) == (
            1,
            1,
            [],
        )
        assert double.stats()["requests"] == 4 and double.errors() == []
        with pytest.raises(RuntimeError, match="KeyError"):
            double.put("NOBODY", b"x")
    assert pid is not None and not Path(f"/proc/{pid}").exists()
    assert len(double.records_file.read_text().splitlines()) == 4


def _wait(check: Any) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)
