"""Putting the files of a document where its outcome belongs: ``SENT`` or ``FAILED``, never over another file."""

from __future__ import annotations

from dataclasses import replace

from mailboxes.models import Mailbox, WatchedFolder
from messages import ctl
from messages.folder import disk, take
from messages.folder.disk import Folder
from messages.models import FolderPickup, Message, MessageEvent, Stage
from messages.states import State

# In these the sender has nothing more to do, and the outcome of the sending itself is known.
SETTLED = (
    State.ACCEPTED,
    State.COLLECTED,
    State.CONFIRMED,
    State.RETURNED,
    State.EXPIRED,
    State.REFUSED,
    State.CANCELLED,
)
_TAKEN = (State.ACCEPTED, State.COLLECTED, State.CONFIRMED)
_LONGEST_NAME = 200
# A control file that could not be read is kept as it came, beside the one that says so.
_ORIGINAL = b".original"


def settle(watched: WatchedFolder, row: FolderPickup, message: Message) -> None:
    """Commits what became of a queued document whose message has come to its outcome."""
    if taken(message):
        said = "Accepted by MESH" if message.mesh_id else "Arrived, as a person confirmed"
        take.ended(watched, row, sent=True, status_code="00", description=said)
    elif message.state == State.CANCELLED:
        take.ended(watched, row, sent=False, status_code="", description="Cancelled in the portal before it was sent.")
    else:
        said = f"{message.problem} {message.problem_advice}".strip() or message.status_description or "MESH did not take it."
        take.ended(watched, row, sent=False, status_code=message.status_code, description=said)


def taken(message: Message) -> bool:
    """Whether MESH had all of the message. A report that came later does not change that."""
    if message.state in _TAKEN:
        return True
    if message.state not in (State.RETURNED, State.EXPIRED):
        return False
    return MessageEvent.objects.filter(message=message, to_state__in=[str(state) for state in _TAKEN]).exists()


def place(watched: WatchedFolder, mailbox: Mailbox, folder: Folder, row: FolderPickup) -> None:
    """Moves the files of an ended document into place and closes its row. Raises LeaseLost, FolderTrouble, OSError."""
    target = folder.target(sent=bool(row.sent))
    dat, held_ctl = take.held_dat(row), take.held_ctl(row)
    suffixes = _suffixes(row)
    # While its .ctl is still held nothing of it is known to be in place, but for a .dat that is not held any more.
    has_ctl = disk.there(folder.taking, held_ctl)
    has_dat = disk.there(folder.taking, dat)
    if has_ctl or has_dat or not row.ctl_name:
        if not row.placed_as or (has_dat and disk.there(target, bytes(row.placed_as) + suffixes[0])):
            _name(watched, target, row)
        placed = bytes(row.placed_as)
        control, whole = _read(folder, row)
        draft = f".{row.pk.hex}.part"
        disk.write(target, draft, ctl.render(_with_outcome(mailbox, row, control)))
        disk.move(folder.taking, dat, target, placed + suffixes[0])
        disk.move(target, draft, target, placed + suffixes[1])
        if whole:
            disk.remove(folder.taking, held_ctl)
        else:
            disk.move(folder.taking, held_ctl, target, placed + suffixes[1] + _ORIGINAL)
    take.write(watched, row, stage=Stage.DONE)


def _suffixes(row: FolderPickup) -> tuple[bytes, bytes]:
    return bytes(row.dat_name)[-4:] or b".dat", bytes(row.ctl_name)[-4:] or b".ctl"


def _name(watched: WatchedFolder, target: int, row: FolderPickup) -> None:
    """Chooses a name that is free in the target, the document's own where it is, and commits it."""
    base = row.base if len(row.base) <= _LONGEST_NAME else row.pk.hex.encode()
    endings = (*_suffixes(row), _suffixes(row)[1] + _ORIGINAL)
    for number in range(1, 1000):
        name = base if number == 1 else base + f"-{number}".encode()
        if not any(disk.there(target, name + ending) for ending in endings):
            break
    else:
        name = base + b"-" + row.pk.hex.encode()
    take.write(watched, row, placed_as=name)


def _read(folder: Folder, row: FolderPickup) -> tuple[ctl.Control, bool]:
    """The document's control file, or an empty one; and whether nothing of it is lost when that is written anew."""
    try:
        return ctl.parse(disk.read_small(folder.taking, take.held_ctl(row))), True
    except FileNotFoundError:
        return ctl.Control(), True
    except (ctl.ControlError, disk.NotAFile, OSError):
        return ctl.Control(), False


def _with_outcome(mailbox: Mailbox, row: FolderPickup, control: ctl.Control) -> ctl.Control:
    message = row.message
    record = ctl.StatusRecord(
        at=row.ended_at,
        event="SEND",
        status="SUCCESS" if row.sent else "ERROR",
        code=row.status_code,
        description=row.description,
    )
    return replace(
        control,
        from_dts=control.from_dts or mailbox.mailbox_id,
        dts_id=message.mesh_id if message is not None else "",
        local_id=message.local_id if message is not None else control.local_id,
        status_record=record,
    )
