"""Rolling mailboxes over from an old certificate to a new one: test, switch, undo.

| what goes wrong | what stands, and what happens then |
|---|---|
| the process dies in the middle of a test | the row's lease runs out and it is tried again, three times at most |
| it dies in the middle of a switch or an undo | one transaction: every mailbox is on the certificate that it was on |
| the same act is asked for twice | what is switched already is left as it is, and that is said |
| a mailbox is polled at that moment | its turn ends before its next download, and the next one uses the new certificate |
| the test of a mailbox failed | it stays on the old certificate and is named; the others are switched |
| somebody gave a mailbox a third certificate meanwhile | it is left alone |
| the new certificate lapsed or is not valid yet; at an undo: the old one | refused; nothing is changed |

Locks are taken in the order roll-over, mailboxes by id, rows, audit: all mailboxes before the first audit event, since
everybody who changes one mailbox locks it before the audit chain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from certificates.models import ClientIdentity
from mailboxes import services
from mailboxes.models import Mailbox, RollOver, RollOverRow
from mailboxes.models.roll_over import TestState
from mailboxes.problems import london
from meshportal.accounts.models import Team
from meshportal.audit import context
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

# A person may test again once something was put right, but not hammer.
TEST_GAP = timedelta(seconds=30)
_SEALED = ("old__private_key", "new__private_key", "old__certificate_pem", "new__certificate_pem")


@dataclass(frozen=True)
class Moved:
    """How many mailboxes were switched, and which were left with the reason why."""

    done: int
    left: tuple[tuple[str, str], ...]


def begin(*, actor: Actor, team: Team, old: ClientIdentity, new: ClientIdentity) -> RollOver:
    """The roll-over from ``old`` to ``new``, made when there is none yet. Raises ValidationError by field."""
    if old.team_id != team.pk or new.team_id != team.pk or old.environment != new.environment or old.pk == new.pk:
        raise ValidationError({"old": "Choose another certificate of this team and the same environment."})
    with transaction.atomic():
        made, fresh = RollOver.objects.get_or_create(team=team, environment=new.environment, old=old, new=new)
        if fresh:
            _take_in(made)
            audit.record(actor=actor, action="roll_over.begun", target=made, team=team, after={"from": str(old), "to": str(new)})
    return made


def ask_test(*, actor: Actor, roll_over: RollOver) -> str:
    """Has every mailbox that uses the old certificate tested with the new one; says how many. Raises Refused."""
    now = timezone.now()
    with transaction.atomic():
        roll_over = _locked(roll_over)
        _check_usable(roll_over.new, now)
        if roll_over.rows.filter(test=TestState.WAITING).exists():
            raise Refused("The mailboxes are being tested right now. This page shows how far it came.")
        if roll_over.tested_at is not None and now - roll_over.tested_at < TEST_GAP:
            raise Refused("They were tested a moment ago. Put right what stands here, and test again in half a minute.")
        _take_in(roll_over)
        rows = roll_over.rows.filter(mailbox__identity=roll_over.old_id)
        number = rows.update(test=TestState.WAITING, due_at=now, tries=0, why_not="", advice="", updated_at=now)
        if not number:
            raise Refused("No mailbox uses the old certificate: there is nothing to test.")
        RollOver.objects.filter(pk=roll_over.pk).update(tested_at=now)
        audit.record(
            actor=actor, action="roll_over.test_asked", target=roll_over, team=roll_over.team, after={"mailboxes": number}
        )
    return f"{_many(number)} will be tested with the new certificate: one handshake each. Nothing is switched yet."


def switch(*, actor: Actor, roll_over: RollOver, only: Collection[Any] | None = None) -> Moved:
    """Gives the new certificate to every mailbox that passed its test, or to those of ``only`` (ids of mailboxes).

    Raises Refused when none is switched.
    """
    with transaction.atomic(), context.request(context.current_request_id()):
        roll_over = _locked(roll_over)
        _check_usable(roll_over.new, timezone.now())
        rows = _rows(roll_over, only)
        left: list[tuple[str, str]] = []
        moved: list[RollOverRow] = []
        for row in rows:
            if row.mailbox.identity_id != roll_over.old_id:
                continue
            if row.test != TestState.PASSED:
                left.append((str(row.mailbox), row.why_not or "It was not tested with the new certificate."))
            elif why := _changed(actor, row.mailbox, roll_over.new):
                left.append((str(row.mailbox), why))
            else:
                moved.append(row)
        if not moved:
            first = f" {left[0][0]}: {left[0][1]}" if left else " None of them uses the old certificate any more."
            raise Refused(f"No mailbox was switched.{first}")
        _note(roll_over, moved, switched_at=timezone.now())
        audit.record(
            actor=actor,
            action="roll_over.switched",
            target=roll_over,
            team=roll_over.team,
            after={"mailboxes": len(moved), "left": [name for name, _ in left]},
        )
    return Moved(len(moved), tuple(left))


def undo(*, actor: Actor, roll_over: RollOver) -> Moved:
    """Gives the old certificate back to every mailbox that this roll-over switched and that still uses the new one."""
    with transaction.atomic(), context.request(context.current_request_id()):
        roll_over = _locked(roll_over)
        _check_usable(roll_over.old, timezone.now())
        left: list[tuple[str, str]] = []
        moved: list[RollOverRow] = []
        for row in _rows(roll_over, None):
            if row.switched_at is None or row.mailbox.identity_id != roll_over.new_id:
                continue
            if why := _changed(actor, row.mailbox, roll_over.old):
                left.append((str(row.mailbox), why))
            else:
                moved.append(row)
        if not moved:
            raise Refused("There is nothing to undo: no mailbox that was switched here still uses the new certificate.")
        _note(roll_over, moved, switched_at=None)
        audit.record(
            actor=actor,
            action="roll_over.undone",
            target=roll_over,
            team=roll_over.team,
            after={"mailboxes": len(moved), "left": [name for name, _ in left]},
        )
    return Moved(len(moved), tuple(left))


def _take_in(roll_over: RollOver) -> None:
    """A row for every mailbox that uses the old certificate and has none."""
    users = Mailbox.objects.filter(team=roll_over.team_id, identity=roll_over.old_id).exclude(roll_over_rows__roll_over=roll_over)
    new = [RollOverRow(roll_over=roll_over, mailbox_id=pk) for pk in users.values_list("pk", flat=True)]
    RollOverRow.objects.bulk_create(new, ignore_conflicts=True)


def _locked(roll_over: RollOver) -> RollOver:
    rows = RollOver.objects.select_for_update(of=("self",)).select_related("team", "old", "new").defer(*_SEALED)
    return rows.get(pk=roll_over.pk)


def _rows(roll_over: RollOver, only: Collection[Any] | None) -> list[RollOverRow]:
    """The rows with their mailboxes, all locked."""
    rows = roll_over.rows.all() if only is None else roll_over.rows.filter(mailbox__in=only)
    keys = list(rows.values_list("mailbox_id", flat=True))
    held = Mailbox.objects.select_for_update(of=("self",)).filter(pk__in=keys).defer("password").order_by("pk")
    mailboxes = {mailbox.pk: mailbox for mailbox in held}
    found = list(rows.select_for_update(of=("self",)).order_by("mailbox_id"))
    for row in found:
        row.mailbox = mailboxes[row.mailbox_id]
    return found


def _changed(actor: Actor, mailbox: Mailbox, identity: ClientIdentity) -> str:
    """Gives ``mailbox`` this certificate; says why not when that cannot be."""
    try:
        services.change_mailbox(actor=actor, mailbox=mailbox, reason="Certificate roll-over", identity=identity)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def _note(roll_over: RollOver, rows: list[RollOverRow], *, switched_at: datetime | None) -> None:
    keys = [row.pk for row in rows]
    roll_over.rows.filter(pk__in=keys).update(switched_at=switched_at, updated_at=timezone.now())


def _check_usable(identity: ClientIdentity, now: datetime) -> None:
    if identity.lapses_at <= now:
        raise Refused(f"The certificate “{identity.name}” expired on {london(identity.lapses_at)}: nothing was changed.")
    if identity.not_before > now:
        raise Refused(
            f"The certificate “{identity.name}” is not valid before {london(identity.not_before)}: nothing was changed."
        )


def _many(number: int) -> str:
    return f"{number:,} mailbox{'' if number == 1 else 'es'}"
