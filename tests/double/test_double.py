"""The double serves and refuses as the MESH service does."""

from __future__ import annotations

import gzip
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from .bodies import Synthetic, gunzip_blocks
from .caller import AUDIT, V1, Caller, token
from .facade import Double

NONCE = "00000000-0000-4000-8000-000000000001"


def test_handshake(one: Caller) -> None:
    assert one.ask("POST", "", headers=AUDIT).body == b""
    old = one.ask("GET", "", headers={**AUDIT, "Accept": V1})
    assert (old.status, old.json) == (200, {"mailboxId": "X26ABC1"})
    bare = one.ask("POST", "")
    assert bare.status == 400
    assert [problem["loc"][1] for problem in bare.json["detail"]] == [name.lower() for name in AUDIT]


def test_published_token_is_accepted_once_and_only_near_its_time(double: Double, one: Caller) -> None:
    header = f"NHSMESH X26ABC1:{NONCE}:0:202601021530:0fa9d5cce7f431f8c21c313736a45e734affbd5a2222b95efdfa49f1131a691f"
    assert one.ask("GET", "inbox", auth=header).status == 403
    assert double.recorder.records()[-1].reason == "token outside the time window"
    double.clock.freeze(datetime(2026, 1, 2, 13, 30, tzinfo=UTC))
    answer = one.ask("GET", "inbox", auth=header)
    assert (answer.status, answer.headers["Date"]) == (200, "Fri, 02 Jan 2026 13:30:00 GMT")
    replay = one.ask("GET", "inbox", auth=header)
    assert (replay.status, replay.msg) == (403, "Error Duplicated Authentication Token")
    assert one.ask("GET", "inbox", auth=token("X26ABC1", nonce=NONCE, count=1, at=double.clock.now())).status == 200


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        ("", "malformed token"),
        ("Bearer x", "malformed token"),
        (f"NHSMESH X26ABC1:{NONCE}:x:202601021530:{'0' * 64}", "malformed token"),
        (token("X26ABC1", nonce="not-a-guid"), "malformed token"),
        (token("X26ABC2"), "token of another mailbox"),
        (token("x26abc1"), "token of another mailbox"),
        (token("X26ABC1", password="wrong"), "wrong password or key"),
        (token("X26ABC1", key="wrong"), "wrong password or key"),
        (
            token("X26ABC1", at=datetime.now(UTC) - timedelta(hours=2, minutes=2)),
            "token outside the time window",
        ),
        (token("X26ABC1", at=datetime.now(UTC) + timedelta(hours=3)), "token outside the time window"),
    ],
)
def test_tokens_refused(double: Double, one: Caller, auth: str, reason: str) -> None:
    assert one.ask("GET", "inbox", auth=auth).status == 403
    assert double.recorder.records()[-1].reason == reason


def test_mailboxes_refused(double: Double) -> None:
    stranger = Caller(double.port, "NOBODY1")
    unknown = stranger.ask("GET", "inbox")
    assert (unknown.status, unknown.code) == (403, "EPL-151")
    double.configure(unknown_mailbox_status=200)
    hidden = stranger.ask("POST", "", headers={**AUDIT, "Accept": V1})
    assert (hidden.status, hidden.json["errorCode"]) == (200, "EPL-151")
    stranger.close()
    double.update_mailbox("X26ABC1", active=False)
    inactive = Caller(double.port, "X26ABC1")
    assert inactive.ask("GET", "inbox").msg == "Request Received from Inactive Mailbox"
    inactive.close()


