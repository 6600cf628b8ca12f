"""Small uploads that never touch a disk: for files that hold a secret (promise P11)."""

from __future__ import annotations

import io
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile

_MOST_FILES = 4


class MemoryOnly(FileUploadHandler):
    """Keeps each file in memory up to ``most`` bytes. A larger one arrives empty, with its true ``size``."""

    def __init__(self, request: Any = None, *, most: int) -> None:
        super().__init__(request)
        self._most = most
        self._files = 0
        self._parts: list[bytes] = []
        self._taken = 0

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._files += 1
        self._parts, self._taken = [], 0
        if self._files > _MOST_FILES:
            raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._taken += len(raw_data)
        if self._taken > self._most:
            self._parts.clear()
        else:
            self._parts.append(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[Any]:
        content = b"" if self._taken > self._most else b"".join(self._parts)
        self._parts = []
        return InMemoryUploadedFile(
            file=io.BytesIO(content),
            field_name=self.field_name,
            name=self.file_name,
            content_type=self.content_type or "",
            size=file_size,
            charset=self.charset,
            content_type_extra=self.content_type_extra,
        )
