"""Composing a message in the browser: what it says first, then its file, then a look at everything, then it is sent.

What it says comes before the file, so that a mistake there never costs the upload of a large file.

| what goes wrong | what it gets |
|---|---|
| a field that MESH or the rules would refuse | a sentence by the field; nothing is kept |
| an ODS code with no mailbox for the workflow, or with several | a sentence; of several a person chooses one |
| a recipient that MESH does not name for the workflow | a warning, and a tick that says that it is meant |
| MESH cannot be asked | by ODS code nothing is kept; by mailbox ID it is said, and a person decides |
| an empty file, or one that is too large | a sentence; the file is not kept |
| the upload is cut, or the process dies in it | no file is there; what it says is |
| sent in two windows at once | one message; the other window is told |
| the same document went there within 30 days | the workflow's rule, as everywhere |
| nobody sends it | it is taken away, file and all, a day after somebody last worked on it |

A process that dies between keeping a file and naming it leaves an encrypted file that nothing names.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core import payloads
from meshportal.core.acts import Refused
from meshportal.core.crypto import CannotUnseal
from messages import outbox, recipients
from messages.models import Composed, Message, Payload

KEPT_FOR = timedelta(days=1)
UNREADABLE = (
    "The subject cannot be opened with the portal’s keys. Ask whoever runs the portal to put the missing key back into "
    "MESHPORTAL_KEYS; or whoever began the message writes the subject again."
)
GONE = "This message was sent, changed or discarded in another window. Look among the sent messages."


def subject_of(composed: Composed) -> str:
    """Its subject, or ''. Raises Refused where the portal's keys do not open it."""
    try:
        return composed.subject or ""
    except CannotUnseal:
        raise Refused(UNREADABLE) from None


def draft_of(composed: Composed, *, subject: str = "") -> outbox.Draft:
    """What the outbox is given."""
    return outbox.Draft(
        recipient=composed.recipient,
        workflow_id=composed.workflow_id,
        subject=subject,
        local_id=composed.local_id,
        file_name=composed.file_name,
        content_type=composed.content_type,
        compress=composed.compress,
        ods_code=composed.ods_code,
    )


def save(*, actor: Actor, mailbox: Mailbox, composed: Composed | None = None, ods_code: str = "", **fields: Any) -> Composed:
    """Keeps what a message says: ``fields`` are those of outbox.Draft. A new one, or the given one with its file, and with
    its subject where none is given.

    With an ODS code ``recipient`` may be '', or the one that was chosen among several. Raises ValidationError by field.
    """
    code = ods_code.strip().upper()
    recipient, name = fields["recipient"], ""
    if code:
        # What is wrong besides is said without asking MESH.
        _check({**fields, "recipient": recipient or mailbox.mailbox_id})
        try:
            match = recipients.the_one(mailbox, code, fields["workflow_id"], chosen=recipient)
        except recipients.CouldNotAsk as error:
            raise ValidationError(
                {"ods_code": f"{error.problem.sentence} Try again, or enter the recipient’s mailbox ID instead."}
            ) from None
        recipient, name, known = match.mailbox_id.upper(), match.mailbox_name[:300], Composed.Known.LOOKUP
        _check({**fields, "recipient": recipient})
    else:
        _check(fields)
        known, name = recipients.known(mailbox, recipient, fields["workflow_id"])
    given: dict[str, Any] = {
        **fields,
        "mailbox": mailbox,
        "ods_code": code,
        "recipient": recipient,
        "recipient_name": name,
        "known": known,
    }
    if "subject" in given:
        given["subject"] = given["subject"] or None
    with transaction.atomic():
        if composed is None:
            made = Composed.objects.create(team_id=mailbox.team_id, made_by=actor.label[:300], author=actor.id, **given)
            _record(actor, "message.composed", made)
            return made
        held = _held(composed)
        for field, value in given.items():
            setattr(held, field, value)
        held.save()
        _record(actor, "message.composed", held)
    return held


def _check(fields: dict[str, Any]) -> None:
    outbox.check(outbox.Draft(**fields))


def storage_key(composed: Composed) -> str:
    """A key of its own for every upload, laid out as those of messages are, since it becomes the message's."""
    name = uuid.uuid4().hex
    return f"{composed.mailbox.environment}/{composed.mailbox_id}/{name[:2]}/{name}.age"


def take_up(composed: Composed) -> None:
    """Keeps the sweep away while a file comes in, which may take hours.

    One that somebody worked on lately stays as it is: its version is that of pages which wait for their button.
    """
    now = timezone.now()
    Composed.objects.filter(pk=composed.pk, updated_at__lt=now - KEPT_FOR / 2).update(updated_at=now)


