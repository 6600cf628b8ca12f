"""Acknowledgements by a recipient's system: read, paired with the message that they answer, and what follows for it.

Works on what is stored already, in a task of its own: whatever an ack's body holds, it was kept and acknowledged to MESH
before (promises P1, P4). Crash table: the row of an ack is there before its body is read, the try counted before that;
a process that dies in the reading tries again, :data:`MOST_READS` times; linking, the message's state and its event are
one transaction.

Nothing is guessed. An ack counts only in the mailbox that sent the message, from the mailbox that it was sent to, under
the workflow that the team's registry names; and only when exactly one message fits.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from meshportal.core import payloads
from meshportal.core.crypto import CannotUnseal
from messages import fhir, records
from messages.models import Ack, AckAnswer, AckKind, BodyName, Message, MessageType, Outgoing, Workflow
from messages.states import HELD, TO_SEND, Direction, State

log = structlog.get_logger("messages.acks")

PAIRER = "meshportal acknowledgements"
MOST_READS = 3
# In one run: the queue's canary must not wait long behind them.
_MOST = 200
# An ack is noticed as long as this after it was first seen, however long its download took.
_NOTICED_FOR = timedelta(days=7)
# The message may still be on its way to its own commit, or turn out to be uncertain, so the ack is looked at again.
_FIRST_WAIT = timedelta(minutes=1)
_LOOK_FOR = timedelta(days=7)
_NEGATIVE_CODES = ("30002", "30003")
_FAILED = ("transient-error", "fatal-error")


def work_due() -> int:
    """Notices new acks and looks for the messages of those that are due. Returns how many were paired."""
    _notice()
    due = Ack.objects.filter(due_at__lte=timezone.now(), about__isnull=True).order_by("due_at")
    paired = 0
    for key in list(due.values_list("pk", flat=True)[:_MOST]):
        try:
            paired += _work(key)
        except Exception as error:
            # One ack never holds up another. Its text may be in the error, so only the kind is told.
            log.error("ack_failed", ack=str(key), error=type(error).__name__)
            Ack.objects.filter(pk=key).update(due_at=timezone.now() + timedelta(hours=1))
    return paired


def _notice() -> None:
    now = timezone.now()
    flows: dict[Any, set[str]] = {}
    for team_id, name in Workflow.objects.exclude(ack_workflow_id="").values_list("team_id", "ack_workflow_id"):
        flows.setdefault(team_id, set()).add(name)
    for team_id, names in flows.items():
        new = Message.objects.filter(
            team_id=team_id,
            workflow_id__in=names,
            seen_at__gt=now - _NOTICED_FOR,
            direction=Direction.IN,
            message_type=MessageType.DATA,
            state__in=[str(state) for state in HELD],
            ack__isnull=True,
        )
        keys = new.values_list("pk", flat=True)[:_MOST]
        Ack.objects.bulk_create([Ack(message_id=key, due_at=now) for key in keys], ignore_conflicts=True)


def _work(key: Any) -> int:
    ack = Ack.objects.select_related("message__payload").defer("message__headers", "message__subject").get(pk=key)
    if ack.read_at is None and ack.tries < MOST_READS:
        _read(ack)
    found = _candidate(ack)
    if found is not None and found.state not in TO_SEND and _link(ack, found):
        return 1
    now = timezone.now()
    age = now - ack.created_at
    # The waits grow with the age of the ack: about as long again as it has waited.
    again = now + max(_FIRST_WAIT, age) if age < _LOOK_FOR else None
    Ack.objects.filter(pk=ack.pk, about__isnull=True).update(due_at=again)
    return 0


def _read(ack: Ack) -> None:
    ack.tries += 1
    Ack.objects.filter(pk=ack.pk).update(tries=ack.tries, due_at=timezone.now() + _FIRST_WAIT)
    said = _said(getattr(ack.message, "payload", None))
    if said is None:
        return
    ack.identifier = said.answers
    ack.kind, ack.answer, ack.code = judge(said)
    ack.read_at = timezone.now()
    ack.save(update_fields=["identifier", "kind", "answer", "code", "read_at", "updated_at"])


def _said(payload: Any) -> fhir.Said | None:
    """What a kept body says; None when it could not be read this time."""
    if payload is None or payload.purged_at is not None or payload.size > fhir.LIMIT:
        return fhir.Said()
    try:
        body, more = payloads.read_all(payload.storage_key, limit=fhir.LIMIT)
    except (payloads.PayloadMissing, payloads.PayloadUnreadable):
        return None
    return fhir.Said() if more else fhir.read(body)


def judge(said: fhir.Said) -> tuple[str, str, str]:
    """Kind, answer and code of an ack. A code that says no weighs more than a header that says yes."""
    codes = [code for code in said.codes if len(code) == 5 and code.isdigit()]
    refusing = next((code for code in codes if code in _NEGATIVE_CODES), "")
    code = refusing or (codes[0] if codes else "") or (said.codes[0] if said.codes else "")
    kind = AckKind.UNKNOWN
    if code in codes:
        kind = {"1": AckKind.INFRASTRUCTURE, "2": AckKind.INFRASTRUCTURE, "3": AckKind.BUSINESS}.get(code[0], kind)
    answer = AckAnswer.UNKNOWN
    if refusing or said.response in _FAILED:
        answer = AckAnswer.NEGATIVE
    elif said.response == "ok":
        answer = AckAnswer.POSITIVE
    return kind.value, answer.value, code


def _candidate(ack: Ack) -> Message | None:
    """The one message that ``ack`` answers; None when none fits, or more than one."""
    message = ack.message
    if not message.sender:
        return None
    sent = Message.objects.filter(
        team_id=message.team_id,
        environment=message.environment,
        mailbox_id=message.mailbox_id,
        direction=Direction.OUT,
        recipient_mailbox=message.sender,
        workflow_id__in=Workflow.objects.filter(team_id=message.team_id, ack_workflow_id=message.workflow_id).values(
            "workflow_id"
        ),
    ).only("pk", "state", "mesh_id", "local_id")
    if ack.identifier:
        named = list(sent.filter(body_names__value=ack.identifier).distinct()[:2])
        if named:
            return named[0] if len(named) == 1 else None
        # A body whose name is known, and another, is not what this ack answers.
        sent = sent.filter(body_names__isnull=True)
    quoted = {text for text in (message.local_id, _subject(message)) if text}
    if not quoted:
        return None
    fitting = list(sent.filter(Q(local_id__in=quoted) | Q(mesh_id__in=quoted))[:2])
    return fitting[0] if len(fitting) == 1 else None


def _subject(message: Message) -> str:
    try:
        return str(Message.objects.values_list("subject", flat=True).get(pk=message.pk) or "")
    except CannotUnseal:
        return ""


def _link(ack: Ack, about: Message) -> bool:
    rejected = ack.answer == AckAnswer.NEGATIVE
    kind = "ack_rejected" if rejected else "ack_received"
    detail = {"ack": str(ack.message_id), "ack_kind": ack.kind, "code": ack.code}
    with transaction.atomic():
        about.state = records.lock(about)
        if about.state in TO_SEND:
            return False
        if not Ack.objects.filter(pk=ack.pk, about__isnull=True).update(about=about, due_at=None):
            return False
        if about.state == State.UNCERTAIN:
            # Who answers it has it. MESH's own answer never came, so there is still no message ID to ask by.
            changes = {"problem_code": "", "problem": "", "problem_advice": ""}
            records.move(about, State.CONFIRMED, kind=kind, actor=PAIRER, detail=detail, **changes)
            Outgoing.objects.filter(message=about).update(due_at=None)
        else:
            records.note(about, kind, actor=PAIRER, **detail)
    return True


def names_of(kept: payloads.Stored) -> frozenset[str]:
    """The names that a body to be sent gives itself. Never raises: without them an ack can still quote the local ID."""
    if kept.size > fhir.LIMIT:
        return frozenset()
    try:
        body, _more = payloads.read_all(kept.key, limit=fhir.LIMIT)
        return fhir.read(body).names
    except Exception as error:
        log.warning("body_names_not_read", error=type(error).__name__)
        return frozenset()


def keep_names(message: Message, names: frozenset[str]) -> None:
    """Keeps the names of a sent body with its message. Needs the transaction that queues it."""
    BodyName.objects.bulk_create([BodyName(message=message, value=name) for name in sorted(names)])
