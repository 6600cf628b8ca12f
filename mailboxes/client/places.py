"""Where the folders of a client stand, as the portal sees them: below MESHPORTAL_FOLDER_ROOT or nowhere."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath

from django.conf import settings

from mailboxes import folders

_DEEPEST = 4
_NEEDED = ("IN", "OUT")


@dataclass(frozen=True)
class Place:
    """``folder`` is the way below the root, '' when there is none; ``sentence`` says what to do then."""

    folder: str
    sentence: str


def _pure(path: str) -> PurePath:
    windows = re.match(r"[A-Za-z]:|\\\\", path) is not None or ("\\" in path and "/" not in path)
    return PureWindowsPath(path) if windows else PurePosixPath(path)


def name_of(path: str) -> str:
    """The last part of a way of Windows or Linux."""
    return _pure(path.strip()).name


def find(path: str) -> Place:
    """Where the folder that the client calls ``path`` stands below the root.

    On another machine it has another name: then the longest end of it that names a folder with IN and OUT is offered.
    """
    path = path.strip()
    if not path:
        return Place("", "The file names no folder. You give it when the portal takes over.")
    root = settings.FOLDER_ROOT
    if root is None:
        return Place("", f"{folders.NOT_SET.sentence} It is needed only when the portal takes over. {folders.NOT_SET.advice}")
    pure = _pure(path)
    within = PurePosixPath(str(root))
    if isinstance(pure, PurePosixPath) and pure.is_relative_to(within) and pure != within and ".." not in pure.parts:
        folder = str(pure.relative_to(within))
        if _usable(folder):
            return Place(folder, f"The folder {folder} below the portal’s root. It is used only when the portal takes over.")
    parts = [part for part in pure.parts if part != pure.anchor]
    for length in range(min(len(parts), _DEEPEST), 0, -1):
        folder = "/".join(parts[-length:])
        if _usable(folder):
            return Place(
                folder, f"Looks like the folder {folder} below the portal’s root. You confirm it when the portal takes over."
            )
    return Place(
        "",
        "This folder is not below the portal’s root for folders (MESHPORTAL_FOLDER_ROOT). Nothing is needed while the portal "
        "only watches. Before it takes over, ask whoever runs the portal to connect the share there.",
    )


def waiting(folder: str) -> int:
    """How many files stand in OUT. Raises FolderTrouble when the folder, its IN or its OUT cannot be opened."""
    with folders.open_at(folder) as home:
        for name in _NEEDED:
            at = folders.child(home, name)
            try:
                with os.scandir(at) as entries:
                    names = [entry.name for entry in entries]
            finally:
                os.close(at)
    return sum(name[-4:].lower() in (".dat", ".ctl") and not name.startswith(".") for name in names)


def _usable(folder: str) -> bool:
    if any(part in ("", ".", "..") or part.startswith(".") for part in folder.split("/")):
        return False
    try:
        waiting(folder)
    except (folders.FolderTrouble, ValueError):
        return False
    return True
