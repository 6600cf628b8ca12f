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
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from mailboxes import connections
from mailboxes.models import Mailbox, Mode
from mailboxes.problems import UNREADABLE_SECRET, NotConfigured, Problem, explain
from meshportal.core import lease, payloads
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import MeshClient, errors
from messages import book, holds, receive, records, refusals, shares, suspicions
from messages.models import Message, Outcome, Outgoing, SendAttempt
from messages.states import TO_SEND, TRANSITIONS, State

log = structlog.get_logger("messages.send")

SENDER = "meshportal sender"
# Read in the round itself, where keys that do not open them are a sentence.
SEALED = ("subject", "recipient_sealed", "headers", "mailbox__password", "mailbox__identity__private_key")
# What tracking says of a message that MESH has all of.
SETTLED = ("accepted", "acknowledged", "undeliverable", "error")
_LONGEST_RETRY_AFTER = timedelta(days=1)


class Paused(Exception):
    """The mailbox was paused meanwhile: not one more request."""


def lease_duration() -> timedelta:
    """How long a claim on a message holds without a sign of life."""
    return timedelta(seconds=settings.LEASE_SECONDS)


def claim_due() -> Outgoing | None:
    """Claims the message that has waited to be sent for longest; None when none is due. A paused mailbox sends nothing;
    what a dead worker left behind is settled there too, since that asks nothing of MESH."""
    due = (
        Outgoing.objects.filter(due_at__lte=timezone.now(), message__state__in=TO_SEND)
        .exclude(~Q(message__state=State.SENDING), message__mailbox__mode=Mode.PAUSED)
        .order_by("due_at")
    )
    if not due.exists():
        return None
    full = shares.full_mailboxes()
    rows = due.exclude(message__mailbox_id__in=full) if full else due
    claimed = lease.claim(rows, limit=1, duration=lease_duration())
    return claimed[0] if claimed else None


def work(outgoing: Outgoing) -> None:
    """Sends, or goes on sending, a message whose lease the caller claimed, and gives it back."""
    message = Message.objects.select_related("mailbox__identity", "payload").defer(*SEALED).get(pk=outgoing.message_id)
    outgoing.message = message
    try:
        with lease.kept_alive(outgoing, lease_duration()):
            wait = _work(outgoing, message)
    except lease.LeaseLost:
        log.warning("lease_lost", message=str(message.pk))
        return
    except (records.Moved, Paused):
        # A person cancelled or paused it in the very moment, or another worker settled it: nothing was sent by us.
        wait = timedelta(0)
    shares.give_back(outgoing, message, wait, tries=outgoing.tries)


