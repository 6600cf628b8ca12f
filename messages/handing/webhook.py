"""Handing a message on by HTTPS: one POST whose body is the message, to the address of the mailbox's webhook.

Headers of the request:

==========================  ============================================================================================
``Content-Type``            application/octet-stream, whatever the message is
``Meshportal-Delivery``     a UUID, the same for every try of one hand-over: a receiver that saw it answers 2xx and is done
``Meshportal-Timestamp``    seconds since 1970 when this try began: a receiver refuses what is older than it likes
``Meshportal-SHA256``       of the body, in hexadecimal
``Meshportal-Signature``    ``v1=`` and HMAC-SHA256, in hexadecimal, keyed with the webhook's secret, over the text
                            ``timestamp.delivery.sha256``: the three values above, joined by dots
``Meshportal-…``            Message-ID, Message-Type, Workflow-ID, From, To, Local-ID, File-Name; of a report also
                            Linked-Message-ID, Status-Code, Status-Event and Status-Description. Anything beyond printable
                            ASCII, and ``%``, is percent-encoded UTF-8. A header without a value is left out.
==========================  ============================================================================================

A message may come more than once: when the answer was lost, nobody here knows whether it was taken.

=====================================  =================================================================================
the answer                             what happens
=====================================  =================================================================================
2xx                                    done
408, 425, 429, 503                     tried again after Retry-After (1 second to 1 day), or with growing gaps; the
                                       others of this webhook wait too
401, 403, 404, 410 and other 4xx, 3xx  tried a few times (MESHPORTAL_WEBHOOK_REFUSALS), then given up; others go on
5xx, no answer, a cut connection       tried for some days (MESHPORTAL_WEBHOOK_DAYS), then given up; others go first
no connection, a bad certificate, a    the same, and all others of this webhook wait too
name in a private network
=====================================  =================================================================================
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from django.conf import settings
from django.utils import timezone

from mailboxes.models import Outlet
from mailboxes.problems import Problem
from meshportal.core import outbound, payloads
from messages.models import HandOver, Message, MessageType

_LONGEST_RETRY_AFTER = timedelta(days=1)
_BUSY = (408, 425, 429, 503)
# A line slower than this is no line.
_BYTES_A_SECOND = 50_000
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_ASK = "Ask whoever runs the system that receives it."


@dataclass(frozen=True)
class Unanswered(Exception):
    """A try that failed. ``whole``: the next message of the webhook would fail alike. ``refused``: the receiver does not want
    this message. ``wait``: how long it asked to be left alone. ``slow``: it took as long as it may."""

    problem: Problem
    whole: bool = False
    refused: bool = False
    slow: bool = False
    wait: timedelta | None = None


def hand_on(outlet: Outlet, row: HandOver) -> None:
    """Hands one message on; returns when the receiver has it. Raises Unanswered, PayloadMissing, PayloadUnreadable,
    CannotUnseal."""
    message, payload = row.message, row.message.payload
    try:
        answer = outbound.post(
            outlet.url,
            headers=headers(outlet, row, at=int(time.time())),
            body=lambda: payloads.open_blocks(payload.storage_key),
            size=payload.size,
            timeout=settings.WEBHOOK_TIMEOUT,
            deadline=2 * settings.WEBHOOK_TIMEOUT + payload.size / _BYTES_A_SECOND,
            allowed=settings.WEBHOOK_NETWORKS,
            ca_file=settings.WEBHOOK_CA_FILE,
        )
    except outbound.Slow as error:
        raise Unanswered(_no_answer(error, message), slow=True) from None
    except outbound.Lost as error:
        raise Unanswered(_no_answer(error, message)) from None
    except outbound.OutboundError as error:
        # A name server or a connection that takes its time keeps a thread as long as a receiver that does.
        raise Unanswered(_unreachable(error), whole=True, slow=True) from None
    if not 200 <= answer.status < 300:
        raise _refusal(answer)


def headers(outlet: Outlet, row: HandOver, *, at: int) -> dict[str, str]:
    """The headers of one try that begins ``at`` (seconds since 1970)."""
    message, sha256, delivery = row.message, row.message.payload.sha256, str(row.delivery_id)
    report = message.message_type == MessageType.REPORT
    facts = {
        "Message-ID": message.mesh_id,
        "Message-Type": message.message_type,
        "Workflow-ID": message.workflow_id,
        "From": message.sender,
        "To": message.recipient_mailbox,
        "Local-ID": message.local_id,
        "File-Name": message.file_name,
        "Linked-Message-ID": message.linked_mesh_id if report else "",
        "Status-Code": message.status_code if report else "",
        "Status-Event": message.status_event if report else "",
        "Status-Description": message.status_description if report else "",
    }
    return {
        "Content-Type": "application/octet-stream",
        "User-Agent": "meshportal",
        "Meshportal-Delivery": delivery,
        "Meshportal-Timestamp": str(at),
        "Meshportal-SHA256": sha256,
        "Meshportal-Signature": f"v1={signature(outlet.secret or '', at=at, delivery=delivery, sha256=sha256)}",
        **{f"Meshportal-{name}": quote(text, safe=_PRINTABLE).strip() for name, text in facts.items() if text.strip()},
    }


def signature(secret: str, *, at: int, delivery: str, sha256: str) -> str:
    """HMAC-SHA256 in hexadecimal of what a receiver can check by itself."""
    return hmac.new(secret.encode(), f"{at}.{delivery}.{sha256}".encode(), hashlib.sha256).hexdigest()


def _no_answer(error: outbound.OutboundError, _message: Message) -> Problem:
    return Problem("webhook_no_answer", f"The webhook gave no answer. {error}", f"The portal tries again by itself. {_ASK}")


def _unreachable(error: outbound.OutboundError) -> Problem:
    if isinstance(error, outbound.Forbidden):
        advice = "Ask whoever runs the portal whether that network belongs into MESHPORTAL_WEBHOOK_NETWORKS."
        return Problem("webhook_forbidden", str(error), advice)
    advice = f"Check the address of the webhook, and the firewall. {_ASK} The portal tries again by itself."
    return Problem("webhook_unreachable", f"The webhook cannot be reached. {error}", advice)


def _refusal(answer: outbound.Answer) -> Unanswered:
    status = answer.status
    if status in _BUSY:
        problem = Problem("webhook_busy", f"The webhook asked to be left alone for a while (it answered {status}).", _ASK)
        return Unanswered(problem, whole=True, wait=retry_after(answer.retry_after))
    if status >= 500:
        said = f"The webhook failed (it answered {status})."
        return Unanswered(Problem("webhook_failed", said, f"The portal tries again by itself. {_ASK}"))
    if 300 <= status < 400:
        said = f"The webhook sent the portal elsewhere (it answered {status}), and the portal follows nobody."
        return Unanswered(Problem("webhook_redirects", said, "Set the address that it really has."), refused=True)
    said = f"The webhook did not take this message (it answered {status})."
    return Unanswered(Problem("webhook_refused", said, f"{_ASK} Then hand the message on again."), refused=True)


def retry_after(text: str) -> timedelta | None:
    """How long a receiver asks for, between a second and a day; None when it does not say, or not so that it makes sense."""
    try:
        if text.strip().isascii() and text.strip().isdigit():
            wait = timedelta(seconds=min(int(text[:12]), 10**6))
        else:
            moment: datetime = parsedate_to_datetime(text)
            wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - timezone.now()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta(seconds=1)), _LONGEST_RETRY_AFTER)
