"""Storing one message and acknowledging it (DESIGN 6, Receive).

Crash table, for one message (what stands, and what the next turn does):

==================================  =============================================  ================================
the process dies                    what stands                                    next turn
==================================  =============================================  ================================
before the attempt is counted       listed                                         downloads
during the download                 listed, one attempt counted; ciphertext in an   downloads again
                                    unnamed temporary file that the system removes
after the file is kept, before the  listed; a whole file under the message's key    downloads again over the same key
row is committed
after the row is committed          stored                                         acknowledges, no download
after MESH took the acknowledge     stored                                         acknowledges again; MESH says it
                                                                                   is done, or gone: acknowledged
==================================  =============================================  ================================

The attempt is counted before the call, so a message that kills its worker each time is put aside like any other.
MESH API specification, Acknowledge message: acknowledging deletes, so it comes last, and nothing acknowledges
implicitly (promise P1).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mailboxes import polling
from mailboxes.models import Mailbox
from mailboxes.problems import INTERNAL, STORAGE, Problem, explain
from meshportal.core import lease, payloads
from meshportal.mesh import Download, MeshClient, MessageHeaders, errors
from messages import inbox, records
from messages.models import Message, MessageType, Payload
from messages.states import State

log = structlog.get_logger("messages.receive")

_LONGEST_WAIT = timedelta(hours=1)
# These say something about the network or the service, not about the one message.
NETWORK = (errors.ConnectionFailed, errors.ConnectionLost, errors.Unavailable, errors.Throttled, errors.BodyTooSlow)


def storage_key(message: Message) -> str:
    """One key per message, made of our own ids alone: a second download replaces the first."""
    name = message.pk.hex
    return f"{message.environment}/{message.mailbox_id}/{name[:2]}/{name}.age"


def store(mailbox: Mailbox, client: MeshClient, message: Message) -> None:
    """Downloads ``message``, keeps its bytes, and commits it as stored. Does not acknowledge.

    Raises errors of :mod:`meshportal.mesh.errors`, payloads.StorageFailed, LeaseLost, and records.Moved when a person decided
    otherwise meanwhile.
    """
    Message.objects.filter(pk=message.pk).update(attempts=F("attempts") + 1)
    message.attempts += 1
    with client.download(message.mesh_id, max_bytes=settings.MESH_MAX_MESSAGE_BYTES) as download:
        headers = download.headers
        kept = _keep(mailbox, message, download)
    _commit(mailbox, message, headers, kept)


def _keep(mailbox: Mailbox, message: Message, download: Download) -> payloads.Stored:
    def blocks() -> Iterator[bytes]:
        for block in download:
            polling.extend(mailbox)
            yield block

    return payloads.write(storage_key(message), blocks())


def _commit(mailbox: Mailbox, message: Message, headers: MessageHeaders, kept: payloads.Stored) -> None:
    now = timezone.now()
    facts = inbox.metadata(headers)
    with transaction.atomic():
        lease.hold(mailbox)
        records.move(
            message,
            State.STORED,
            kind="stored",
            detail={"bytes": kept.size, "sha256": kept.sha256, "chunks": headers.chunk_total, "attempt": message.attempts},
            stored_at=now,
            sent_at=inbox.sent_at(message, headers),
            size=kept.size,
            next_attempt_at=None,
            problem_code="",
            problem="",
            problem_advice="",
            **facts,
        )
        Payload.objects.create(
            message=message,
            storage_key=kept.key,
            sha256=kept.sha256,
            size=kept.size,
            stored_size=kept.stored_size,
        )
        if message.message_type == MessageType.REPORT:
            link_report(message)


def link_report(report: Message) -> None:
    """Links a report to the message that failed, when the portal knows it (MESH API specification, Report messages).

    By the message id alone: local ids are not unique, and sources disagree on what the address of a report means.
    """
    if not report.linked_mesh_id:
        return
    failed = (
        Message.objects.filter(team_id=report.team_id, environment=report.environment, mesh_id=report.linked_mesh_id)
        .exclude(pk=report.pk)
        .order_by("-direction")
        .first()
    )
    if failed is None:
        return
    Message.objects.filter(pk=report.pk).update(linked_message=failed)
    report.linked_message = failed
    records.note(
        failed,
        "report_received",
        code=report.status_code,
        description=report.status_description,
        report=str(report.pk),
    )


def acknowledge(client: MeshClient, message: Message) -> None:
    """Tells MESH that a stored message is stored, or that one is to go without being kept; then commits that.

    A 404 or 410 for a message that the portal holds means that an earlier acknowledge arrived although its answer did
    not: also done.
    """
    already = False
    try:
        client.acknowledge(message.mesh_id)
    except (errors.NotFound, errors.Gone):
        already = True
    discarding = message.state == State.DISCARDING
    detail: dict[str, Any] = {"already": True} if already else {}
    if message.state == State.ACKNOWLEDGED:
        # Listed again although acknowledged: MESH had not taken it in yet. Nothing changes here.
        records.note(message, "acknowledged_again", **detail)
        return
    records.move(
        message,
        State.DISCARDED if discarding else State.ACKNOWLEDGED,
        kind="discarded" if discarding else "acknowledged",
        detail=detail,
        acknowledged_at=timezone.now(),
    )


def failed(mailbox: Mailbox, message: Message, error: Exception, *, host: str) -> Problem:
    """Keeps why a download failed and when it is tried again; after too many tries puts the message aside (promise P4)."""
    if isinstance(error, errors.NotFound | errors.Gone):
        problem = Problem(
            "gone",
            "MESH no longer offers this message, and the portal never held its body: it was collected by another client, "
            "withdrawn after 5 days, or taken back.",
            "Ask the sender to send it again, or ask the National Service Desk on 0300 303 5035 to restore it: quote the "
            "message ID. That is possible for 30 days.",
        )
        records.move(message, State.GONE, kind="gone", detail={"status": error.status}, **_said(problem))
        return problem
    problem = explain(error, host=host, signed_in=True) if isinstance(error, errors.MeshError) else INTERNAL
    network = isinstance(error, NETWORK)
    limit = settings.MAX_NETWORK_ATTEMPTS if network else settings.MAX_ATTEMPTS
    detail: dict[str, Any] = {"problem": problem.sentence, "attempt": message.attempts}
    log.warning("download_failed", mailbox=mailbox.mailbox_id, message_id=message.mesh_id, problem=problem.code)
    if message.attempts >= limit:
        records.move(message, State.QUARANTINED, kind="quarantined", detail=detail, next_attempt_at=None, **_said(problem))
        return problem
    with transaction.atomic():
        Message.objects.filter(pk=message.pk, state=message.state).update(
            next_attempt_at=timezone.now() + backoff(message.attempts), **_said(problem)
        )
        records.note(message, "download_failed", **detail)
    return problem


def storage_failed(message: Message, error: payloads.StorageFailed) -> Problem:
    """The fault is the portal's: the attempt does not count against the message."""
    log.error("storage_failed", message_id=message.mesh_id, error=str(error))
    Message.objects.filter(pk=message.pk, attempts__gt=0).update(attempts=F("attempts") - 1)
    return STORAGE


def backoff(attempts: int) -> timedelta:
    """How long to wait after ``attempts`` failures: doubling from the base, an hour at most, with a fifth of jitter."""
    base = timedelta(seconds=settings.RETRY_BASE_SECONDS) * 2.0 ** min(max(attempts - 1, 0), 12)
    return min(base, _LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311  no secret depends on it


def _said(problem: Problem) -> dict[str, str]:
    return {"problem_code": problem.code, "problem": problem.sentence, "problem_advice": problem.advice}
