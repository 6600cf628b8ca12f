"""An act on a case that is refused changes nothing and leaves an audit row all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from mailboxes.models import CaseEvent, SwitchCase
from meshportal.accounts import policies
from meshportal.accounts.models import Membership
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused


@contextmanager
def acting(actor: Actor, case: SwitchCase, asked: str) -> Iterator[SwitchCase]:
    """The case, locked, in a transaction of the act. A Refused that leaves it is recorded, as what was ``asked``."""
    try:
        with transaction.atomic():
            yield locked(case)
    except Refused as refusal:
        # Behind the transaction: what it did is undone by now, and this must stay.
        audit.record(
            actor=actor, action="switch.refused", target=case, team=case.team, reason=str(refusal), after={"asked": asked}
        )
        raise


def locked(case: SwitchCase) -> SwitchCase:
    """The row as it is now, for this transaction alone."""
    rows = SwitchCase.objects.select_for_update(of=("self",), no_key=True).select_related("team", "organisation")
    return rows.get(pk=case.pk, team_id=case.team_id)


def note(case: SwitchCase, kind: str, *, actor: Actor, words: str = "", before: str = "", after: str = "") -> None:
    """Adds a step to the case's history."""
    CaseEvent.objects.create(case=case, kind=kind, actor_label=actor.label[:300], words=words, from_state=before, to_state=after)


def may(actor: Actor, case: SwitchCase, capability: str) -> bool:
    """Whether ``actor`` is a member of the case's team with this capability. The command line is nobody's member."""
    if actor.kind != "user":
        return False
    member = Membership.objects.filter(user_id=actor.id, team=case.team_id).first()
    return member is not None and policies.can(member, capability)
