"""Sending one message (DESIGN 6, Send; promise P3).

Crash table (what stands when the process dies, and what happens then):

=====================================  =====================  =====================================================
the process dies                       what stands            next
=====================================  =====================  =====================================================
before the claim, or before the        queued                 claimed and sent
attempt is committed
between that commit and the commit     sending, one attempt   the lease runs out: uncertain; the first request is not
of the message id, wherever it was     without an outcome     made again until MESH says that it knows of none
after the id is committed              uploading, next chunk  continues with that chunk; sending one twice replaces it
after the last chunk, before its       uploading              sends the last chunk again: taken, or "finalised", which
commit                                                        tracking settles
=====================================  =====================  =====================================================

MESH API specification, Send message: there is no idempotency key, so repeating the first request can deliver twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from mailboxes import connections
from mailboxes.models import Mailbox, Mode
from mailboxes.problems import UNREADABLE_SECRET, NotConfigured, Problem, explain
from meshportal.core import lease, payloads
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import MeshClient, errors
from messages import receive, records, refusals
from messages.models import Message, Outcome, Outgoing, SendAttempt
from messages.states import TO_SEND, State

log = structlog.get_logger("messages.send")

SENDER = "meshportal sender"


def lease_duration() -> timedelta:
    """How long a claim on a message holds without a sign of life."""
    return timedelta(seconds=settings.LEASE_SECONDS)


def claim_due() -> Outgoing | None:
    """Claims the message that has waited to be sent for longest; None when none is due. A paused mailbox sends nothing."""
    due = (
        Outgoing.objects.filter(due_at__lte=timezone.now(), message__state__in=TO_SEND)
        .exclude(message__mailbox__mode=Mode.PAUSED)
        .order_by("due_at")
    )
    if not due.exists():
        return None
    claimed = lease.claim(due, limit=1, duration=lease_duration())
    return claimed[0] if claimed else None


def work(outgoing: Outgoing) -> None:
    """Sends, or goes on sending, a message whose lease the caller claimed, and gives it back."""
    message = Message.objects.select_related("mailbox__identity", "payload").get(pk=outgoing.message_id)
    outgoing.message = message
    try:
        with lease.kept_alive(outgoing, lease_duration()):
            wait = _work(outgoing, message)
    except lease.LeaseLost:
        log.warning("lease_lost", message=str(message.pk))
        return
    except records.Moved:
        # A person cancelled it in the very moment, or another worker settled it: nothing was sent by us.
        wait = timedelta(0)
    due_at = None if wait is None else timezone.now() + wait
    lease.release(outgoing, due_at=due_at, tries=outgoing.tries)


def _work(outgoing: Outgoing, message: Message) -> timedelta | None:
    """How long to wait before the next look; None when there is nothing more to do."""
    if message.state == State.SENDING:
        # Only a worker that died leaves this behind a lease that ran out.
        return _uncertain(message, "The portal stopped while the message was being sent.")
    if message.state not in TO_SEND:
        return timedelta(0)
    outgoing.tries += 1
    mailbox = message.mailbox
    try:
        client = connections.client_for(mailbox)
    except NotConfigured as error:
        return _later(outgoing, message, error.problem)
    except CannotUnseal:
        return _later(outgoing, message, UNREADABLE_SECRET)
    except errors.MeshError as error:
        return _later(outgoing, message, explain(error, host=_host(mailbox)))
    payload = getattr(message, "payload", None)
    if payload is None or payload.purged_at is not None:
        _refuse(message, refusals.BODY_MISSING)
        return None
    sending = _Sending(outgoing, message, client, payload.storage_key)
    try:
        if message.state == State.QUEUED:
            sending.begin()
        else:
            sending.go_on()
    except errors.SendUncertain as error:
        sending.ended(Outcome.UNCERTAIN, str(error))
        return _uncertain(message, str(error))
    except errors.MeshError as error:
        return sending.failed(error)
    except (payloads.PayloadMissing, payloads.PayloadUnreadable):
        sending.ended(Outcome.FAILED, refusals.BODY_MISSING.sentence)
        _refuse(message, refusals.BODY_MISSING)
        return None
    return first_look()


def first_look() -> timedelta:
    """How long after MESH took a message it is first asked what became of it."""
    return timedelta(seconds=settings.TRACK_SECONDS)


class _Sending:
    """The requests of one round."""

    def __init__(self, outgoing: Outgoing, message: Message, client: MeshClient, key: str) -> None:
        self._outgoing = outgoing
        self._message = message
        self._client = client
        self._open: Callable[[], Iterator[bytes]] = lambda: payloads.open_blocks(key)
        self._attempt: SendAttempt | None = None

    def begin(self) -> None:
        """The first request, and every one after it."""
        message, outgoing = self._message, self._outgoing
        with transaction.atomic():
            lease.hold(outgoing)
            records.move(message, State.SENDING, kind="sending", actor=SENDER)
            self._begin(1)
        self._client.send(
            self._open,
            recipient=message.recipient_sealed or message.recipient_mailbox,
            workflow_id=message.workflow_id,
            subject=message.subject or "",
            local_id=message.local_id,
            file_name=message.file_name,
            content_type=message.content_type,
            checksum=message.checksum,
            size=message.size,
            chunk_size=outgoing.chunk_size,
            compress=outgoing.compress,
            on_accepted=self._accepted,
            before_chunk=self._begin,
            on_chunk=self._taken,
        )

    def go_on(self) -> None:
        """The requests from the first chunk on that MESH has not confirmed."""
        message, outgoing = self._message, self._outgoing
        self._client.resume(
            message.mesh_id,
            self._open,
            size=message.size,
            next_chunk=min(max(outgoing.next_chunk, 2), outgoing.chunk_total),
            chunk_size=outgoing.chunk_size,
            compress=outgoing.compress,
            before_chunk=self._begin,
            on_chunk=self._taken,
        )

    def _begin(self, chunk: int) -> None:
        if chunk > 1:
            lease.extend(self._outgoing, lease_duration())
        self._attempt = SendAttempt.objects.create(message=self._message, chunk=chunk, began_at=timezone.now())

    def _accepted(self, mesh_id: str) -> None:
        # Whoever holds the lease by now: the id is the only handle on the message, and must not be lost.
        accepted(self._message, mesh_id, chunks=self._outgoing.chunk_total, next_chunk=2)
        self.ended(Outcome.ACCEPTED)

    def _taken(self, chunk: int) -> None:
        self.ended(Outcome.ACCEPTED)
        outgoing, message = self._outgoing, self._message
        if chunk < outgoing.chunk_total:
            outgoing.next_chunk = chunk + 1
            Outgoing.objects.filter(pk=outgoing.pk).update(next_chunk=outgoing.next_chunk)
        else:
            records.move(message, State.ACCEPTED, kind="all_sent", actor=SENDER, problem_code="", problem="", problem_advice="")

    def ended(self, outcome: Outcome, problem: str = "") -> None:
        """Writes how the request that is under way ended; does nothing when none is."""
        if self._attempt is not None:
            SendAttempt.objects.filter(pk=self._attempt.pk).update(ended_at=timezone.now(), outcome=outcome, problem=problem)
            self._attempt = None

    def failed(self, error: errors.MeshError) -> timedelta | None:
        """What a failure of a request means: refused for good, or to be tried again."""
        message, outgoing = self._message, self._outgoing
        problem = refusals.explain_send(error, host=_host(message.mailbox), clock_skew=self._client.clock_skew)
        if refusals.is_final(error):
            self.ended(Outcome.REFUSED, problem.sentence)
            _refuse(message, problem, code=error.code, event=error.event, description=error.description)
            return None
        self.ended(Outcome.FAILED, problem.sentence)
        if message.state == State.SENDING:
            # Nothing of it reached MESH, or MESH said that it took nothing.
            records.move(message, State.QUEUED, kind="not_sent", actor=SENDER, detail={"problem": problem.sentence})
        return _later(outgoing, message, problem)


def accepted(message: Message, mesh_id: str, *, chunks: int, next_chunk: int) -> None:
    """Commits that MESH accepted ``message`` as ``mesh_id``, whether its sender or a later look found that out."""
    state = State.ACCEPTED if chunks == 1 else State.UPLOADING
    changes: dict[str, Any] = {
        "mesh_id": mesh_id,
        "sent_at": timezone.now(),
        "problem_code": "",
        "problem": "",
        "problem_advice": "",
    }
    with transaction.atomic():
        current = Message.objects.select_for_update(of=("self",)).only("state", "mesh_id").get(pk=message.pk)
        message.state = current.state
        if current.mesh_id:
            return
        records.move(message, state, kind="accepted", actor=SENDER, detail={"chunks": chunks}, **changes)
        Outgoing.objects.filter(message=message).update(next_chunk=next_chunk, looks=0)
        receive.link_waiting_reports(message)


def _uncertain(message: Message, why: str) -> timedelta:
    problem = refusals.UNCERTAIN
    changes = {"problem_code": problem.code, "problem": problem.sentence, "problem_advice": problem.advice}
    with transaction.atomic():
        records.move(message, State.UNCERTAIN, kind="uncertain", actor=SENDER, detail={"why": why}, **changes)
        Outgoing.objects.filter(message=message).update(looks=0)
        SendAttempt.objects.filter(message=message, outcome="").update(outcome=Outcome.UNCERTAIN, ended_at=timezone.now())
    log.warning("send_uncertain", message=str(message.pk))
    return timedelta(seconds=settings.RECONCILE_SECONDS)


def _refuse(message: Message, problem: Problem, *, code: str = "", event: str = "", description: str = "") -> None:
    records.move(
        message,
        State.REFUSED,
        kind="refused",
        actor=SENDER,
        detail={"problem": problem.sentence, "code": code},
        status_code=code[:40],
        status_event=event[:40],
        status_description=description[:500],
        problem_code=problem.code,
        problem=problem.sentence,
        problem_advice=problem.advice,
    )
    log.warning("send_refused", message=str(message.pk), problem=problem.code, code=code)


def _later(outgoing: Outgoing, message: Message, problem: Problem) -> timedelta:
    Message.objects.filter(pk=message.pk).update(
        problem_code=problem.code, problem=problem.sentence, problem_advice=problem.advice
    )
    log.warning("send_later", message=str(message.pk), problem=problem.code)
    return receive.backoff(outgoing.tries)


def _host(mailbox: Mailbox) -> str:
    return settings.MESH_URLS[mailbox.environment].removeprefix("https://")
