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

The attempt is counted before the call and with it a wait, so a message that kills its worker does not do so at every
poll, and is put aside like any other in the end.
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
from django.db import DatabaseError, transaction
from django.utils import timezone

from mailboxes import polling
from mailboxes.models import Mailbox
from mailboxes.problems import INTERNAL, STORAGE, Problem, explain
from meshportal.core import lease, payloads
from meshportal.mesh import Download, MeshClient, MessageHeaders, errors
from messages import book, inbox, records, refusals, registry, suspicions
from messages.handing import rows as handing
from messages.models import Message, MessageType, Outgoing, Payload
from messages.states import TRANSITIONS, Direction, State

log = structlog.get_logger("messages.receive")

_LONGEST_WAIT = timedelta(hours=1)
# How long after it was found gone a message that is listed all the same is asked for again.
_GONE_REST = timedelta(hours=1)
# The service desk can put a returned message back; that is looked for as rarely as everything that is old.
_LOOK_FOR_RESTORED = timedelta(days=1)
# What comes from the network, the service or what stands between: it says nothing about the one message.
_OUTSIDE = (
    errors.ConnectionFailed,
    errors.ConnectionLost,
    errors.Unavailable,
    errors.Throttled,
    errors.BodyTooSlow,
)
# The same for a message's limit; but an internal error of the service can well be about one message, so that it ends
# no turn.
_PASSING = (*_OUTSIDE, errors.ServerError, errors.UnexpectedAnswer)

NEVER_FINISHED = Problem(
    "never_finished",
    "The portal began to download this message many times and was stopped each time before it could finish.",
    "Ask whoever runs the portal to look in the log for this message ID, and whether workers run out of memory.",
)
REFUSED = Problem(
    "message_refused",
    "MESH refused this one message to the portal, although it accepts the sign-in of this mailbox.",
    "Ring the National Service Desk on 0300 303 5035 with the message ID: the message may belong to another mailbox.",
)


def from_outside(error: Exception) -> bool:
    """Whether a failure comes from the network or the service rather than from the message."""
    return isinstance(error, _OUTSIDE) or (isinstance(error, errors.BodyTruncated) and error.in_transit)


def storage_key(message: Message) -> str:
    """One key per message, made of our own ids alone: a second download replaces the first."""
    name = message.pk.hex
    return f"{message.environment}/{message.mailbox_id}/{name[:2]}/{name}.age"


def store(mailbox: Mailbox, client: MeshClient, message: Message) -> None:
    """Downloads ``message``, keeps its bytes, and commits it as stored. Does not acknowledge.

    Raises errors of :mod:`meshportal.mesh.errors`, payloads.StorageFailed, LeaseLost, and records.Moved when a person decided
    otherwise meanwhile.
    """
    if message.attempts >= settings.MAX_NETWORK_ATTEMPTS:
        # Only tries that never came to an end, with the process, lead here.
        records.move(message, State.QUARANTINED, kind="quarantined", next_attempt_at=None, **_said(NEVER_FINISHED))
        raise records.Moved(f"{message} was put aside.")
    message.attempts += 1
    message.next_attempt_at = timezone.now() + backoff(message.attempts)
    Message.objects.filter(pk=message.pk).update(attempts=message.attempts, next_attempt_at=message.next_attempt_at)
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
        registry.see(message.team_id, [message.workflow_id])
        handing.plan(message)
        if message.message_type == MessageType.REPORT:
            link_report(message)
        else:
            book.received(message, headers)


def link_report(report: Message) -> None:
    """Links a report to the message that failed, when the portal knows it (MESH API specification, Report messages).

    By the message id alone: local ids are not unique, and sources disagree on what the address of a report means.
    """
    if not report.linked_mesh_id or report.linked_message_id:
        return
    failed = (
        Message.objects.filter(team_id=report.team_id, environment=report.environment, mesh_id=report.linked_mesh_id)
        .exclude(pk=report.pk)
        .order_by("-direction")
        .first()
    ) or _uncertain_that_failed(report)
    if failed is not None:
        _link(report, failed)


def _uncertain_that_failed(report: Message) -> Message | None:
    """A sent message whose id never reached us, recognised by a local id that the portal made and nobody else has. A
    person may have decided meanwhile that it arrived."""
    if not report.local_id:
        return None
    found = Message.objects.filter(
        mailbox_id=report.mailbox_id,
        direction=Direction.OUT,
        state__in=[State.UNCERTAIN, State.CONFIRMED],
        local_id=report.local_id,
        outgoing__own_local_id=True,
    ).first()
    if found is not None:
        Message.objects.filter(pk=found.pk).update(mesh_id=report.linked_mesh_id)
        found.mesh_id = report.linked_mesh_id
    return found


