"""Which sent messages belong to a practice's switch: those to its old address, those at risk, those at the new one.

The same rule as :mod:`mailboxes.switches.holding`, as a condition that the database answers.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q

from mailboxes.models import SwitchCase
from mailboxes.switches.holding import old_of
from mailboxes.switches.states import Direction as Kind
from messages import ages
from messages.models import Message, Outgoing
from messages.states import Direction, State

# With MESH or nobody knows, and no client of the recipient has it as far as is known.
_NOT_COLLECTED = (State.SENDING, State.UPLOADING, State.ACCEPTED, State.EXPIRED, State.RETURNED, State.UNCERTAIN)
_NOTHING = Q(pk__isnull=True)


def ours(case: SwitchCase) -> Q:
    """Messages that the case's team sent in its environment."""
    return Q(team_id=case.team_id, environment=case.environment, direction=Direction.OUT)


def to_old(case: SwitchCase) -> Q:
    """Sent messages to the practice's old address."""
    old = old_of(case)
    found = Q(recipient_mailbox__in=sorted(old.alone)) if old.alone else _NOTHING
    for mailbox_id, workflow_id in sorted(old.by_workflow):
        found |= Q(recipient_mailbox=mailbox_id, workflow_id=workflow_id)
    if case.ods_code and old.mailboxes:
        found |= Q(recipient_mailbox__in=sorted(old.mailboxes), outgoing__recipient_ods=case.ods_code)
    return ours(case) & found


def to_new(case: SwitchCase) -> Q:
    """Sent messages to the practice's new address. At a mailbox that it shares, those with its ODS code, and those that
    this case released."""
    found = _NOTHING
    for address in case.addresses.all():
        if not address.new_mailbox:
            continue
        one = Q(recipient_mailbox=address.new_mailbox, workflow_id=address.workflow_id)
        if address.new_shared or case.direction == Kind.TO_TPP:
            one &= Q(outgoing__recipient_ods=case.ods_code) | Q(hold__case=case)
        found |= one
    return ours(case) & found


def at_risk(case: SwitchCase, within: timedelta = Message.LIFE) -> Q:
    """What went to the old address lately, was not collected, and was not sent again."""
    again = Outgoing.objects.filter(resend_of=OuterRef("pk")).exclude(message__state__in=[State.REFUSED, State.CANCELLED])
    uncollected = Q(state__in=[str(state) for state in _NOT_COLLECTED])
    return to_old(case) & uncollected & ages.within(within) & ~Q(Exists(again))


def not_known_whose(case: SwitchCase) -> Q:
    """What went to a mailbox that the practice shared, without an ODS code: nobody can tell whose it was."""
    shared = old_of(case).shared
    return ours(case) & Q(recipient_mailbox__in=sorted(shared), outgoing__recipient_ods="") & ages.within(Message.LIFE)
