"""One JSON document to one address, through the portal's one guard for outbound calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from meshportal.core import outbound
from meshportal.notify.transports.failure import Failed

# Refusals that say "not now".
_NOT_NOW = frozenset({408, 425, 429})
_LONGEST_WAIT = timedelta(hours=6)


def encoded(document: Mapping[str, Any]) -> bytes:
    """The bytes that are sent, and signed where that is done."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    """Posts ``body``. Raises :class:`Failed`."""
    given = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "meshportal", **(headers or {})}
    try:
        answer = outbound.post(
            url,
            headers=given,
            body=lambda: iter([body]),
            size=len(body),
            timeout=settings.NOTIFY_TIMEOUT,
            deadline=2 * settings.NOTIFY_TIMEOUT,
            allowed=settings.NOTIFY_NETWORKS,
            ca_file=settings.NOTIFY_CA_FILE,
        )
    except (outbound.Unusable, outbound.Forbidden) as error:
        raise Failed(str(error), for_good=True) from None
    except outbound.OutboundError as error:
        raise Failed(str(error)) from None
    judge(answer, timezone.now())


def judge(answer: outbound.Answer, now: datetime) -> None:
    """Returns for an answer that means "taken". Raises :class:`Failed` for any other."""
    status = answer.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Failed(f"The receiver answered with a redirect ({status}), which is never followed.", for_good=True)
    if status in _NOT_NOW or status >= 500:
        raise Failed(f"The receiver answered that it cannot take it now ({status}).", wait=_asked(answer.retry_after, now))
    raise Failed(f"The receiver refused the message ({status}).", for_good=True)


def _asked(text: str, now: datetime) -> timedelta | None:
    """RFC 9110, Retry-After: seconds, or a date. What makes no sense asks for nothing."""
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
        wait = moment - now
    except (TypeError, ValueError):
        return None
    return min(wait, _LONGEST_WAIT) if wait > timedelta(0) else None
