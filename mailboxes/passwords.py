"""A new password for a mailbox: tried by a handshake first, so that the one that works is kept.

| what MESH says | what is kept |
|---|---|
| takes the new one | the new one |
| refuses the new one and takes the old one | the old one; the new one may not be active yet, or was mistyped |
| refuses both | the old one: nothing proves the new one better |
| cannot be asked | the old one, unless somebody asks for the new one to be kept without a try |

The process may die at any point: the new one is kept or it is not. No transaction is held while MESH is asked. Who changed
the mailbox meanwhile wins, and that is said.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError

from mailboxes import services, trying
from mailboxes.models import Mailbox
from mailboxes.problems import Problem
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.crypto import CannotUnseal

_REFUSED = "sign_in_refused"


def change_password(*, actor: Actor, mailbox: Mailbox, password: str, try_first: bool = True, revision: int | None = None) -> str:
    """Keeps ``password`` when MESH takes it, and says so. Raises ValidationError when the old one was kept, with the reason."""
    if not try_first:
        why = "Kept without a try"
        services.change_mailbox(actor=actor, mailbox=mailbox, password=password, revision=revision, reason=why)
        return (
            f"The new password of {mailbox} is kept. It was not tried: the next poll, or a check of the connection, shows "
            "whether it works."
        )
    tried = Mailbox.objects.select_related("identity", "organisation").get(pk=mailbox.pk)
    if revision is not None and tried.revision != revision:
        raise ValidationError(services.CHANGED_MEANWHILE, code="changed_meanwhile")
    seen = tried.revision
    try:
        old = str(tried.password)
    except CannotUnseal:
        old = ""
    problem = trying.handshake(tried, password=password)
    if problem is None:
        services.change_mailbox(actor=actor, mailbox=mailbox, password=password, revision=seen, reason="MESH took it")
        return f"MESH took the new password of {mailbox}. It is kept, and the old one is forgotten."
    audit.record(
        actor=actor,
        action="mailbox.password_tried",
        target=mailbox,
        team=mailbox.team,
        after={"taken": False, "code": problem.code},
    )
    raise ValidationError({"password": _why(tried, problem, old)})


def _why(mailbox: Mailbox, problem: Problem, old: str) -> str:
    if problem.code != _REFUSED:
        return f"The new password could not be tried, so the old one is kept. {problem.sentence} {problem.advice}"
    if old and trying.handshake(mailbox, password=old) is None:
        return (
            "MESH refuses this password and takes the one that was there, so that one is kept. Copy the new one again; when it "
            "is right, it may not be active yet."
        )
    return (
        "MESH refuses this password, and the one that was there too. The old one is kept. Copy the new one again; when it is "
        "right, the shared key of the environment may be wrong: ask whoever runs the portal."
    )
