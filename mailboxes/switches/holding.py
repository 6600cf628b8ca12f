"""Which messages belong to a practice whose switch is under way.

By the recipient's mailbox, for every workflow of a practice that has its mailbox alone; for the case's own workflows where
only those move (a document tool, a redirect). A shared mailbox, as TPP's are, says nothing of the practice: there a message
belongs to it only where the sender gave its ODS code. What is addressed to a shared mailbox without one is not held, since
that would hold other practices' letters; the case's page says how many there are.

While it is frozen, a message that the sender addressed by the practice's ODS code is held too, whatever mailbox lookup
answered, since nobody has agreed on that mailbox yet. From the switch on the new mailbox is let through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from mailboxes.models import SwitchCase
from mailboxes.switches.signals import learn
from mailboxes.switches.states import BY_WORKFLOW, HOLDING, CaseState, Direction


@dataclass(frozen=True)
class Old:
    """The old addresses of a case. ``alone`` are mailboxes that no other practice has, ``by_workflow`` those of them whose
    other workflows stay, as (mailbox, workflow); ``shared`` ones say nothing of the practice."""

    ods_code: str
    alone: frozenset[str]
    by_workflow: frozenset[tuple[str, str]]
    shared: frozenset[str]

    @property
    def mailboxes(self) -> frozenset[str]:
        """All of them."""
        return self.alone | self.shared | {mailbox for mailbox, _ in self.by_workflow}

    def has(self, mailbox_id: str, workflow_id: str, ods_code: str) -> bool:
        """Whether a message with this recipient is one to the practice's old address."""
        if mailbox_id in self.alone or (mailbox_id, workflow_id) in self.by_workflow:
            return True
        return bool(ods_code) and ods_code == self.ods_code and mailbox_id in self.mailboxes


def old_of(case: SwitchCase) -> Old:
    """The old addresses of ``case``, as they stand now."""
    alone, by_workflow, shared = set(), set(), set()
    for address in case.addresses.all():
        stays = case.state != CaseState.FROZEN and address.new_mailbox == address.old_mailbox
        if not address.old_mailbox or stays:
            continue
        if address.old_shared or case.direction == Direction.FROM_TPP:
            shared.add(address.old_mailbox)
        elif case.direction in BY_WORKFLOW:
            by_workflow.add((address.old_mailbox, address.workflow_id))
        else:
            alone.add(address.old_mailbox)
    return Old(case.ods_code, frozenset(alone), frozenset(by_workflow), frozenset(shared))


def case_that_holds(*, team_id: Any, environment: str, mailbox_id: str, workflow_id: str, ods_code: str) -> SwitchCase | None:
    """The case that holds a message to this recipient, its row locked until the caller's transaction ends, so that nobody
    ends the case under it. None when the message may go."""
    found = Q(addresses__old_mailbox=mailbox_id)
    if ods_code:
        found |= Q(organisation__ods_code=ods_code)
    rows = SwitchCase.objects.filter(found, team_id=team_id, environment=environment, state__in=HOLDING)
    keys = list(rows.order_by("pk").values_list("pk", flat=True).distinct())
    for key in keys:
        # Its other columns do not change: what refers to the case need not wait.
        case = SwitchCase.objects.select_for_update(of=("self",), no_key=True).select_related("organisation").get(pk=key)
        if case.state not in HOLDING:
            continue
        held = old_of(case).has(mailbox_id, workflow_id, ods_code)
        by_code = case.state == CaseState.FROZEN and bool(ods_code) and ods_code == case.ods_code
        if held or by_code:
            learn(case, workflow_id, mailbox_id, shared=mailbox_id in old_of(case).shared)
            return case
    return None
