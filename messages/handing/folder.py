"""Handing a message on as files: ``IN`` of the mailbox's folder, as the MESH client does it.

A message is ``<message ID>.dat`` and, after it, ``<message ID>.ctl``, whose appearance is the consumer's signal. A report
without a body is its ``.ctl`` alone. Both are first written whole and synced under a name of their own in ``.handing``
beside ``IN``, on the same disk, so that all that ever happens in ``IN`` is a rename. That the files are prepared, and
under which name, is committed before the first of the two renames; whether a rename happened shows in ``.handing``.

Crash table (what stands when the process dies, and what happens then):

=====================================  ======================================  ==========================================
the process dies                       what stands                             next
=====================================  ======================================  ==========================================
while the files are written, before    parts in .handing, nothing in IN        they are removed, and all begins anew
``staged`` is committed
after that, before the first rename    both in .handing                        both are renamed
between the renames                    .ctl in .handing, .dat in IN            .ctl is renamed; the .dat is not touched
after the second rename, before        nothing in .handing                     done: the consumer may have taken both away,
``done`` is committed                                                          so nothing is written a second time
after ``done`` is committed            nothing in .handing                     nothing
=====================================  ======================================  ==========================================

What remains possible. Somebody empties ``.handing`` between ``staged`` and the renames: what is gone counts as handed on
when both files are, so leave that folder alone. A file server that loses a rename which it had synced loses the message
for the consumer; the portal still has it, and a person can hand it on again. A ``.dat`` that is taken away before its
``.ctl`` came (no consumer of the MESH client does that) is found out only after a crash between the renames: then a person
is asked. A person who hands on again gives the consumer a second copy, which is what they ask for.

A worker that stood still past its lease prepares files under a name of its own and cannot commit it; when it had committed
it, whoever took over does the very same renames, and the second of the two finds them done.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.conf import settings
from django.utils import timezone

from mailboxes import folders
from mailboxes.folders import FolderTrouble
from mailboxes.models import Outlet
from mailboxes.problems import Problem
from meshportal.core import payloads
from messages import ctl
from messages.handing import rows
from messages.models import HandOver, Message, MessageType

HANDING = ".handing"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TAKEN_EARLY = Problem(
    "folder_taken_early",
    "The .dat of this message was taken out of IN before its .ctl had come.",
    "Ask whoever runs the system that reads the folder whether it has the message. If not, hand it on again.",
)

FOLDER_CHANGED = Problem(
    "folder_changed",
    "The mailbox got another folder while this message was being put into the one before, which cannot be worked any more.",
    "Ask whoever runs the system that reads the folder whether it has the message. If not, hand it on again.",
)


def step(_name: str) -> None:
    """Called before each thing that is done to files. Tests let a process die in it."""


def hand_on(outlet: Outlet, row: HandOver) -> Problem | None:
    """Hands one message on and commits that; a problem of this message alone is given back.

    Raises FolderTrouble when the folder as a whole cannot be worked, LeaseLost, PayloadMissing, PayloadUnreadable.
    """
    message = row.message
    resumed = bool(row.staged)
    try:
        return _hand_on(outlet, row, message, resumed=resumed)
    except FolderTrouble:
        if resumed and row.folder != outlet.mailbox.folder:
            return FOLDER_CHANGED
        raise


def _hand_on(outlet: Outlet, row: HandOver, message: Message, *, resumed: bool) -> Problem | None:
    with _folders(row.folder if resumed else outlet.mailbox.folder) as (inside, handing):
        if not resumed:
            _clear(handing, row)
            staged = f"{row.delivery_id.hex}.{secrets.token_hex(6)}"
            try:
                _prepare(handing, staged, message)
                step("commit staged")
                rows.write(outlet, row, staged=staged, folder=outlet.mailbox.folder)
            except BaseException:
                with suppress(OSError):
                    _remove(handing, [f"{staged}.dat", f"{staged}.ctl"])
                raise
        name = file_name(message)
        if has_dat(message):
            moved = _move(handing, f"{row.staged}.dat", inside, f"{name}.dat")
            waits = resumed and not moved and _there(handing, f"{row.staged}.ctl")
            if waits and not _there(inside, f"{name}.dat"):
                # The .ctl alone would show half of a message.
                return TAKEN_EARLY
        _move(handing, f"{row.staged}.ctl", inside, f"{name}.ctl")
        step("commit done")
    rows.done(outlet, row)
    return None


def file_name(message: Message) -> str:
    """The name of the files without its ending, made of the message ID alone."""
    return message.mesh_id if _NAME.fullmatch(message.mesh_id) else message.pk.hex


def has_dat(message: Message) -> bool:
    """A report says all that it says in its control file."""
    return message.message_type != MessageType.REPORT or bool(message.size)


def control(message: Message) -> ctl.Control:
    """The control file of a received message, as the MESH client writes it."""
    report = message.message_type == MessageType.REPORT
    if report:
        record = ctl.StatusRecord(
            at=message.status_at or message.sent_at or message.seen_at,
            event=message.status_event or "SEND",
            status="ERROR",
            code=message.status_code,
            description=message.status_description,
        )
    else:
        record = ctl.StatusRecord(
            at=message.sent_at or message.stored_at or timezone.now(),
            event="TRANSFER",
            status="SUCCESS",
            code="00",
            description="Transferred to recipient mailbox",
        )
    return ctl.Control(
        message_type="Report" if report else "Data",
        from_dts=message.sender,
        to_dts=message.recipient_mailbox or message.mailbox.mailbox_id,
        subject=message.subject or "",
        local_id=message.local_id,
        # A report is about the message that failed, and by its id whoever sent that one finds it.
        dts_id=(message.linked_mesh_id or message.mesh_id) if report else message.mesh_id,
        workflow_id=message.workflow_id,
        encrypted=False,
        is_compressed=False,
        status_record=record,
    )


# --- Files ------------------------------------------------------------------------------------------------------------
@contextmanager
def _folders(folder: str) -> Iterator[tuple[int, int]]:
    """Descriptors of ``IN`` and ``.handing``. What the file server says against it comes out as FolderTrouble."""
    held: list[int] = []
    try:
        held.append(folders.opened(folder))
        held.append(folders.child(held[0], "IN"))
        held.append(folders.child(held[0], HANDING, make=True))
        yield held[1], held[2]
    except OSError as error:
        raise folders.trouble(error) from error
    finally:
        for at in held:
            os.close(at)


def _prepare(handing: int, staged: str, message: Message) -> None:
    if has_dat(message):
        _write(handing, f"{staged}.dat", lambda: payloads.open_blocks(message.payload.storage_key))
    _write(handing, f"{staged}.ctl", lambda: iter([ctl.render(control(message))]))
    step("sync .handing")
    folders.sync(handing)


def _write(at: int, name: str, opened: Callable[[], Iterator[bytes]]) -> None:
    step(f"create {name[-4:]}")
    descriptor = os.open(name, _NEW, settings.HAND_OVER_FILE_MODE, dir_fd=at)
    try:
        # Whatever the umask of the worker is: the consumer's account reads it by its group. Shares of Windows know no modes.
        with suppress(PermissionError):
            os.fchmod(descriptor, settings.HAND_OVER_FILE_MODE)
        for block in opened():
            step(f"write {name[-4:]}")
            _write_all(descriptor, block)
        step(f"sync {name[-4:]}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _move(handing: int, staged: str, inside: int, name: str) -> bool:
    """Renames a prepared file into IN and makes that last; False when it was renamed before."""
    step(f"rename {name[-4:]}")
    try:
        os.rename(staged, name, src_dir_fd=handing, dst_dir_fd=inside)
    except FileNotFoundError:
        if _there(handing, staged):
            raise
        moved = False
    else:
        moved = True
    step(f"sync IN {name[-4:]}")
    # Also when somebody renamed it before: they may have died before it lasted.
    folders.sync(inside)
    folders.sync(handing)
    return moved


def _there(at: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _clear(handing: int, row: HandOver) -> None:
    """Removes what a try that died had prepared, and never committed."""
    prefix = f"{row.delivery_id.hex}."
    _remove(handing, [name for name in os.listdir(handing) if name.startswith(prefix)])


def _remove(at: int, names: list[str]) -> None:
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=at)