def test_listing_pages_and_filters(double: Double, one: Caller) -> None:
    ids = [double.put("X26ABC1", b"x", workflow_id="WANTED" if number >= 12 else "OTHER").message_id for number in range(25)]
    seen: list[str] = []
    sizes = []
    path = "/messageexchange/X26ABC1/inbox?max_results=10"
    while path:
        page = one.ask("GET", path).json
        assert page["approx_inbox_count"] == 25
        seen += page["messages"]
        sizes.append(len(page["messages"]))
        path = page["links"].get("next", "")
    assert (seen, sizes) == (ids, [10, 10, 5])
    first = one.ask("GET", "inbox?max_results=10&workflow_filter=WANTED").json
    assert first["messages"] == []
    following = parse_qs(urlsplit(first["links"]["next"]).query)
    assert following["workflow_filter"] == ["WANTED"]
    assert one.ask("GET", "inbox?workflow_filter=%21W%2A").json["messages"] == ids[:12]
    assert one.ask("GET", "inbox?workflow_filter=%2AANTE%2A").json["messages"] == ids[12:]
    old = one.ask("GET", f"inbox?max_results=10&continue_from={ids[9]}", headers={"Accept": V1})
    assert old.json == {"messages": ids[10:20]}
    for bad in (
        "max_results=9",
        "max_results=5001",
        "max_results=x",
        "continue_from=short",
        "workflow_filter=W",
    ):
        assert one.ask("GET", f"inbox?{bad}").status == 400
    assert one.ask("GET", f"inbox?continue_from={'A' * 30}").status == 400
    double.configure(token_restarts=True, next_on_last_page=True)
    link = one.ask("GET", "inbox?max_results=10").json["links"]["next"]
    assert one.ask("PUT", f"inbox/{ids[9]}/status/acknowledged").status == 200
    restarted = one.ask("GET", link).json
    assert restarted["messages"][0] == ids[0]
    assert "next" in one.ask("GET", "inbox").json["links"]


def test_download_of_chunks(double: Double, one: Caller, two: Caller, three: Caller) -> None:
    put = double.put("X26ABC1", b"0123456789", chunks=3, sender="X26ABC2", content_type="text/plain", subject="s")
    whole = b""
    for number, status in ((1, 206), (2, 206), (3, 200)):
        path = f"inbox/{put.message_id}" + (f"/{number}" if number > 1 else "")
        part = one.ask("GET", path)
        assert (part.status, part.headers["mex-chunk-range"]) == (status, f"{number}:3")
        whole += part.body
    assert (hashlib.sha256(whole).hexdigest(), len(whole)) == (put.sha256, put.size)
    assert one.ask("GET", f"inbox/{put.message_id}/0").status == 400
    assert one.ask("GET", f"inbox/{put.message_id}/4").status == 404
    assert two.ask("GET", f"inbox/{put.message_id}").status == 403
    assert one.ask("GET", "inbox/20200101000000000000_ABCDEF").code == "20"
    head = one.ask("HEAD", f"inbox/{put.message_id}")
    assert (head.status, head.headers["mex-chunk-range"], head.body) == (200, "1:3", b"")
    assert two.ask("HEAD", f"inbox/{put.message_id}").status == 200
    assert three.ask("HEAD", f"inbox/{put.message_id}").status == 404
    info = double.message(put.message_id)
    assert info is not None and info.status == "accepted" and info.downloads == 4


def test_compression_follows_the_published_table(double: Double, one: Caller) -> None:
    plain = double.put("X26ABC1", b"abc" * 100).message_id
    packed = double.put("X26ABC1", b"abc" * 100, gzip=True).message_id
    for message_id, accept, gzipped in (
        (plain, {}, False),
        (plain, {"Accept-Encoding": "gzip"}, True),
        (plain, {"Accept-Encoding": "gzip", "Accept": V1}, False),
        (packed, {}, False),
        (packed, {"Accept-Encoding": "gzip"}, True),
        (packed, {"Accept-Encoding": "gzip", "Accept": V1}, True),
    ):
        answer = one.ask("GET", f"inbox/{message_id}", headers=accept)
        assert (answer.headers["Content-Encoding"] == "gzip") is gzipped
        assert (answer.headers["Mex-Content-Compressed"] == "Y") is gzipped
        assert (gzip.decompress(answer.body) if gzipped else answer.body) == b"abc" * 100


@pytest.mark.parametrize("how", ["cut", "garbage", "trailing", "crc"])
def test_damaged_gzip(double: Double, one: Caller, how: str) -> None:
    put = double.put("X26ABC1", b"abc" * 1000, corrupt=how)
    assert one.ask("GET", f"inbox/{put.message_id}").status == 500
    raw = one.ask("GET", f"inbox/{put.message_id}", headers={"Accept-Encoding": "gzip"})
    assert (raw.status, raw.headers["Content-Length"]) == (200, str(len(raw.body)))
    with pytest.raises(ValueError, match=r".+"):
        b"".join(gunzip_blocks([raw.body]))


