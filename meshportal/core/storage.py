"""A file system storage whose files are either absent or whole, also after a power cut."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@deconstructible
class DurableFileSystemStorage(FileSystemStorage):
    """Writes to a temporary name, syncs, renames over the target and syncs the folder (promise P1)."""

    def __init__(self, location: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("allow_overwrite", True)
        kwargs.setdefault("file_permissions_mode", 0o600)
        kwargs.setdefault("directory_permissions_mode", 0o700)
        super().__init__(location=location or settings.PAYLOAD_DIR, **kwargs)

    def _save(self, name: str, content: File[Any] | IO[Any]) -> str:
        target = Path(self.path(name))
        missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in missing:
            _sync_directory(folder.parent)
        # What a killed process left of an earlier try at the same file.
        for stale in target.parent.glob(f".{target.name}.*.part"):
            stale.unlink(missing_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                for block in content.chunks() if hasattr(content, "chunks") else content:
                    stream.write(block)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)
        return name