def _work(outgoing: Outgoing, message: Message) -> timedelta | None:
    """How long to wait before the next look; None when there is nothing more to do."""
    if message.state == State.SENDING:
        # Only a worker that died leaves this behind a lease that ran out.
        return _uncertain(message, "The portal stopped while the message was being sent.")
    if message.state not in TO_SEND:
        return timedelta(0)
    outgoing.tries += 1
    mailbox = message.mailbox
    payload = getattr(message, "payload", None)
    if payload is None or payload.purged_at is not None:
        _refuse(message, refusals.BODY_MISSING)
        return None
    try:
        client = connections.client_for(mailbox)
        # Opened before anything is begun.
        _ = message.subject, message.recipient_sealed
    except NotConfigured as error:
        return _later(outgoing, message, error.problem)
    except CannotUnseal:
        return _later(outgoing, message, UNREADABLE_SECRET)
    except errors.MeshError as error:
        return _later(outgoing, message, explain(error, host=_host(mailbox)))
    sending = _Sending(outgoing, message, client, payload.storage_key)
    try:
        if message.state == State.QUEUED:
            sending.begin()
        else:
            sending.go_on()
    except errors.SendUncertain as error:
        sending.ended(Outcome.UNCERTAIN, str(error))
        wait = _uncertain(message, str(error))
        if shares.concerns_mailbox(error):
            shares.hold_back(message, TO_SEND, wait)
        return wait
    except errors.UploadFinalised as error:
        return sending.finalised(error)
    except errors.MeshError as error:
        return sending.failed(error)
    except (payloads.PayloadMissing, payloads.PayloadUnreadable):
        return sending.unreadable()
    return None if message.state == State.ON_HOLD else first_look()


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
            records.lock(message)
            lease.hold(outgoing)
            self._check_mode()
            held = holds.hold_if_frozen(message, outgoing.recipient_ods)
            if not held:
                records.move(message, State.SENDING, kind="sending", actor=SENDER)
                self._begin(1)
        if held:
            return
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
            self._check_mode()
        self._attempt = SendAttempt.objects.create(message=self._message, chunk=chunk, began_at=timezone.now())

    def _check_mode(self) -> None:
        if Mailbox.objects.filter(pk=self._message.mailbox_id, mode=Mode.PAUSED).exists():
            raise Paused

    def _accepted(self, mesh_id: str) -> None:
        # Whoever holds the lease by now: the id is the only handle on the message, and must not be lost.
        try:
            accepted(self._message, mesh_id, chunks=self._outgoing.chunk_total, next_chunk=2)
        except records.Moved:
            self.ended(Outcome.ACCEPTED)
            raise
        except DatabaseError:
            log.error("accepted_but_not_committed", message=str(self._message.pk), message_id=mesh_id)
            raise
        self.ended(Outcome.ACCEPTED)

    def _taken(self, chunk: int) -> None:
        self.ended(Outcome.ACCEPTED)
        outgoing, message = self._outgoing, self._message
        if chunk < outgoing.chunk_total:
            outgoing.next_chunk = chunk + 1
            Outgoing.objects.filter(pk=outgoing.pk).update(next_chunk=outgoing.next_chunk)
        elif message.state == State.UPLOADING:
            self._all_sent()

    def _all_sent(self) -> None:
        records.move(self._message, State.ACCEPTED, kind="all_sent", actor=SENDER, problem_code="", problem="", problem_advice="")

    def finalised(self, error: errors.UploadFinalised) -> timedelta | None:
        """MESH says that it has all of the message; tracking says whether that is so, and the next look what became of it."""
        try:
            found = self._client.track(self._message.mesh_id)
        except errors.MeshError:
            return self.failed(error)
        if found.status not in SETTLED:
            return self.failed(error)
        self.ended(Outcome.ACCEPTED)
        self._all_sent()
        return timedelta(0)

    def ended(self, outcome: Outcome, problem: str = "") -> None:
        """Writes how the request that is under way ended; does nothing when none is."""
        if self._attempt is not None:
            SendAttempt.objects.filter(pk=self._attempt.pk).update(ended_at=timezone.now(), outcome=outcome, problem=problem)
            self._attempt = None

    def failed(self, error: errors.MeshError) -> timedelta | None:
        """What a failure of a request means: refused for good, or to be tried again."""
        message = self._message
        problem = refusals.explain_send(error, host=_host(message.mailbox), clock_skew=self._client.clock_skew)
        if refusals.is_final(error, first=message.state == State.SENDING):
            self.ended(Outcome.REFUSED, problem.sentence)
            _refuse(message, problem, code=error.code, event=error.event, description=error.description)
            book.returned(message, error.code, error.description)
            return None
        wait = self._not_yet(problem, asked=error.retry_after)
        if shares.concerns_mailbox(error):
            shares.hold_back(message, TO_SEND, wait)
        return wait

    def unreadable(self) -> timedelta | None:
        """The copy could not be read to its end: nothing whole reached MESH. Storage that is not there, or a key that is
        not set, comes back; a damaged copy does not."""
        if self._outgoing.tries < settings.MAX_NETWORK_ATTEMPTS:
            return self._not_yet(refusals.BODY_UNREADABLE)
        self.ended(Outcome.FAILED, refusals.BODY_MISSING.sentence)
        _refuse(self._message, refusals.BODY_MISSING)
        return None

    def _not_yet(self, problem: Problem, *, asked: float | None = None) -> timedelta:
        self.ended(Outcome.FAILED, problem.sentence)
        if self._message.state == State.SENDING:
            # Nothing of it reached MESH, or MESH said that it took nothing.
            records.move(self._message, State.QUEUED, kind="not_sent", actor=SENDER, detail={"problem": problem.sentence})
        return _later(self._outgoing, self._message, problem, asked=asked)


