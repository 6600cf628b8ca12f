"""The folders of mailboxes on a file server, in the layout of the MESH client: ``IN``, ``OUT``, ``SENT``, ``FAILED`` in each.

All stand under one root. A way that leaves it is refused twice: by its words when it is set, and by opening it step by
step without following a symbolic link whenever it is used.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.exceptions import ValidationError

from mailboxes.models import Mailbox
from mailboxes.problems import Problem

_PART = re.compile(r"[^\\/:*?\"<>|\x00-\x1f\x7f]+")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MEND = "Ask whoever runs the portal to look at the file server, and at MESHPORTAL_FOLDER_ROOT. The portal tries again by itself."
NOT_SET = Problem(
    "folder_root_unset",
    "The portal has no root for the folders of mailboxes.",
    "Ask whoever runs the portal to set MESHPORTAL_FOLDER_ROOT, and restart it.",
)
_TROUBLES: dict[int, Problem] = {
    errno.ENOSPC: Problem("folder_full", "There is no space left in the mailbox's folder.", f"Free some space there. {_MEND}"),
    errno.EROFS: Problem("folder_read_only", "The mailbox's folder can be read but not written to.", _MEND),
    errno.EACCES: Problem("folder_forbidden", "The portal is not allowed to work in the mailbox's folder.", _MEND),
    errno.ENOENT: Problem("folder_missing", "The mailbox's folder is not there.", f"Is the file server connected? {_MEND}"),
    errno.ELOOP: Problem(
        "folder_symlink",
        "The mailbox's folder, or one in it, is a symbolic link or no folder at all. The portal follows no such links.",
        _MEND,
    ),
    errno.EXDEV: Problem(
        "folder_split", "The folders of the mailbox lie on different disks, so that no file can be moved between them.", _MEND
    ),
}
_TROUBLES |= {
    errno.EDQUOT: _TROUBLES[errno.ENOSPC],
    errno.EPERM: _TROUBLES[errno.EACCES],
    errno.ENOTDIR: _TROUBLES[errno.ELOOP],
}


class FolderTrouble(Exception):
    """A folder as a whole cannot be worked at the moment; ``problem`` says why. Nothing is lost by it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


def trouble(error: OSError) -> FolderTrouble:
    """What ``error`` means for the folder in which it happened. No name of a file is in it."""
    found = _TROUBLES.get(error.errno or 0)
    return FolderTrouble(
        found
        or Problem("folder_unreachable", f"The mailbox's folder cannot be worked: {error.strerror or 'no reason given'}.", _MEND)
    )


def opened(folder: str) -> int:
    """A descriptor of the folder, for the caller to close. Raises FolderTrouble."""
    if settings.FOLDER_ROOT is None:
        raise FolderTrouble(NOT_SET)
    try:
        at = os.open(settings.FOLDER_ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in folder.split("/"):
            above, at = at, _below(at, part)
            os.close(above)
    except OSError as error:
        raise trouble(error) from error
    return at


def _below(above: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=above)
    except OSError:
        os.close(above)
        raise


@contextmanager
def open_at(folder: str) -> Iterator[int]:
    """The same, closed at the end."""
    at = opened(folder)
    try:
        yield at
    finally:
        os.close(at)


def child(above: int, name: str, *, make: bool = False) -> int:
    """A descriptor of the folder ``name``, in whatever letters it is written (``OUT`` or ``out``), for the caller to close.

    Two that differ in their letters alone are no answer. ``make``: makes it, in the letters given. Raises FolderTrouble.
    """
    try:
        found = [one for one in os.listdir(above) if one.lower() == name.lower()]
        if len(found) > 1:
            raise FolderTrouble(
                Problem("folder_twice", f"The mailbox's folder holds {' and '.join(sorted(found))}.", "Join the two into one.")
            )
        if not found and make:
            os.mkdir(name, 0o770, dir_fd=above)
            sync(above)
        return os.open(found[0] if found else name, _DIRECTORY, dir_fd=above)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise FolderTrouble(
                Problem("folder_missing", f"The mailbox's folder has no folder {name} in it.", f"Make it. {_MEND}")
            ) from error
        raise trouble(error) from error


def sync(at: int) -> None:
    """Makes what was renamed, made or removed in a folder last. Shares that know no such thing do it by themselves."""
    try:
        os.fsync(at)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def check(mailbox: Mailbox) -> None:
    """Whether the folder of ``mailbox`` may be its own. Raises ValidationError under ``folder``.

    Call it in the transaction that writes it.
    """
    folder = mailbox.folder
    if not folder:
        return
    if settings.FOLDER_ROOT is None:
        raise ValidationError({"folder": f"{NOT_SET.sentence} {NOT_SET.advice}"})
    parts = folder.split("/")
    if folder.startswith("/") or any(not _PART.fullmatch(one) or one.startswith(".") or one != one.strip() for one in parts):
        raise ValidationError(
            {
                "folder": "Give a way below MESHPORTAL_FOLDER_ROOT, such as pathology/X26HC001: no part of it may begin with "
                'a dot, and none may hold any of \\ : * ? " < > | or a control character.'
            }
        )
    if len({one.lower() for one in parts} & {"in", "out", "sent", "failed", "temp"}):
        raise ValidationError({"folder": "Give the folder that holds IN, OUT, SENT and FAILED, not one of them."})
    others = Mailbox.objects.exclude(pk=mailbox.pk).exclude(folder="").values_list("folder", "mailbox_id", "team_id")
    for other, mailbox_id, team_id in others:
        mine, theirs = f"{folder.lower()}/", f"{other.lower()}/"
        if mine.startswith(theirs) or theirs.startswith(mine):
            whose = f"mailbox {mailbox_id}" if team_id == mailbox.team_id else "another mailbox"
            raise ValidationError({"folder": f"This folder is that of {whose}, or one lies within the other."})
    try:
        with open_at(folder):
            pass
    except FolderTrouble as error:
        raise ValidationError({"folder": f"{error.problem.sentence} {error.problem.advice}"}) from None
