"""A system check for the file server's share that the folders of mailboxes stand on."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register()
def folder_root_is_usable(**_kwargs: Any) -> list[CheckMessage]:
    """A warning only: web hosts may run without the share, and a share that is away comes back."""
    root = settings.FOLDER_ROOT
    if root is None:
        return []
    if not root.is_dir():
        said = f"MESHPORTAL_FOLDER_ROOT ({root}) is not there, or is no folder: no document in it is sent."
        return [Warning(said, id="meshportal.W006")]
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        said = f"MESHPORTAL_FOLDER_ROOT ({root}) cannot be read and written by this account: no document in it is sent."
        return [Warning(said, id="meshportal.W007")]
    return []