def accepted(message: Message, mesh_id: str, *, chunks: int, next_chunk: int, at: datetime | None = None) -> None:
    """Commits that MESH accepted ``message`` as ``mesh_id``, whether its sender or a later look found that out.

    An answer that comes when others have gone on without it (a worker that stood still for long) is kept all the same.
    ``at`` is when MESH accepted it, now when not known. Raises records.Moved when the message has another id already:
    MESH took it twice, and the timeline says so.
    """
    state = State.ACCEPTED if chunks == 1 else State.UPLOADING
    now = timezone.now()
    changes: dict[str, Any] = {
        "mesh_id": mesh_id,
        "sent_at": at if at is not None and at < now else now,
        "problem_code": "",
        "problem": "",
        "problem_advice": "",
    }
    with transaction.atomic():
        current = Message.objects.select_for_update(of=("self",)).only("state", "mesh_id").get(pk=message.pk)
        message.state = current.state
        if current.mesh_id == mesh_id:
            return
        if not current.mesh_id and state in TRANSITIONS[current.state]:
            records.move(message, state, kind="accepted", actor=SENDER, detail={"chunks": chunks}, **changes)
            # Due at once, for whoever comes after a worker that dies here; one that lives says better.
            Outgoing.objects.filter(message=message).update(next_chunk=next_chunk, looks=0, due_at=now)
            receive.link_waiting_reports(message)
            if current.state == State.ON_HOLD:
                holds.ended(message)
            return
        if not current.mesh_id:
            Message.objects.filter(pk=message.pk).update(mesh_id=mesh_id)
        records.note(message, "accepted_again", actor=SENDER, message_id=mesh_id)
    log.error("accepted_again", message=str(message.pk), message_id=mesh_id)
    raise records.Moved(f"{message} was settled without this answer.")


def _uncertain(message: Message, why: str) -> timedelta:
    problem = refusals.UNCERTAIN
    changes = {"problem_code": problem.code, "problem": problem.sentence, "problem_advice": problem.advice}
    with transaction.atomic():
        records.move(message, State.UNCERTAIN, kind="uncertain", actor=SENDER, detail={"why": why}, **changes)
        Outgoing.objects.filter(message=message).update(looks=0)
        SendAttempt.objects.filter(message=message, outcome="").update(outcome=Outcome.UNCERTAIN, ended_at=timezone.now())
        receive.link_earlier_report(message)
    log.warning("send_uncertain", message=str(message.pk))
    return timedelta(seconds=settings.RECONCILE_SECONDS)


def _refuse(message: Message, problem: Problem, *, code: str = "", event: str = "", description: str = "") -> None:
    with transaction.atomic():
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
        suspicions.of_answer(message, code=code, description=description)
    log.warning("send_refused", message=str(message.pk), problem=problem.code, code=code)


def _later(outgoing: Outgoing, message: Message, problem: Problem, *, asked: float | None = None) -> timedelta:
    """How long to wait: longer with every try, and at least the ``asked`` seconds of a Retry-After."""
    Message.objects.filter(pk=message.pk, state=message.state).update(
        problem_code=problem.code, problem=problem.sentence, problem_advice=problem.advice
    )
    log.warning("send_later", message=str(message.pk), problem=problem.code)
    wait = receive.backoff(outgoing.tries)
    return wait if asked is None else max(wait, min(timedelta(seconds=asked), _LONGEST_RETRY_AFTER))


def _host(mailbox: Mailbox) -> str:
    return settings.MESH_URLS[mailbox.environment].removeprefix("https://")
