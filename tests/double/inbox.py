"""The receiving operations: handshake, listing, HEAD, download, acknowledge, count."""

from __future__ import annotations

import base64
import binascii
import json
from urllib.parse import urlencode

from .answers import Answer, Invalid, Refusal, json_answer
from .bodies import Body, Memory, Synthetic, compress, decompress
from .routes import BASE, Call
from .state import Message

AUDIT_HEADERS = ("mex-ClientVersion", "mex-OSName", "mex-OSVersion")


def handshake(call: Call) -> Answer:
    """Validate a mailbox; the audit headers are required."""
    missing = [name for name in AUDIT_HEADERS if not call.header(name)]
    if missing:
        raise Invalid([("header", name.lower(), "Field required") for name in missing])
    with call.state.lock:
        call.state.mailboxes[call.mailbox].handshakes += 1
    return Answer(200) if call.version >= 2 else json_answer(200, {"mailboxId": call.mailbox})


def list_inbox(call: Call) -> Answer:
    """Check an inbox. A filtered page may be empty although more follow, as the specification allows."""
    query = call.route.query
    size = _page_size(query.get("max_results"))
    wanted = query.get("workflow_filter")
    if wanted is not None and not 2 <= len(wanted) <= 255:
        raise Invalid([("query", "workflow_filter", "length must be from 2 to 255")])
    token = query.get("continue_from")
    with call.state.lock:
        box = call.state.mailboxes[call.mailbox].inbox
        after = _position(call, token, box) if token is not None else 0
        waiting = [message for number, message in box.items() if number > after]
        approximate = len(box)
    page, more = waiting[:size], len(waiting) > size
    ids = [message.message_id for message in page if _matches(message.workflow_id, wanted)]
    if call.version < 2:
        return json_answer(200, {"messages": ids})
    path = f"{BASE}/{call.mailbox}/inbox"
    links = {"self": path + (f"?{urlencode(query)}" if query else "")}
    if page and (more or call.state.settings.next_on_last_page):
        following = {**query, "max_results": str(size), "continue_from": _token(page[-1].sequence)}
        links["next"] = f"{path}?{urlencode(following)}"
    content = {"messages": ids, "links": links, "approx_inbox_count": approximate}
    return json_answer(200, content, version=2)


def count(call: Call) -> Answer:
    """The deprecated count."""
    with call.state.lock:
        number = len(call.state.mailboxes[call.mailbox].inbox)
    if call.version >= 2:
        return json_answer(200, {"count": number}, version=2)
    return json_answer(200, {"count": number, "internalID": call.state.new_id(), "allResultsIncluded": True})


def head(call: Call) -> Answer:
    """A message's headers. The sender may ask too."""
    with call.state.lock:
        message = _find(call)
        if call.mailbox not in {message.recipient, message.sender}:
            raise _unknown(call)
        if call.mailbox == message.recipient:
            _readable(call, message)
        answer = _downloaded(call, message, 1)
    answer.status = 200
    return answer


def get(call: Call) -> Answer:
    """A message's body, or one chunk of it: 206 while more follow, 200 for the last."""
    number = 1
    if call.route.name == "get_chunk":
        wanted = call.route.chunk_number
        if wanted is None or wanted < 1:
            raise Invalid([("path", "chunk_number", "must be greater than or equal to 1")])
        number = wanted
    with call.state.lock:
        message = _find(call)
        if message.recipient != call.mailbox:
            raise Refusal(403, "RECEIVE", "", "Message belongs to another mailbox", message_id=message.message_id)
        _readable(call, message)
        message.downloads += 1
    return _downloaded(call, message, number)


def acknowledge(call: Call) -> Answer:
    """Take a message out of the inbox for good."""
    with call.state.lock:
        message = _find(call)
        if message.recipient != call.mailbox:
            raise Refusal(403, "RECEIVE", "", "Message belongs to another mailbox", message_id=message.message_id)
        repeated = message.status == "acknowledged"
        call.state.acknowledge(message)
        status = call.state.settings.repeat_acknowledge if repeated else 200
    if status != 200:
        raise Refusal(status, "RECEIVE", "", "Message already acknowledged", message_id=message.message_id)
    return Answer(200) if call.version >= 2 else json_answer(200, {"messageId": message.message_id})


def _find(call: Call) -> Message:
    message = call.state.messages.get(call.route.message_id)
    if message is None:
        raise _unknown(call)
    return message


def _unknown(call: Call) -> Refusal:
    return Refusal(404, "RECEIVE", "20", "Message does not exist", message_id=call.route.message_id)