def test_unusual_bodies(double: Double, one: Caller) -> None:
    members = double.put("X26ABC1", b"abc" * 1000, corrupt="multi")
    raw = one.ask("GET", f"inbox/{members.message_id}", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(raw.body) == b"abc" * 1000
    holed = double.put("X26ABC1", b"abc", chunks=3, corrupt="missing_chunk")
    assert one.ask("GET", f"inbox/{holed.message_id}/2").status == 206
    assert one.ask("GET", f"inbox/{holed.message_id}/3").status == 404
    large = double.put("X26ABC1", Synthetic((5 << 20) + 123), chunks=3)
    got = hashlib.sha256()
    for number in (1, 2, 3):
        got.update(one.ask("GET", f"inbox/{large.message_id}/{number}").body)
    assert (got.hexdigest(), large.size) == (large.sha256, (5 << 20) + 123)
    bomb = double.put("X26ABC1", Synthetic(20 << 20, pattern="zeros"), gzip=True)
    assert len(one.ask("GET", f"inbox/{bomb.message_id}", headers={"Accept-Encoding": "gzip"}).body) < 100_000
    assert len({put.sha256 for put in double.put_many("X26ABC1", 3, size=20)}) == 3


def test_hostile_headers(double: Double, one: Caller) -> None:
    put = double.put(
        "X26ABC1",
        b"x",
        subject="<script>alert(1)</script>",
        local_id="=cmd|' /C calc'!A0",
        file_name="../../etc/passwd",
        workflow_id="W" * 300,
        headers={"mex-partnerid": b"tab\there \x01 \xe9", "mex-from": None, "mex-chunk-range": None},
    )
    headers = one.ask("GET", f"inbox/{put.message_id}").headers
    assert headers["mex-subject"] == "<script>alert(1)</script>"
    assert headers["mex-localid"] == "=cmd|' /C calc'!A0"
    assert headers["mex-filename"] == "../../etc/passwd"
    assert headers["mex-workflowid"] == "W" * 300
    assert headers["mex-partnerid"].encode("latin-1") == b"tab\there \x01 \xe9"
    assert "mex-from" not in headers and "mex-chunk-range" not in headers
    with pytest.raises(ValueError, match="line end"):
        double.put("X26ABC1", b"x", subject="a\r\nInjected: 1")


def test_acknowledge(double: Double, one: Caller, two: Caller) -> None:
    put = double.put("X26ABC1", b"x")
    path = f"inbox/{put.message_id}"
    assert two.ask("PUT", f"{path}/status/acknowledged").status == 403
    assert one.ask("PUT", "inbox/NOSUCH/status/acknowledged").status == 404
    assert one.ask("PUT", f"{path}/status/acknowledged").body == b""
    assert one.ask("GET", "inbox").json["messages"] == []
    for method in ("GET", "HEAD"):
        assert one.ask(method, path).status == 410
    double.configure(after_acknowledge=404, repeat_acknowledge=410)
    assert one.ask("GET", path).status == 404
    assert one.ask("PUT", f"{path}/status/acknowledged").status == 410
    double.configure(repeat_acknowledge=200)
    old = one.ask("PUT", f"{path}/status/acknowledged", headers={"Accept": V1})
    assert (old.status, old.json) == (200, {"messageId": put.message_id})
    info = double.message(put.message_id)
    assert info is not None and (info.status, info.acknowledgements) == ("acknowledged", 3)
    assert [record.status for record in double.recorder.acks("X26ABC1")] == [404, 200, 410, 200]
    assert double.recorder.first_ack_time(put.message_id) is not None


def test_report(double: Double, one: Caller) -> None:
    put = double.put("X26ABC1", subject="NDR: s", report={"code": "12", "linked_message_id": "ABC"})
    answer = one.ask("GET", f"inbox/{put.message_id}")
    assert (answer.status, answer.body, answer.headers["mex-chunk-range"]) == (200, b"", "1:0")
    named = {name: answer.headers[f"mex-{name}"] for name in ("messagetype", "statuscode", "statussuccess")}
    assert named == {"messagetype": "REPORT", "statuscode": "12", "statussuccess": "ERROR"}
    assert (answer.headers["mex-linkedmsgid"], answer.headers["mex-from"]) == ("ABC", None)
    assert one.ask("PUT", f"inbox/{put.message_id}/status/acknowledged").status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Mex_To": b""}, b"x", 400, None),
        ({"Mex_WorkflowID": b""}, b"x", 400, None),
        ({"Mex_Subject": "s" * 501}, b"x", 400, None),
        ({"Mex_To": " "}, b"x", 400, "08"),
        ({"Mex_To": "NOBODY"}, b"x", 417, "12"),
        ({}, b"", 417, "02"),
        ({"Content_Encoding": "br"}, b"x", 422, "UnsupportedContentEncoding"),
        ({"Mex_Chunk_Range": "2:3"}, b"x", 417, "InvalidHeaderChunks"),
        ({"Mex_Chunk_Range": "one"}, b"x", 417, "InvalidHeaderChunks"),
        ({"Mex_Subject": "a\tb"}, b"x", 400, "06"),
        ({"Mex_LocalID": b"a\x01b"}, b"x", 400, "06"),
        ({"Mex_WorkflowID": "https://example.org"}, b"x", 400, "06"),
        ({"Mex_Content_Checksum": "sum!"}, b"x", 400, "Invalid checksum"),
        ({"Mex_From": "X26ABC2"}, b"x", 400, "07"),
        ({"Mex_MessageType": "REPORT"}, b"x", 400, "11"),
        ({"Mex_WorkflowID": "UNKNOWN"}, b"x", 417, "17"),
    ],
)
def test_sends_refused(double: Double, one: Caller, headers: dict[str, Any], body: bytes, status: int, code: str | None) -> None:
    double.configure(enforce_workflows=True)
    answer = one.send(body, **headers)
    assert answer.status == status
    if code is None:
        assert "loc" in answer.json["detail"][0]
    else:
        assert answer.code == code
    assert double.sent_by("X26ABC1") == []
    assert one.ask("GET", "inbox").status == 200


