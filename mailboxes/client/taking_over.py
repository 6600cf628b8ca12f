"""The portal takes a mailbox over from its own client, in the same folders, and gives it back.

| what goes wrong | what stands, and what happens then |
|---|---|
| the client still runs | both would take messages: the person says that it is stopped |
| documents stand in OUT | the client may have sent some just now: the person says that they are still to be sent |
| a folder outside the root, of another mailbox, without IN or OUT | a sentence under ``folder``; nothing is done |
| the process dies in it | one transaction: nothing |
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction

from mailboxes import folders, outlets, services
from mailboxes.client import places
from mailboxes.models import ClientMailbox, Mailbox, Mode
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

_WHY = "Say why: who takes the messages is kept in the audit."


def place_of(mailbox: Mailbox) -> places.Place:
    """The folder that is offered for ``mailbox``: its own, or that of its client."""
    if mailbox.folder:
        return places.Place(mailbox.folder, "The folder that this mailbox has already.")
    root = ClientMailbox.objects.filter(mailbox=mailbox).values_list("interface_root", flat=True).first()
    return places.find(root or "")


def cut_over(*, actor: Actor, mailbox: Mailbox, folder: str, stopped: bool, send_waiting: bool, reason: str) -> None:
    """From now on the portal collects: received messages go to IN of ``folder``, and what is put into OUT is sent.

    Raises ValidationError by field, and Refused when the mailbox is not watched.
    """
    if not stopped:
        raise ValidationError({"stopped": "Stop the client for this mailbox first: otherwise both take its messages."})
    if not reason.strip():
        raise ValidationError({"reason": _WHY})
    folder = folder.strip().strip("/") if not folder.startswith("//") else folder
    if not folder:
        raise ValidationError({"folder": "Give the mailbox’s folder below the portal’s root for folders."})
    with transaction.atomic():
        held = Mailbox.objects.select_for_update(of=("self",)).select_related("team").defer("password").get(pk=mailbox.pk)
        if held.mode != Mode.WATCH:
            raise Refused("Only a watched mailbox is taken over. Look at its mode.")
        # Refuses a way out of the root before anything there is looked at.
        services.change_mailbox(
            actor=actor, mailbox=held, reason=reason.strip(), folder=folder, send_from_folder=True, mode=Mode.COLLECT
        )
        try:
            number = places.waiting(folder)
        except folders.FolderTrouble as error:
            raise ValidationError({"folder": f"{error.problem.sentence} {error.problem.advice}"}) from None
        if number and not send_waiting:
            said = f"{number} file{'' if number == 1 else 's'} still stand{'s' if number == 1 else ''} in OUT, and would be sent."
            raise ValidationError(
                {"send_waiting": f"{said} Let the client send them before you stop it, or say that they are still to be sent."}
            )
        outlets.set_folder(actor=actor, mailbox=held, enabled=True, reason=reason.strip())


def cut_back(*, actor: Actor, mailbox: Mailbox, reason: str) -> None:
    """The portal only watches again, takes nothing more from OUT and puts nothing more into IN.

    Raises ValidationError by field, and Refused when the mailbox is not collected.
    """
    if not reason.strip():
        raise ValidationError({"reason": _WHY})
    with transaction.atomic():
        held = Mailbox.objects.select_for_update(of=("self",)).select_related("team").defer("password").get(pk=mailbox.pk)
        if held.mode != Mode.COLLECT:
            raise Refused("Only a mailbox that the portal collects is given back. Look at its mode.")
        services.change_mailbox(actor=actor, mailbox=held, reason=reason.strip(), send_from_folder=False, mode=Mode.WATCH)
        outlets.set_folder(actor=actor, mailbox=held, enabled=False, reason=reason.strip())