def _readable(call: Call, message: Message) -> None:
    if message.status == "acknowledged":
        status = call.state.settings.after_acknowledge
        if status == 404:
            raise _unknown(call)
        if status != 200:
            raise Refusal(
                status,
                "RECEIVE",
                "",
                "Message already acknowledged",
                message_id=message.message_id,
                reason="read after acknowledgement",
            )
    elif message.status != "accepted":
        raise Refusal(
            410,
            "RECEIVE",
            "Message already accepted",
            "Message no longer available for download",
            message_id=message.message_id,
            reason=f"read while {message.status}",
        )


def _downloaded(call: Call, message: Message, number: int) -> Answer:
    answer = Answer(206 if number < message.total_chunks else 200)
    for name, value in message_headers(message, number).items():
        if value not in {"", b""}:
            answer.headers.append((name if call.version >= 2 else name.title(), value))
    if message.message_type != "REPORT":
        body = message.chunks.get(number)
        if body is None:
            raise Refusal(404, "RECEIVE", "20", "Chunk does not exist", message_id=message.message_id)
        _encode(call, message, body, answer)
    plain = message.content_type if call.version >= 2 and message.total_chunks == 1 else ""
    answer.set_header("content-type", plain or "application/octet-stream")
    answer.set_header("etag", f'"{message.message_id}"')
    stamp = message.status_at or message.sent_at
    answer.set_header("last-modified", f"{stamp:%a, %d %b %Y %H:%M:%S} GMT")
    for name, override in message.overrides.items():
        answer.set_header(name, override)
    return answer


def _encode(call: Call, message: Message, body: Body, answer: Answer) -> None:
    packed = message.gzip and call.accepts_gzip
    if message.gzip and not packed:
        try:
            body = decompress(body)
        except ValueError as error:
            raise Refusal(500, "", "", "An internal error occurred", reason=f"stored gzip: {error}") from error
    elif not packed and _worth_packing(call, body):
        body, packed = compress(body), True
    if packed:
        answer.set_header("content-encoding", "gzip")
        answer.set_header("mex-content-compressed", "Y")
    answer.body = body


def _worth_packing(call: Call, body: Body) -> bool:
    """Plain bodies are compressed for v2 clients that accept it, but large random ones are not worth the time."""
    if not (call.accepts_gzip and call.version >= 2 and call.state.settings.compress_downloads):
        return False
    return isinstance(body, Memory) or (isinstance(body, Synthetic) and body.pattern == "zeros")


def message_headers(message: Message, number: int) -> dict[str, str | bytes]:
    """The Mex headers of a message or of one of its chunks; empty ones are not sent."""
    report = message.message_type == "REPORT"
    return {
        **message.metadata,
        "mex-from": message.sender,
        "mex-to": message.recipient,
        "mex-workflowid": message.workflow_id,
        "mex-chunk-range": f"{number}:{message.total_chunks}",
        "mex-total-chunks": str(message.total_chunks),
        "mex-addresstype": "ALL",
        "mex-messagetype": message.message_type,
        "mex-messageid": message.message_id,
        "mex-linkedmsgid": message.linked_message_id,
        "mex-version": "1.0",
        "mex-statuscode": message.status_code,
        "mex-statusevent": message.status_event,
        "mex-statusdescription": message.status_description,
        "mex-statussuccess": "ERROR" if report else "SUCCESS",
        "mex-statustimestamp": f"{message.sent_at:%Y%m%d%H%M%S}",
    }


def _page_size(given: str | None) -> int:
    if given is None:
        return 500
    if not (given.isascii() and given.isdigit() and 10 <= int(given) <= 5000):
        raise Invalid([("query", "max_results", "must be from 10 to 5000")])
    return int(given)


def _token(sequence: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"after": sequence, "v": 1}).encode().ljust(30)).decode()


def _position(call: Call, token: str, box: dict[int, Message]) -> int:
    if not 24 <= len(token) <= 1000:
        raise Invalid([("query", "continue_from", "length must be from 24 to 1000")])
    if call.version < 2:
        last = call.state.messages.get(token)
        if last is None or last.recipient != call.mailbox:
            raise Refusal(400, "", "", "Invalid continuation", reason="unknown continue_from")
        after = last.sequence
    else:
        try:
            after = int(json.loads(base64.urlsafe_b64decode(token))["after"])
        except (binascii.Error, ValueError, KeyError, TypeError):
            raise Refusal(400, "", "", "Invalid continuation token", reason="bad continue_from") from None
    return 0 if call.state.settings.token_restarts and after not in box else after


def _matches(workflow_id: str, wanted: str | None) -> bool:
    if wanted is None:
        return True
    negative = wanted.startswith("!")
    pattern = wanted[1:] if negative else wanted
    if pattern.startswith("*"):
        # The sandbox drops the last character of every such pattern, the trailing star or not.
        found = pattern[1:-1] in workflow_id
    elif pattern.endswith("*"):
        found = workflow_id.startswith(pattern[:-1])
    else:
        found = workflow_id == pattern
    return found is not negative
