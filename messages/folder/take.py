"""From a pair of files in ``OUT`` to a queued message, or to a sentence that says why it is none."""

from __future__ import annotations

import os
import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from mailboxes import connections
from mailboxes.folders import FolderTrouble
from mailboxes.models import Mailbox, WatchedFolder
from mailboxes.problems import NotConfigured, Problem
from meshportal.audit.actors import Actor
from meshportal.core import lease
from meshportal.core.acts import Refused
from meshportal.core.commands import sentences
from meshportal.core.crypto import CannotUnseal
from meshportal.core.payloads import StorageFailed
from meshportal.mesh import errors
from messages import ctl, outbox, refusals, registry
from messages.folder import disk
from messages.folder.disk import Folder, Pair
from messages.models import FolderPickup, Message, ResendPolicy, Stage

ACTOR = Actor.system("folder watcher")
# The domain of the mail addresses that the predecessor of MESH gave to mailboxes: their first half is a mailbox ID.
_DTS_DOMAIN = "@dts.nhs.uk"
_ODS = re.compile(r"[A-Z0-9]{3,12}")
_NO_REASON = "A file cannot say why: send it again from the page of the first message, or with manage.py send --again."
STORAGE = Problem(
    "storage",
    "The portal could not keep a document of the mailbox's folder in its storage, so it was not sent.",
    "Ask whoever runs the portal to check free disk space and the storage settings. Nothing is lost: the document waits in "
    "the folder.",
)