def test_body_limits(double: Double, one: Caller) -> None:
    double.configure(max_body=2_000_000)
    assert one.send(b"x" * 2_000_001).status == 413
    sent = one.send(b"x" * 2_000_000)
    assert sent.status == 202
    assert double.content(sent.json["message_id"]) == b"x" * 2_000_000
    generator: Any = iter([b"some ", b"bytes"])
    assert one.send(generator).status == 411
    double.configure(transfer_chunked=True)
    again: Any = iter([b"some ", b"bytes"])
    assert double.content(one.send(again).json["message_id"]) == b"some bytes"


def test_chunked_send(double: Double, one: Caller, two: Caller, three: Caller) -> None:
    parts = [gzip.compress(part) for part in (b"one", b"two", b"three")]
    message_id = one.send(parts[0], Mex_Chunk_Range="1:3", Content_Encoding="gzip", Mex_LocalID="L1").json["message_id"]

    def chunk(number: int, body: bytes, *, caller: Caller = one, stated: str = "", encoding: str = "gzip") -> int:
        headers = {"Mex-Chunk-Range": stated or f"{number}:3", "Content-Encoding": encoding}
        return caller.ask("POST", f"outbox/{message_id}/{number}", body=body, headers=headers).status

    assert two.ask("GET", "inbox").json["messages"] == []
    assert two.ask("GET", f"inbox/{message_id}").status == 410
    assert one.ask("GET", f"outbox/tracking?messageID={message_id}").json["status"] == "uploading"
    assert chunk(2, parts[1], stated="3:3") == 417
    assert chunk(2, parts[1], stated="2:4") == 417
    assert chunk(2, parts[1], encoding="") == 417
    assert chunk(2, parts[1], caller=three) == 403
    assert chunk(4, parts[1], stated="4:4") == 406
    assert one.ask("POST", "outbox/NOSUCH/2", body=b"x", headers={"Mex-Chunk-Range": "2:3"}).status == 404
    assert chunk(2, b"damaged") == 202
    assert chunk(2, parts[1]) == 202
    assert chunk(3, parts[2]) == 202
    assert chunk(3, parts[2]) == 423
    assert two.ask("GET", "inbox").json["messages"] == [message_id]
    assert double.content(message_id) == b"onetwothree"
    assert double.content_digest(message_id) == hashlib.sha256(b"onetwothree").hexdigest()


def test_tracking(double: Double, one: Caller, two: Caller) -> None:
    message_id = one.send(Mex_LocalID="L1").json["message_id"]
    assert len(message_id) == 27 and message_id[20] == "_" and message_id[:20].isdigit()
    assert one.ask("GET", f"outbox/tracking?messageID={message_id}").json["status"] == "accepted"
    assert two.ask("GET", f"outbox/tracking?messageID={message_id}").status == 404
    assert one.ask("GET", f"outbox/tracking?messageid={message_id}").status == 400
    assert one.ask("GET", "outbox/tracking/L1", headers={"Accept": V1}).json["messageId"] == message_id
    assert one.ask("GET", "outbox/tracking/L9", headers={"Accept": V1}).status == 404
    two.ask("PUT", f"inbox/{message_id}/status/acknowledged")
    old = one.ask("GET", f"outbox/tracking?messageID={message_id}", headers={"Accept": V1}).json
    assert (old["status"], len(old["downloadTimestamp"]), old["fileSize"]) == ("Acknowledged", 14, 6)
    one.send(Mex_LocalID="L1")
    assert one.ask("GET", "outbox/tracking/L1", headers={"Accept": V1}).status == 300