def attach(*, actor: Actor, composed: Composed, kept: payloads.Stored, file_name: str) -> Composed:
    """Gives it the file that was kept, in place of one that was there; ``file_name`` counts where none was given.

    Raises ValidationError (an empty file under ``file``) and Refused when it was sent meanwhile: the file is away then.
    """
    try:
        if kept.size == 0:
            raise ValidationError({"file": "The file is empty. MESH takes no message without a body."})
        with transaction.atomic():
            held = _held(composed)
            before = held.storage_key
            held.file_name = held.file_name or file_name
            outbox.check(draft_of(held))
            held.storage_key, held.sha256 = kept.key, kept.sha256
            held.size, held.stored_size = kept.size, kept.stored_size
            held.save()
            _record(actor, "message.file_added", held)
    except BaseException:
        # A commit whose answer was lost has happened all the same, and the message may even be sent by now.
        if not any(rows.filter(storage_key=kept.key).exists() for rows in (Composed.objects, Payload.objects)):
            payloads.delete(kept.key)
        raise
    if before:
        payloads.delete(before)
    return held


def too_large() -> str:
    """The sentence for a file above the portal's limit."""
    limit = settings.MESH_MAX_MESSAGE_BYTES // (1024 * 1024)
    return f"The file is larger than the {limit:,} MB that the portal is set to send (MESHPORTAL_MAX_MESSAGE_MB)."


def limited(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """``blocks`` up to the portal's limit, before more of them is kept. Raises ValidationError under ``file``."""
    size = 0
    for block in blocks:
        size += len(block)
        if size > settings.MESH_MAX_MESSAGE_BYTES:
            raise ValidationError({"file": too_large()})
        yield block


def twin(composed: Composed) -> Message | None:
    """The same document sent to the same recipient within 30 days."""
    return outbox.twin(composed.mailbox, draft_of(composed), composed.sha256) if composed.sha256 else None


def send(*, actor: Actor, composed: Composed, again: outbox.Again | None = None, meant: bool = False) -> Message:
    """Queues it as a message, which the file then belongs to; it is no longer being composed.

    ``meant``: a person said that the recipient is right although MESH does not name it for the workflow. Raises Refused and
    ValidationError as outbox.put.
    """
    kept = composed.kept
    if kept is None:
        raise Refused("There is no file yet. Add it first.")
    if composed.known == Composed.Known.NOT_FOUND and not meant:
        raise Refused(f"MESH does not name {composed.recipient} for this workflow. Say that it is meant all the same.")

    def no_longer_composed(_message: Message) -> None:
        # With the version that was looked at: what changed since in another window was not agreed to.
        rows = Composed.objects.filter(pk=composed.pk, updated_at=composed.updated_at)
        if not rows.delete()[0]:
            raise Refused(GONE)

    return outbox.put(
        actor=actor,
        mailbox=composed.mailbox,
        draft=draft_of(composed, subject=subject_of(composed)),
        body=kept,
        again=again,
        alongside=no_longer_composed,
        # So that whoever presses the button again is led to the message.
        pk=composed.pk,
    )


def discard(*, actor: Actor, composed: Composed, untouched_since: datetime | None = None) -> None:
    """Takes it away with its file. Nothing when it is gone already, or was worked on after ``untouched_since``."""
    rows = Composed.objects.filter(pk=composed.pk)
    if untouched_since is not None:
        rows = rows.filter(updated_at__lt=untouched_since)
    with transaction.atomic():
        keys = list(rows.select_for_update().values_list("storage_key", flat=True))
        if rows.delete()[0]:
            _record(actor, "message.unsent_discarded", composed)
    for key in keys:
        if key:
            payloads.delete(key)


def sweep() -> int:
    """Takes away what nobody has worked on for a day; gives how many there were."""
    since = timezone.now() - KEPT_FOR
    old = list(
        Composed.objects.filter(updated_at__lt=since).select_related("team", "mailbox").defer("subject", "mailbox__password")
    )
    for composed in old:
        discard(actor=Actor.system("sweep"), composed=composed, untouched_since=since)
    return len(old)


def _held(composed: Composed) -> Composed:
    found = (
        Composed.objects.select_for_update(of=("self",))
        .select_related("mailbox")
        .defer("subject", "mailbox__password")
        .filter(pk=composed.pk)
        .first()
    )
    if found is None:
        raise Refused(GONE)
    return found


def _record(actor: Actor, action: str, composed: Composed) -> None:
    file = {"bytes": composed.size, "sha256": composed.sha256} if composed.sha256 else {}
    said = {"mailbox": composed.mailbox.mailbox_id, "recipient": composed.recipient, "workflow_id": composed.workflow_id}
    audit.record(actor=actor, action=action, target=composed, team=composed.team, after={**said, **file})
