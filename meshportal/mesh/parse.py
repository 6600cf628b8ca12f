"""Reading what MESH, and what stands in front of it, may answer. Nothing here raises except where it says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.sax.saxutils import unescape

RAW_LIMIT = 1000
_RANGE = re.compile(r"\s*([0-9]{1,6})\s*:\s*([0-9]{1,6})\s*")
_NUMBER = re.compile(r"\s*([0-9]{1,18})\s*")
_COMPACT = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2}(?:[0-9]{1,6})?)?)?")
# No part of these can run past the next "<": an answer is anybody's, and must not cost more than its length.
_UNSEEN = re.compile(r"<(?:script|style)\b", re.IGNORECASE)
_SEEN_AGAIN = re.compile(r"</(?:script|style)\b", re.IGNORECASE)
_FAULT = re.compile(r"<(?:[\w-]+:)?(?:faultstring|Text|Reason)\b[^<>]*>([^<]*)</")
_YES = frozenset({"y", "yes", "true", "1", "success"})
_NO = frozenset({"n", "no", "false", "0", "error"})


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error body says. ``kind``: v1, v2, validation, text (a JSON string), xml, html, raw or empty.

    ``description`` of the last kinds is the body's own text without markup, cut to 1,000 characters.
    """

    kind: str
    event: str = ""
    code: str = ""
    description: str = ""
    message_id: str = ""

    @property
    def is_mesh(self) -> bool:
        """Whether MESH itself wrote it, in one of its shapes."""
        return self.kind in ("v1", "v2", "validation", "text")


def parse_error(body: bytes) -> ErrorBody:
    """The meaning of an error body of any shape (MESH API specification, MeshError and HTTPValidationError)."""
    text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    if not text:
        return ErrorBody("empty")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return _markup(text)
    if isinstance(content, str):
        return ErrorBody("text", description=content[:RAW_LIMIT])
    if isinstance(content, Mapping):
        return _from_json(content) or ErrorBody("raw", description=_shown(text))
    return ErrorBody("raw", description=_shown(text))


def error_in(content: Any) -> ErrorBody | None:
    """The error that a JSON answer is, or None when it is not one."""
    return _from_json(content) if isinstance(content, Mapping) else None


def _from_json(content: Mapping[str, Any]) -> ErrorBody | None:
    message_id = _string(content.get("message_id") or content.get("messageID") or content.get("messageId"))
    if any(content.get(name) for name in ("errorDescription", "errorCode", "errorEvent")):
        return ErrorBody(
            "v1",
            event=_string(content.get("errorEvent")),
            code=_string(content.get("errorCode")),
            description=_string(content.get("errorDescription")),
            message_id=message_id,
        )
    detail = content.get("detail")
    if isinstance(detail, str):
        return ErrorBody("text", description=detail[:RAW_LIMIT], message_id=message_id)
    if isinstance(detail, Mapping):
        detail = [detail]
    if isinstance(detail, list):
        items = [item for item in detail if isinstance(item, Mapping)]
        if any("loc" in item for item in items):
            # Never "input", which pydantic adds: it repeats what was sent.
            said = "; ".join(_located(item) for item in items)
            return ErrorBody("validation", code="validation", description=said[:RAW_LIMIT], message_id=message_id)
        if items:
            return ErrorBody(
                "v2",
                event=_string(items[0].get("event")),
                code=_string(items[0].get("code")),
                description="; ".join(filter(None, (_string(item.get("msg")) for item in items)))[:RAW_LIMIT],
                message_id=message_id,
            )
    message = content.get("message")
    if isinstance(message, str):
        return ErrorBody("text", description=message[:RAW_LIMIT], message_id=message_id)
    return None


def _located(item: Mapping[str, Any]) -> str:
    place = item.get("loc")
    where = ".".join(_string(part) for part in place) if isinstance(place, list) else ""
    return f"{where}: {_string(item.get('msg'))}".strip(": ")


def _markup(text: str) -> ErrorBody:
    start = text[:200].lower()
    if "<html" in start or start.startswith("<!doctype html"):
        return ErrorBody("html", description=_shown(_plain(text)))
    if start.startswith("<"):
        fault = _FAULT.search(text)
        return ErrorBody("xml", description=_shown(_plain(fault[1] if fault else text)))
    return ErrorBody("raw", description=_shown(text))


def _plain(markup: str) -> str:
    return unescape(" ".join(" ".join(_between_tags(markup)).split()))


def _between_tags(markup: str) -> Iterator[str]:
    at = 0
    while (start := markup.find("<", at)) >= 0:
        yield markup[at:start]
        if _UNSEEN.match(markup, start):
            again = _SEEN_AGAIN.search(markup, start)
            start = again.start() if again else len(markup)
        mark = "-->" if markup.startswith("<!--", start) else ">"
        end = markup.find(mark, start)
        if end < 0:
            return  # cut in the middle of a tag
        at = end + len(mark)
    yield markup[at:]


def _shown(text: str) -> str:
    return text[:RAW_LIMIT]


def _string(value: Any) -> str:
    return "" if value is None else as_text(value)[:RAW_LIMIT]


def as_text(value: Any) -> str:
    """``value`` as text; empty where Python has none: for whole numbers of thousands of digits, and nests too deep."""
    try:
        return str(value)
    except (ValueError, RecursionError):
        return ""


def parse_chunk_range(text: str) -> tuple[int, int] | None:
    """``k:n`` as numbers; None when it is neither. A report's ``1:0`` is (1, 0)."""
    found = _RANGE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def whole_number(value: Any) -> int | None:
    """A number that is not negative, from a number or its digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) if found else None


def flag(value: Any) -> bool | None:
    """Y, TRUE, SUCCESS and the like as a boolean; None when it is missing or means neither."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    return True if word in _YES else False if word in _NO else None


def timestamp(value: Any) -> datetime | None:
    """A MESH time as UTC: ``yyyyMMddHHmmss`` or ISO 8601. Both are UTC where they name no zone; None if unreadable."""
    text = value.strip() if isinstance(value, str) else as_text(value) if type(value) is int else ""
    try:
        if _COMPACT.fullmatch(text):
            return datetime.strptime(text[:14].ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def http_date(value: str | None) -> datetime | None:
    """An HTTP date as UTC; None if unreadable."""
    try:
        moment = parsedate_to_datetime(value or "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, a number or a date; None when there is none to read."""
    seconds = whole_number(value)
    if seconds is not None:
        return float(seconds)
    moment = http_date(value)
    return None if moment is None else max(0.0, (moment - now).total_seconds())
