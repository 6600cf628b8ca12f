"""Every setting of a mailbox in one act, for the page and the command line alike.

| what goes wrong | what stands, and what happens then |
|---|---|
| two people save, the second what was on screen before the first | the second is told; nothing of theirs is saved |
| one of several settings is refused (a folder that is away, a certificate of another environment) | none is changed |
| the process dies in the middle | one transaction: all of it or nothing |
| the mailbox is being polled | its turn ends before the next download or acknowledge |
| a change of mode without a reason | refused: it decides who takes the messages |
| its folder is taken away while messages go on to it | refused, with what to do first |
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from mailboxes import outlets, services
from mailboxes.models import Channel, Mailbox, Outlet
from meshportal.audit.actors import Actor

NEEDS_A_REASON = "Say why the mode changes. It decides who takes the messages, and is kept in the audit."


def change_settings(
    *,
    actor: Actor,
    mailbox: Mailbox,
    reason: str = "",
    revision: int | None = None,
    hand_on_to_folder: bool | None = None,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    **changes: Any,
) -> list[str]:
    """Changes what differs from what is kept, and gives the names of what that was; None leaves as it is.

    ``changes``: settings of :func:`mailboxes.services.change_mailbox`. ``revision``: that of the mailbox as the person saw
    it. Raises ValidationError by field.
    """
    with transaction.atomic():
        rows = Mailbox.objects.select_for_update(of=("self",)).select_related("identity")
        held = rows.defer("password", "identity__private_key", "identity__certificate_pem").get(pk=mailbox.pk)
        if revision is not None and held.revision != revision:
            raise ValidationError(services.CHANGED_MEANWHILE, code="changed_meanwhile")
        changes = {name: value for name, value in changes.items() if name == "password" or getattr(held, name) != value}
        if "mode" in changes and not reason.strip():
            raise ValidationError({"reason": NEEDS_A_REASON})
        handing = Outlet.objects.filter(mailbox=held, channel=Channel.FOLDER, enabled=True).exists()
        if not changes.get("folder", held.folder) and (handing if hand_on_to_folder is None else hand_on_to_folder):
            field = "folder" if handing and "folder" in changes else "hand_on_to_folder"
            raise ValidationError(
                {
                    field: "Received messages go on to the folder of this mailbox, and it has no folder then. Give it one, "
                    "or stop that."
                }
            )
        done = sorted(changes)
        if changes:
            services.change_mailbox(actor=actor, mailbox=held, reason=reason, **changes)
        if hand_on_to_folder is not None and hand_on_to_folder != handing:
            outlets.set_folder(actor=actor, mailbox=held, enabled=hand_on_to_folder, reason=reason)
            done.append("hand_on_to_folder")
        known = outlets.webhook_url(held)
        url = known if webhook_url is None else webhook_url
        if webhook_secret is not None or url != known:
            outlets.set_webhook(actor=actor, mailbox=held, url=url, secret=webhook_secret, reason=reason)
            done += ["webhook_url"] if url != known else []
            done += ["webhook_secret"] if webhook_secret is not None else []
        if done and not changes:
            # Who saw the settings as they were is to learn of this change too.
            Mailbox.objects.filter(pk=held.pk).update(revision=F("revision") + 1)
    return done