def _link(report: Message, failed: Message) -> None:
    Message.objects.filter(pk=report.pk).update(linked_message=failed)
    report.linked_message = failed
    # Whoever else is about to change the message has done so, or waits until this is committed.
    failed.state = records.lock(failed)
    facts = {"code": report.status_code, "description": report.status_description, "report": str(report.pk)}
    if failed.direction == Direction.OUT and State.RETURNED in TRANSITIONS[failed.state]:
        records.move(
            failed,
            State.RETURNED,
            kind="report_received",
            detail=facts,
            status_code=report.status_code,
            status_event=report.status_event,
            status_description=report.status_description,
            status_at=report.status_at,
        )
        restorable = refusals.restorable(report.status_code, report.status_description)
        Outgoing.objects.filter(message=failed).update(due_at=timezone.now() + _LOOK_FOR_RESTORED if restorable else None)
        book.returned(failed, report.status_code, report.status_description)
    else:
        records.note(failed, "report_received", **facts)
    if failed.direction == Direction.OUT:
        # Last, since a case that opens is in the audit, whose lock comes after all others.
        suspicions.of_answer(failed, code=report.status_code, description=report.status_description)


def link_earlier_report(message: Message) -> None:
    """A report that came while an uncertain ``message`` was still thought to be on its way. Needs a transaction."""
    waiting = Message.objects.filter(
        mailbox_id=message.mailbox_id,
        message_type=MessageType.REPORT,
        local_id=message.local_id,
        seen_at__gte=message.seen_at,
        linked_message__isnull=True,
    )
    report = waiting.defer("headers", "subject", "recipient_sealed").order_by("-seen_at").first()
    if report is not None:
        link_report(report)


def link_waiting_reports(message: Message) -> None:
    """Reports about ``message`` that came before its own id was known. Needs a transaction."""
    waiting = Message.objects.filter(
        team_id=message.team_id,
        environment=message.environment,
        message_type=MessageType.REPORT,
        linked_mesh_id=message.mesh_id,
        linked_message__isnull=True,
    )
    for report in waiting.defer("headers", "subject", "recipient_sealed"):
        _link(report, message)


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
    if message.state in (State.ACKNOWLEDGED, State.DISCARDED):
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
        return gone(message, error)
    problem = INTERNAL
    if isinstance(error, errors.AuthenticationFailed):
        problem = REFUSED
    elif isinstance(error, errors.MeshError):
        problem = explain(error, host=host, signed_in=True)
    if not (isinstance(error, _PASSING) or from_outside(error)):
        message.faults += 1
    detail: dict[str, Any] = {"problem": problem.sentence, "attempt": message.attempts}
    log.warning("download_failed", mailbox=mailbox.mailbox_id, message_id=message.mesh_id, problem=problem.code)
    if message.faults >= settings.MAX_ATTEMPTS or message.attempts >= settings.MAX_NETWORK_ATTEMPTS:
        changes: dict[str, Any] = {"faults": message.faults, "next_attempt_at": None, **_said(problem)}
        records.move(message, State.QUARANTINED, kind="quarantined", detail=detail, **changes)
        return problem
    with transaction.atomic():
        Message.objects.filter(pk=message.pk, state=message.state).update(
            faults=message.faults, next_attempt_at=timezone.now() + backoff(message.attempts), **_said(problem)
        )
        records.note(message, "download_failed", **detail)
    return problem


def gone(message: Message, error: errors.ResponseError) -> Problem:
    """Keeps that MESH no longer has a message that was never stored. Raises records.Moved."""
    problem = Problem(
        "gone",
        "MESH no longer offers this message, and the portal never held its body: it was collected by another client, "
        "withdrawn after 5 days, or taken back.",
        "Ask the sender to send it again, or ask the National Service Desk on 0300 303 5035 to restore it: quote the "
        "message ID. That is possible for 30 days.",
    )
    changes: dict[str, Any] = {"next_attempt_at": timezone.now() + _GONE_REST, **_said(problem)}
    records.move(message, State.GONE, kind="gone", detail={"status": error.status}, **changes)
    return problem


def storage_failed(message: Message, error: payloads.StorageFailed) -> Problem:
    """The fault is the portal's: the try does not count, but others come first for a while, in case it is the size."""
    log.error("storage_failed", message_id=message.mesh_id, error=str(error))
    uncount(message)
    Message.objects.filter(pk=message.pk).update(next_attempt_at=timezone.now() + backoff(3))
    return STORAGE


def uncount(message: Message) -> None:
    """Takes back a try that said nothing about the message. Does what it can when it is the database that failed."""
    message.attempts = max(message.attempts - 1, 0)
    try:
        Message.objects.filter(pk=message.pk).update(attempts=message.attempts, next_attempt_at=None)
    except DatabaseError:
        log.warning("uncount_failed", message_id=message.mesh_id)


def backoff(attempts: int) -> timedelta:
    """How long to wait after ``attempts`` failures: doubling from the base, an hour at most, with a fifth of jitter."""
    base = timedelta(seconds=settings.RETRY_BASE_SECONDS) * 2.0 ** min(max(attempts - 1, 0), 12)
    return min(base, _LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311  no secret depends on it


def _said(problem: Problem) -> dict[str, Any]:
    return {"problem_code": problem.code, "problem": problem.sentence, "problem_advice": problem.advice}