class Unfit(Exception):
    """The document cannot be sent as it is: ``code`` of MESH where one says so, and a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Later(Exception):
    """Nobody can say yet whether the document can be sent. ``patient``: it waits for as long as that takes."""

    def __init__(self, sentence: str, *, patient: bool = False) -> None:
        super().__init__(sentence)
        self.patient = patient


def claim(watched: WatchedFolder, mailbox: Mailbox, folder: Folder, pair: Pair) -> FolderPickup:
    """Takes the files of ``pair`` out of OUT, under a row that says what they were called. Raises LeaseLost, OSError."""
    row = FolderPickup(mailbox=mailbox, folder=mailbox.folder, dat_name=os.fsencode(pair.dat), ctl_name=os.fsencode(pair.ctl))
    with transaction.atomic():
        lease.hold(watched)
        row.save(force_insert=True)
    _move_in(folder, row)
    return row


def _move_in(folder: Folder, row: FolderPickup) -> None:
    # The .ctl says that a pair is whole, so it is moved last: what is left of a pair does not look like one.
    for name, to in ((bytes(row.dat_name), held_dat(row)), (bytes(row.ctl_name), held_ctl(row))):
        if name and not disk.there(folder.taking, to):
            disk.move(folder.out, name, folder.taking, to)


def resume(folder: Folder, row: FolderPickup) -> bool:
    """Goes on with a claim that a dead worker left; False when it had not begun, and the row is gone."""
    begun = disk.there(folder.taking, held_dat(row)) or disk.there(folder.taking, held_ctl(row))
    if not begun:
        FolderPickup.objects.filter(pk=row.pk, stage=Stage.TAKING).delete()
        return False
    _move_in(folder, row)
    return True


def held_dat(row: FolderPickup) -> str:
    """What the body is called while the portal has it."""
    return f"{row.pk.hex}.dat"


def held_ctl(row: FolderPickup) -> str:
    """What the control file is called while the portal has it."""
    return f"{row.pk.hex}.ctl"


def queue(watched: WatchedFolder, mailbox: Mailbox, folder: Folder, row: FolderPickup) -> Message:
    """Queues the document of a claimed pair. Raises Unfit, Later, LeaseLost, and FolderTrouble when the portal's storage
    takes nothing."""
    control = _control(folder, row)
    draft = _draft(mailbox, row, control)
    descriptor = _open_body(folder, row)

    def alongside(message: Message) -> None:
        lease.hold(watched)
        if not FolderPickup.objects.filter(pk=row.pk, stage=Stage.TAKING).update(stage=Stage.QUEUED, message=message):
            raise lease.LeaseLost(f"{row} was taken by another worker.")

    try:
        return outbox.put(actor=ACTOR, mailbox=mailbox, draft=draft, body=disk.blocks(descriptor), alongside=alongside)
    except ValidationError as error:
        raise Unfit(_code_of(error), sentences(error).replace("\n", " ")) from None
    except Refused as refusal:
        rule = registry.known(mailbox.team_id, draft.workflow_id).resend_policy
        raise Unfit("", str(refusal) if rule == ResendPolicy.NEVER else f"{refusal} {_NO_REASON}") from None
    except disk.Changed:
        raise Later("The document (.dat) was written to while it was read.") from None
    except StorageFailed as error:
        raise FolderTrouble(STORAGE) from error
    except OSError as error:
        raise Later(f"The document (.dat) cannot be read: {error.strerror}.") from error
    finally:
        os.close(descriptor)


def _code_of(error: ValidationError) -> str:
    if "recipient" in error.message_dict:
        return "12"
    return "02" if "file" in error.message_dict else "06"


def _control(folder: Folder, row: FolderPickup) -> ctl.Control:
    if not row.ctl_name or not disk.there(folder.taking, held_ctl(row)):
        # So that whoever puts the document into its place knows that there is none to come after it.
        row.ctl_name = b""
        raise Unfit("06", "No control file (.ctl) came with the document, or it was taken away.")
    if not row.dat_name or not disk.there(folder.taking, held_dat(row)):
        raise Unfit("02", "No document (.dat) came with the control file, or it was taken away.")
    try:
        return ctl.parse(disk.read_small(folder.taking, held_ctl(row)))
    except ctl.ControlError as error:
        raise Unfit("06", str(error)) from None
    except disk.NotAFile:
        raise Unfit("06", "The control file (.ctl) is a symbolic link, which is not followed, or no plain file.") from None
    except OSError as error:
        raise Later(f"The control file (.ctl) cannot be read: {error.strerror}.") from error


def _open_body(folder: Folder, row: FolderPickup) -> int:
    try:
        descriptor = disk.opened(folder.taking, held_dat(row))
    except disk.NotAFile:
        raise Unfit("02", "The document (.dat) is a symbolic link, which is not followed, or no plain file.") from None
    except OSError as error:
        raise Later(f"The document (.dat) cannot be read: {error.strerror}.") from error
    size = os.fstat(descriptor).st_size
    if size > settings.MESH_MAX_MESSAGE_BYTES:
        os.close(descriptor)
        raise Unfit("", "The document is larger than the portal is set to send (MESHPORTAL_MAX_MESSAGE_MB).")
    return descriptor


def _draft(mailbox: Mailbox, row: FolderPickup, control: ctl.Control) -> outbox.Draft:
    """What the control file asks for. Raises Unfit, and Later when the recipient cannot be looked up now."""
    if control.message_type.upper() != "DATA":
        raise Unfit("11", "MessageType is not Data. Only documents are sent from a folder.")
    if control.from_dts.upper() != mailbox.mailbox_id:
        raise Unfit("07", f"From_DTS is not {mailbox.mailbox_id}, the mailbox whose folder this is.")
    if not control.workflow_id:
        raise Unfit("06", "WorkflowId is missing.")
    for name, value in (("Encrypted", control.encrypted), ("IsCompressed", control.is_compressed)):
        if value:
            raise Unfit("06", f"{name} is Y, which the portal cannot pass on. Send the document without it.")
    return outbox.Draft(
        recipient=_recipient(mailbox, control),
        workflow_id=control.workflow_id,
        subject=control.subject,
        local_id=control.local_id,
        file_name=_file_name(row),
        compress=bool(control.compress),
        ods_code=control.to_dts if control.address_type.upper() == "ODS" else "",
    )


def _file_name(row: FolderPickup) -> str:
    """The name of the document as the recipient sees it."""
    try:
        return bytes(row.dat_name).decode()
    except UnicodeDecodeError:
        raise Unfit("06", "The name of the file holds bytes that are no text in UTF-8.") from None


def _recipient(mailbox: Mailbox, control: ctl.Control) -> str:
    kind, to = control.address_type.upper(), control.to_dts.upper()
    if kind in ("DTS", "ALL", "") and to:
        return to
    if kind == "ODS" and to:
        return _looked_up(mailbox, to, control.workflow_id)
    if kind in ("SMTP", "ESMTP", "ALL") and control.to_esmtp:
        name, at, domain = control.to_esmtp.upper().partition("@")
        if f"{at}{domain}".lower() == _DTS_DOMAIN:
            return name
        raise Unfit("12", f"To_ESMTP is no address that ends with {_DTS_DOMAIN}, so it names no mailbox. Give To_DTS.")
    if kind not in ("DTS", "ALL", "ODS", "SMTP", "ESMTP", ""):
        raise Unfit("06", "AddressType is none of DTS, SMTP, ALL and ODS.")
    raise Unfit("08", f"{'To_ESMTP' if 'SMTP' in kind else 'To_DTS'} is missing: the control file names no recipient.")


def _looked_up(mailbox: Mailbox, ods_code: str, workflow_id: str) -> str:
    """The one mailbox of an organisation that takes a workflow. Never picks among several."""
    if not _ODS.fullmatch(ods_code):
        raise Unfit("08", "AddressType is ODS, and To_DTS is no ODS code.")
    try:
        found = connections.client_for(mailbox).lookup(ods_code, workflow_id)
    except (NotConfigured, CannotUnseal) as error:
        raise Later("The recipient cannot be looked up: the mailbox is not ready for MESH.", patient=True) from error
    except errors.MeshError as error:
        if refusals.is_final(error, first=True):
            raise Unfit(error.code, "MESH refused to look up the recipient. Check the ODS code and the WorkflowId.") from None
        raise Later("The recipient cannot be looked up: MESH did not answer.", patient=True) from error
    if not found:
        raise Unfit("EPL-151", f"No mailbox of {ods_code} takes this workflow.")
    if len(found) > 1:
        names = ", ".join(f"{one.mailbox_id} ({one.mailbox_name})" if one.mailbox_name else one.mailbox_id for one in found)
        raise Unfit(
            "EPL-150",
            f"{len(found)} mailboxes of {ods_code} take this workflow, and the portal never chooses: {names}. Name one in "
            "To_DTS, with AddressType DTS.",
        )
    return found[0].mailbox_id


def ended(watched: WatchedFolder, row: FolderPickup, **outcome: Any) -> None:
    """Commits the outcome of a document, whatever it is: from now on its files only have to be put where they belong."""
    changes = {"ended_at": timezone.now(), **outcome, "stage": Stage.PLACING}
    changes["description"] = changes["description"][: ctl.VALUE_LIMIT]
    write(watched, row, ctl_name=row.ctl_name, **changes)


def write(watched: WatchedFolder, row: FolderPickup, **changes: Any) -> None:
    """Changes a row, as long as nobody else did and the folder is ours. Raises LeaseLost."""
    with transaction.atomic():
        lease.hold(watched)
        if not FolderPickup.objects.filter(pk=row.pk, stage=row.stage).update(**changes):
            raise lease.LeaseLost(f"{row} was changed by another worker.")
    for name, value in changes.items():
        setattr(row, name, value)
