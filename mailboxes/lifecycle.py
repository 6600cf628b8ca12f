"""From the first pause of a mailbox to its end: pause, take up again, note, close, archive.

| what goes wrong | what stands, and what happens then |
|---|---|
| scheduler or worker are away when a pause ends | it stays paused until they are back; an hour later that is an alert |
| two workers take the same mailbox up again, or a person does at that moment | the second finds it taken up and does nothing |
| one mailbox cannot be taken up | it is logged and alerted; the others are taken up |
| the process dies in the middle of any act | one transaction: all of it or nothing |
| messages still wait when a mailbox is to be closed for good | refused, with how many |
| two people write notes at once | the second is told; nothing of theirs is saved |

A mailbox that is being closed is worked as before for its run-off, so that nothing is lost that was sent before it was known.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import structlog
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mailboxes import services
from mailboxes.models import Mailbox, Mode
from mailboxes.problems import london
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

log = structlog.get_logger("mailboxes.lifecycle")

# Beyond it everything that waited is deleted (MESH API specification: 5 days in the inbox, 30 until deletion).
LONGEST_PAUSE = timedelta(days=30)
MOST_TAGS, MOST_NOTES = 20, 4000


def pause(*, actor: Actor, mailbox: Mailbox, reason: str, until: datetime | None = None) -> str:
    """Pauses a mailbox, until a moment or until somebody takes it up again. Raises Refused, and ValidationError by field."""
    now = timezone.now()
    if not reason.strip():
        raise ValidationError({"reason": "Say why it is paused."})
    if until is not None and not now < until <= now + LONGEST_PAUSE:
        raise ValidationError(
            {"until": "Choose a time within the next 30 days. Beyond that, what waited would be deleted by MESH."}
        )
    with transaction.atomic():
        held = _locked(mailbox)
        if held.mode == Mode.PAUSED:
            raise ValidationError("This mailbox is paused already.")
        services.change_mailbox(actor=actor, mailbox=held, reason=reason.strip(), mode=Mode.PAUSED, paused_until=until)
    end = f"until {london(until)}" if until else "until somebody takes it up again"
    return f"{held} is paused {end}."


def resume(*, actor: Actor, mailbox: Mailbox, reason: str = "") -> str:
    """Takes a mailbox up again in the mode that it had. Raises Refused."""
    with transaction.atomic():
        held = _locked(mailbox)
        if held.mode != Mode.PAUSED:
            raise Refused("This mailbox is not paused any more.")
        if held.archived_at is not None:
            raise Refused("This mailbox is closed. Open it again first.")
        mode = Mode(held.resume_mode or Mode.WATCH)
        try:
            services.change_mailbox(actor=actor, mailbox=held, reason=reason or "Taken up again", mode=mode)
        except ValidationError as error:
            raise Refused(f"It stays paused: {' '.join(error.messages)}") from None
    return f"{held} is taken up again in {mode.label.lower()} mode."


def resume_due(now: datetime | None = None) -> int:
    """Takes up every mailbox again whose pause ends by itself; gives how many."""
    due = Mailbox.objects.filter(mode=Mode.PAUSED, paused_until__lte=now or timezone.now(), archived_at__isnull=True)
    done = 0
    for mailbox in due.select_related("team").defer("password").order_by("paused_until", "pk"):
        try:
            with transaction.atomic():
                held = _locked(mailbox)
                # A person may have taken it up, or set another end, since it was found.
                if held.mode == Mode.PAUSED and held.paused_until == mailbox.paused_until:
                    resume(actor=Actor.system("scheduler"), mailbox=held, reason=f"The pause ended: {held.pause_reason}"[:500])
                    done += 1
        except Refused:
            log.warning("cannot_resume", mailbox=mailbox.mailbox_id)
    return done


def noted(mailbox: Mailbox) -> str:
    """A short mark of the tags and notes as they are, for a form to hand back."""
    return hashlib.sha256(f"{mailbox.tags}\0{mailbox.notes}".encode()).hexdigest()[:16]


def note(*, actor: Actor, mailbox: Mailbox, tags: list[str], notes: str, seen: str) -> str:
    """Sets tags and notes. ``seen``: :func:`noted` as the person saw it. Raises ValidationError by field.

    The audit says what tags came and went, and that the notes changed, not what they say: people write names there.
    """
    kept = sorted({" ".join(tag.split()).lower() for tag in tags} - {""})
    if len(kept) > MOST_TAGS or len(",".join(kept)) > 290:
        raise ValidationError({"tags": f"Give at most {MOST_TAGS} tags, and keep them short."})
    if len(notes) > MOST_NOTES:
        raise ValidationError({"notes": f"Keep the notes within {MOST_NOTES:,} characters."})
    with transaction.atomic():
        held = _locked(mailbox)
        if noted(held) != seen:
            raise ValidationError(services.CHANGED_MEANWHILE, code="changed_meanwhile")
        joined = f",{','.join(kept)}," if kept else ""
        if (joined, notes) == (held.tags, held.notes):
            return "Nothing was different, so nothing was changed."
        after = {"tags": ", ".join(kept), "notes": "changed" if notes != held.notes else "as before"}
        Mailbox.objects.filter(pk=held.pk).update(tags=joined, notes=notes)
        before = {"tags": ", ".join(held.tag_list)}
        audit.record(actor=actor, action="mailbox.noted", target=held, team=held.team, before=before, after=after)
    return f"Tags and notes of {held} are kept."


def close(*, actor: Actor, mailbox: Mailbox, reason: str) -> str:
    """Begins the run-off of a mailbox. It is worked as before, and watched where it was paused. Raises ValidationError."""
    if not reason.strip():
        raise ValidationError({"reason": "Say why it is closed."})
    with transaction.atomic():
        held = _locked(mailbox)
        if held.closing_at is not None:
            raise ValidationError("This mailbox is being closed already.")
        if held.mode == Mode.PAUSED:
            services.change_mailbox(actor=actor, mailbox=held, reason=reason.strip(), mode=Mode.WATCH)
        ends = _mark(held, closing_at=timezone.now()).run_off_ends_at
        after = {"until": ends.isoformat(timespec="seconds") if ends else ""}
        audit.record(actor=actor, action="mailbox.closing", target=held, team=held.team, reason=reason.strip(), after=after)
    return f"{held} is being closed. It is worked until {london(ends)}, then somebody closes it for good." if ends else ""


def keep_open(*, actor: Actor, mailbox: Mailbox) -> str:
    """Ends a run-off, or opens a closed mailbox again: it is watched then. Raises Refused."""
    with transaction.atomic():
        held = _locked(mailbox)
        if held.closing_at is None:
            raise Refused("This mailbox is not being closed.")
        was_closed = held.archived_at is not None
        _mark(held, closing_at=None, archived_at=None)
        audit.record(actor=actor, action="mailbox.kept_open", target=held, team=held.team)
        if was_closed:
            services.change_mailbox(actor=actor, mailbox=held, reason="Opened again", mode=Mode.WATCH)
    return f"{held} is open again, and only watched." if was_closed else f"{held} is no longer being closed."


def archive(*, actor: Actor, mailbox: Mailbox) -> str:
    """Closes a mailbox for good, after its run-off; its history stays. Raises Refused."""
    with transaction.atomic():
        held = _locked(mailbox)
        ends = held.run_off_ends_at
        if ends is None:
            raise Refused("Begin closing this mailbox first: it is worked for 35 days more.")
        if held.archived_at is not None:
            raise Refused("This mailbox is closed already.")
        if ends > timezone.now():
            raise Refused(f"Its run-off lasts until {london(ends)}: until then something may still arrive.")
        if held.waiting_count and not held.problem_code:
            raise Refused(
                f"MESH still holds {held.waiting_count:,} of its messages. Collect them first, or wait until they are gone."
            )
        services.change_mailbox(actor=actor, mailbox=held, reason="Closed for good", mode=Mode.PAUSED, paused_until=None)
        _mark(held, archived_at=timezone.now())
        audit.record(actor=actor, action="mailbox.archived", target=held, team=held.team)
    return f"{held} is closed. Its history stays."


def _locked(mailbox: Mailbox) -> Mailbox:
    rows = Mailbox.objects.select_for_update(of=("self",)).select_related("team", "organisation")
    return rows.defer("password").get(pk=mailbox.pk)


def _mark(mailbox: Mailbox, **facts: datetime | None) -> Mailbox:
    Mailbox.objects.filter(pk=mailbox.pk).update(**facts, revision=F("revision") + 1, updated_at=timezone.now())
    for name, value in facts.items():
        setattr(mailbox, name, value)
    return mailbox
