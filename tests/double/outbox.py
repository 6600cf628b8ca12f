"""The sending operations: send, send a further chunk, tracking, endpoint lookup, workflow search, ping."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from .answers import Answer, Invalid, Refusal, json_answer
from .routes import Call
from .state import Message

# Names and greatest lengths, as the specification and the sandbox have them.
LIMITS = {
    "mex-to": 100,
    "mex-workflowid": 300,
    "mex-chunk-range": 20,
    "mex-subject": 500,
    "mex-localid": 300,
    "mex-filename": 300,
    "mex-content-checksum": 100,
    "mex-content-type": 100,
    "mex-content-encrypted": 20,
    "mex-content-compressed": 20,
    "mex-partnerid": 500,
}
_KEPT = [name for name in LIMITS if name not in {"mex-to", "mex-workflowid", "mex-chunk-range"}]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RANGE = re.compile(r"([0-9]{1,6}):([0-9]{1,6})")
_CHECKSUM = re.compile(r"[A-Za-z0-9\s:/-]*")


def send(call: Call) -> Answer:
    """Send a message or the first chunk of one."""
    _check_headers(call)
    recipient, failure = _recipient(call)
    if call.body.size == 0:
        raise Refusal(417, "COLLECT", "02", "Data file is missing or inaccessible.")
    total = 1
    if "mex-chunk-range" in call.headers:
        number, total = _range(call)
        if number != 1:
            raise _bad_range()
    with call.state.lock:
        known = call.state.mailboxes.get(recipient) if call.state.settings.enforce_workflows else None
        if known is not None and call.header("mex-workflowid") not in known.workflows:
            raise Refusal(417, "SEND", "17", "Message type not registered for recipient")
        message_id = call.state.new_id()
        metadata: dict[str, str | bytes] = {name: call.header(name) for name in _KEPT if call.header(name)}
        metadata.setdefault("mex-filename", f"{message_id}.dat")
        message = call.state.new_message(
            message_id=message_id,
            sender=call.mailbox,
            recipient=recipient,
            workflow_id=call.header("mex-workflowid"),
            total_chunks=total,
            chunks={1: call.body},
            gzip=call.header("content-encoding").lower() == "gzip",
            content_type=call.header("content-type"),
            metadata=metadata,
            status="uploading",
            routing_failure=failure,
        )
        if total == 1:
            _complete(call, message)
    name = "message_id" if call.version >= 2 else "messageID"
    return json_answer(202, {name: message_id})


def send_chunk(call: Call) -> Answer:
    """Send chunk 2 or a later one. The message appears after the last."""
    number = call.route.chunk_number
    with call.state.lock:
        message = call.state.messages.get(call.route.message_id)
        if message is None or message.message_type == "REPORT":
            raise Refusal(404, "SEND", "20", "Message does not exist", message_id=call.route.message_id)
        if message.sender != call.mailbox:
            raise Refusal(403, "SEND", "", "Message belongs to another mailbox", message_id=message.message_id)
        if message.status != "uploading":
            raise Refusal(
                423,
                "SEND",
                "",
                "Message upload is already finalised",
                message_id=message.message_id,
                reason="finalised",
            )
        if number is None or number < 2:
            raise Invalid([("path", "chunk_number", "must be greater than or equal to 2")])
        if number > message.total_chunks:
            raise Refusal(406, "SEND", "", "Chunk number exceeds the total", message_id=message.message_id)
        if "mex-chunk-range" not in call.headers or _range(call) != (number, message.total_chunks):
            raise _bad_range()
        if (call.header("content-encoding").lower() == "gzip") is not message.gzip:
            raise Refusal(417, "SEND", "", "cannot change content encoding", message_id=message.message_id)
        message.chunks[number] = call.body
        if number == message.total_chunks:
            _complete(call, message)
    if call.version >= 2:
        return json_answer(202, None, version=2)
    return json_answer(202, {"messageID": message.message_id, "blockID": number})


def track(call: Call) -> Answer:
    """Tracking by message id (``messageID``, case-sensitive); only the sender may ask."""
    if "messageID" not in call.route.query:
        raise Invalid([("query", "messageID", "Field required")])
    with call.state.lock:
        message = call.state.messages.get(call.route.message_id)
        if message is None or message.sender != call.mailbox:
            raise Refusal(404, "", "", "Not Found", message_id=call.route.message_id, reason="unknown message")
        return _tracked(call, message)


def track_local(call: Call) -> Answer:
    """The deprecated tracking by local id, v1 only: 300 when several messages carry it."""
    with call.state.lock:
        found = call.state.mailboxes[call.mailbox].sent.get(call.route.local_id, [])
        if not found:
            raise Refusal(404, "", "", "Not Found", reason="unknown local id")
        if len(found) > 1:
            raise Refusal(300, "SEND", "", "Multiple messages match the local id", reason="local id not unique")
        call.version = 1
        return _tracked(call, found[0])


def lookup(call: Call) -> Answer:
    """Endpoint lookup: the mailboxes of an organisation that receive a workflow; may be none."""
    code, workflow = call.route.ods_code, call.route.workflow_id
    with call.state.lock:
        boxes = call.state.mailboxes
        said = call.state.addresses.get((code, workflow))
        if said is not None:
            found = [boxes[one] for one in said]
        else:
            found = [one for one in boxes.values() if one.ods_code == code and workflow in one.workflows and one.active]
    if call.version >= 2:
        results = [{"mailbox_id": one.mailbox_id, "mailbox_name": one.name} for one in found]
        return json_answer(200, {"results": results}, version=2)
    old = [{"address": one.mailbox_id, "description": one.name, "endpoint_type": "MESH"} for one in found]
    return json_answer(200, {"query_id": call.state.new_id(), "results": old})


def search(call: Call) -> Answer:
    """Workflow search: all mailboxes that receive a workflow."""
    with call.state.lock:
        results = [
            {"mailbox_id": mailbox.mailbox_id, "mailbox_name": mailbox.name}
            for mailbox in call.state.mailboxes.values()
            if call.route.workflow_id in mailbox.workflows and mailbox.active
        ]
    return json_answer(200, {"results": results}, version=call.version)


def ping(call: Call) -> Answer:
    """Whether the service runs; needs no token."""
    return json_answer(200, {"env": "double", "build_label": "double", "status": "running", "outcome": "Yes"})


def _check_headers(call: Call) -> None:
    missing = [name for name in ("mex-to", "mex-workflowid") if name not in call.headers]
    long = [name for name, most in LIMITS.items() if len(call.headers.get(name) or "") > most]
    problems = [("header", name, "Field required") for name in missing]
    problems += [("header", name, f"at most {LIMITS[name]} characters") for name in long]
    if problems:
        raise Invalid(problems)
    for name, value in call.headers.items():
        if name.lower().startswith("mex-") and _CONTROL.search(value):
            raise Refusal(400, "TRANSFER", "06", "MalformedControlFile", reason=f"control character in {name}")
    for name in ("mex-to", "mex-workflowid", "mex-content-checksum"):
        if re.match(r"https?://", call.header(name), re.IGNORECASE):
            raise Refusal(400, "TRANSFER", "06", "MalformedControlFile", reason=f"address in {name}")
    if not _CHECKSUM.fullmatch(call.header("mex-content-checksum")):
        raise Refusal(400, "SEND", "Invalid checksum", "Invalid checksum")
    if not call.header("mex-to"):
        raise Refusal(400, "SEND", "08", "TO_DTS missing")
    if call.header("mex-from") not in {"", call.mailbox}:
        raise Refusal(400, "SEND", "07", "From mailbox does not match the authorisation")
    if call.header("mex-messagetype") not in {"", "DATA"}:
        raise Refusal(400, "SEND", "11", "Invalid message type, should be DATA")
    if call.header("content-encoding").lower() not in {"", "gzip"}:
        raise Refusal(422, "SEND", "UnsupportedContentEncoding", "Only gzip is supported")


def _recipient(call: Call) -> tuple[str, str]:
    """The mailbox a message goes to, and the EPL code it will fail with later (empty: none)."""
    address = call.header("mex-to")
    with call.state.lock:
        if address.startswith("GPPROVIDER_"):
            target = call.state.demographics.get(address, "EPL-151")
            return (address, target) if target.startswith("EPL-") else (target, "")
        if address.upper() not in call.state.mailboxes:
            raise Refusal(417, "SEND", "12", "Unregistered to address")
        return address.upper(), ""


def _complete(call: Call, message: Message) -> None:
    if message.routing_failure:
        code = message.routing_failure
        call.state.fail(message, "error", code, "SEND", "Recipient could not be determined")
    else:
        call.state.deliver(message)


def _range(call: Call) -> tuple[int, int]:
    found = _RANGE.fullmatch(call.header("mex-chunk-range"))
    if found is None or int(found[2]) < 1 or int(found[1]) > int(found[2]):
        raise _bad_range()
    return int(found[1]), int(found[2])


def _bad_range() -> Refusal:
    return Refusal(417, "SEND", "InvalidHeaderChunks", "Invalid chunk range")


def _tracked(call: Call, message: Message) -> Answer:
    recipient = call.state.mailboxes.get(message.recipient)
    name, ods = (recipient.name, recipient.ods_code) if recipient is not None else ("", "")
    expires = message.sent_at + timedelta(days=call.state.settings.keep_days)
    failed = message.status in {"undeliverable", "error"}
    if call.version >= 2:
        content: dict[str, Any] = {
            "message_id": message.message_id,
            "local_id": message.text("mex-localid"),
            "workflow_id": message.workflow_id,
            "filename": message.text("mex-filename"),
            "expiry_time": _iso(expires),
            "upload_timestamp": _iso(message.sent_at),
            "recipient": message.recipient,
            "recipient_name": name,
            "recipient_ods_code": ods,
            "recipient_org_code": ods,
            "recipient_org_name": name,
            "status_success": message.status != "error",
            "status": message.status,
            "status_event": message.status_event,
            "status_description": message.status_description,
            "status_code": message.status_code,
        }
        return json_answer(200, {key: value for key, value in content.items() if value != ""}, version=2)
    content = {
        "addressType": "ALL",
        "messageId": message.message_id,
        "localId": message.text("mex-localid") or None,
        "workflowId": message.workflow_id,
        "fileName": message.text("mex-filename"),
        "fileSize": sum(body.size for body in message.chunks.values()),
        "chunkCount": message.total_chunks,
        "contentEncoding": "gzip" if message.gzip else None,
        "messageType": message.message_type,
        "sender": message.sender,
        "recipient": message.recipient,
        "recipientName": name or None,
        "recipientOrgCode": ods or None,
        "meshRecipientOdsCode": ods or None,
        "subject": message.text("mex-subject") or None,
        "status": message.status.title(),
        "statusCode": message.status_code,
        "statusEvent": message.status_event,
        "statusDescription": message.status_description,
        "statusSuccess": "ERROR" if failed else "SUCCESS",
        "statusTimestamp": _old(message.status_at),
        "uploadTimestamp": _old(message.sent_at),
        "expiryTime": _old(expires),
        "downloadTimestamp": _old(message.acknowledged_at),
        "failureDate": _old(message.status_at) if failed else None,
        "failureDiagnostic": message.status_description if failed else None,
        "linkedMsgId": message.linked_message_id or None,
        "version": "1.0",
    }
    return json_answer(200, content)


def _iso(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat()


def _old(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y%m%d%H%M%S}"
