"""What a mailbox may send and may receive, as its team declares it.

| what goes wrong | what stands, and what happens then |
|---|---|
| two people declare at once | the second is told; nothing of theirs is saved |
| the process dies in the middle | one transaction: all of it or nothing |
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from django.core.exceptions import ValidationError
from django.db import transaction

from mailboxes import services
from mailboxes.models import DeclaredWorkflow, Mailbox
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor


def of(mailbox: Mailbox) -> list[DeclaredWorkflow]:
    """What is declared of a mailbox, by workflow ID."""
    return list(DeclaredWorkflow.objects.filter(mailbox=mailbox).order_by("workflow_id"))


def mark(rows: Collection[DeclaredWorkflow]) -> str:
    """A short mark of what is declared, for a form to hand back."""
    said = "\n".join(sorted(f"{row.workflow_id} {row.may_send} {row.may_receive}" for row in rows))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def declare(
    *, actor: Actor, mailbox: Mailbox, sends: Collection[str], receives: Collection[str], seen: str | None = None
) -> bool:
    """Makes ``sends`` and ``receives`` what is declared; gives whether anything was different.

    ``seen``: :func:`mark` of what the person saw. Raises ValidationError when it is not that any more.
    """
    with transaction.atomic():
        held = Mailbox.objects.select_for_update(of=("self",)).select_related("team").defer("password").get(pk=mailbox.pk)
        before = of(held)
        if seen is not None and seen != mark(before):
            raise ValidationError(services.CHANGED_MEANWHILE, code="changed_meanwhile")
        wanted = {one: (one in sends, one in receives) for one in sorted({*sends, *receives})}
        if wanted == {row.workflow_id: (row.may_send, row.may_receive) for row in before}:
            return False
        DeclaredWorkflow.objects.filter(mailbox=held).delete()
        DeclaredWorkflow.objects.bulk_create(
            DeclaredWorkflow(team_id=held.team_id, mailbox=held, workflow_id=one, may_send=out, may_receive=into)
            for one, (out, into) in wanted.items()
        )
        audit.record(
            actor=actor,
            action="mailbox.workflows_declared",
            target=held,
            team=held.team,
            before=_told({row.workflow_id: (row.may_send, row.may_receive) for row in before}),
            after=_told(wanted),
        )
    return True


def _told(declared: dict[str, tuple[bool, bool]]) -> dict[str, str]:
    return {
        "may_send": ", ".join(one for one, (out, _) in declared.items() if out),
        "may_receive": ", ".join(one for one, (_, into) in declared.items() if into),
    }