def test_lookups(double: Double, one: Caller) -> None:
    path = "/messageexchange/endpointlookup/X26/TEST_WORKFLOW"
    assert [found["mailbox_id"] for found in one.ask("GET", path).json["results"]] == ["X26ABC1", "X26ABC2"]
    old = one.ask("GET", path, headers={"Accept": V1}).json["results"][0]
    assert (old["address"], old["endpoint_type"]) == ("X26ABC1", "MESH")
    assert one.ask("GET", "/messageexchange/endpointlookup/x26/TEST_WORKFLOW").json["results"] == []
    found = one.ask("GET", "/messageexchange/workflowsearch/TEST_WORKFLOW").json["results"]
    assert [each["mailbox_id"] for each in found] == ["X26ABC1", "X26ABC2", "X26ABC3"]
    double.update_mailbox("X26ABC2", workflows=[])
    assert [each["mailbox_id"] for each in one.ask("GET", path).json["results"]] == ["X26ABC1"]
    assert one.ask("GET", path, auth="").status == 403
    double.configure(lookup_needs_token=False)
    assert one.ask("GET", path, auth="").status == 200
    assert one.ask("GET", "/messageexchange/_ping", auth="").json["status"] == "running"
    assert one.ask("GET", "/elsewhere", auth="").status == 404
    assert one.ask("GET", "count").json == {"count": 0}


def test_patient_routing_fails_later(double: Double, one: Caller, two: Caller) -> None:
    double.route_patient("GPPROVIDER_9000000009_01011970_Good", "X26ABC2")
    assert one.send(Mex_To="GPPROVIDER_9000000009_01011970_Good").status == 202
    assert len(two.ask("GET", "inbox").json["messages"]) == 1
    lost = one.send(Mex_To="GPPROVIDER_9000000009_01011970_Bad").json["message_id"]
    report = one.ask("GET", f"inbox/{double.inbox('X26ABC1')[0]}").headers
    assert (report["mex-statuscode"], report["mex-linkedmsgid"]) == ("EPL-151", lost)


def test_messages_age(double: Double, one: Caller, two: Caller) -> None:
    message_id = one.send(Mex_Subject="hello", Mex_LocalID="L1").json["message_id"]
    double.age(days=4.99)
    assert double.inbox("X26ABC2") == [message_id]
    double.age(days=0.02)
    assert two.ask("GET", "inbox").json["messages"] == []
    assert two.ask("GET", f"inbox/{message_id}").status == 410
    assert one.ask("GET", f"outbox/tracking?messageID={message_id}").json["status"] == "undeliverable"
    (report,) = one.ask("GET", "inbox").json["messages"]
    headers = one.ask("GET", f"inbox/{report}").headers
    assert (headers["mex-statuscode"], headers["mex-linkedmsgid"]) == ("14", message_id)
    assert (headers["mex-subject"], headers["mex-localid"]) == ("NDR: hello", "L1")
    double.age(days=25)
    assert two.ask("GET", f"inbox/{message_id}").status == 404
    double.advance(hours=3)
    assert one.ask("GET", "inbox").status == 403
    assert one.ask("GET", "inbox", auth=token("X26ABC1", at=double.clock.now())).status == 200
    double.set_clock(datetime.now(UTC))
    assert one.ask("GET", "inbox").status == 200


def test_deactivated_recipient_and_withdrawal(double: Double, one: Caller) -> None:
    double.update_mailbox("X26ABC2", active=False)
    first = one.send().json["message_id"]
    double.update_mailbox("X26ABC2", active=True)
    second = one.send().json["message_id"]
    double.withdraw(second, status="error", code="17")
    found = [one.ask("HEAD", f"inbox/{each}").headers for each in double.inbox("X26ABC1")]
    assert [(each["mex-statuscode"], each["mex-linkedmsgid"]) for each in found] == [
        ("14", first),
        ("17", second),
    ]
