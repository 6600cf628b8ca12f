"""Encrypted payload storage: age files, streamed both ways at bounded memory (promises P1, P11).

A payload is written in one pass: the blocks of the download are hashed and encrypted as they come, into a temporary
file that holds ciphertext only, which Django's storage API then keeps durably under its key. The first identity in
``MESHPORTAL_PAYLOAD_KEYS`` encrypts; all of them decrypt.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import pyrage
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import Storage, storages

_BLOCK = 64 * 1024


class StorageFailed(Exception):
    """The payload could not be written (disk full, folder read-only, bucket out of reach): nothing was kept."""


class PayloadMissing(Exception):
    """There is no file under this key."""


class PayloadUnreadable(Exception):
    """The file is damaged, cut short, or encrypted for an identity that MESHPORTAL_PAYLOAD_KEYS does not hold."""


@dataclass(frozen=True)
class Stored:
    """What was kept: SHA-256 (hex) and size of the clear bytes, and the size of the file."""

    key: str
    sha256: str
    size: int
    stored_size: int


@lru_cache(maxsize=4)
def _identities(keys: tuple[str, ...]) -> tuple[pyrage.x25519.Identity, ...]:
    if not keys:
        raise ImproperlyConfigured("MESHPORTAL_PAYLOAD_KEYS holds no identity.")
    try:
        return tuple(pyrage.x25519.Identity.from_str(key) for key in keys)
    except pyrage.IdentityError:
        raise ImproperlyConfigured(
            "MESHPORTAL_PAYLOAD_KEYS holds something that is not an age identity (AGE-SECRET-KEY-1…). "
            "Make one with: python manage.py make_keys"
        ) from None


def identities() -> tuple[pyrage.x25519.Identity, ...]:
    """The identities of the current settings, the writing one first."""
    return _identities(tuple(settings.MESHPORTAL_PAYLOAD_KEYS))


def storage() -> Storage:
    """The storage that keeps the files (the ``payloads`` entry of STORAGES)."""
    return storages["payloads"]


class _HashingReader:
    """What age reads from: blocks of the source, counted and hashed on the way.

    An exception of the source is kept, since the encrypting library would report it as one of its own.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._left = b""
        self.digest = hashlib.sha256()
        self.size = 0
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._left:
                block = next(self._blocks, None)
                if block is None:
                    return b""
                self._left = bytes(block)
        except BaseException as error:
            self.error = error
            raise
        taken = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(taken) :]
        self.digest.update(taken)
        self.size += len(taken)
        return taken


def write(key: str, blocks: Iterable[bytes]) -> Stored:
    """Encrypts ``blocks`` and keeps them under ``key``, replacing what stood there; returns when they are durable.

    An exception raised by the source comes out as it is; anything else that goes wrong is StorageFailed, whatever the
    storage or the encrypting library calls it. In both cases nothing is kept.
    """
    recipient = identities()[0].to_public()
    reader = _HashingReader(blocks)
    try:
        with tempfile.TemporaryFile(dir=_scratch()) as sealed:
            pyrage.encrypt_io(reader, sealed, [recipient])
            stored_size = sealed.tell()
            sealed.seek(0)
            kept = storage().save(key, File(sealed, name=key))
    except Exception as error:
        if reader.error is not None:
            raise reader.error from None
        raise StorageFailed(f"{type(error).__name__}: {error}") from error
    except BaseException:
        if reader.error is not None:
            raise reader.error from None
        raise
    return Stored(key=kept, sha256=reader.digest.hexdigest(), size=reader.size, stored_size=stored_size)


def _scratch() -> str | None:
    """Ciphertext waits beside the payloads, where there is room for it, rather than in a small /tmp."""
    if settings.DATA_DIR.is_dir():
        return str(settings.DATA_DIR)
    return None


def exists(key: str) -> bool:
    """True when a file stands under ``key``."""
    return storage().exists(key)


def delete(key: str) -> None:
    """Removes the file under ``key``; absent is fine."""
    storage().delete(key)


def open_blocks(key: str) -> Iterator[bytes]:
    """The clear bytes under ``key``, block by block.

    Raises PayloadMissing at once; PayloadUnreadable when the file turns out damaged, which a reader must treat as
    "not the message" even when some blocks came before it (each block that did come is authentic).
    """
    try:
        source = storage().open(key, "rb")
    except (FileNotFoundError, OSError):
        raise PayloadMissing(f"No payload is kept under {key}.") from None
    return _decrypted(source)


def _decrypted(source: Any) -> Iterator[bytes]:
    # age pushes into a writer while a response pulls from an iterator: a pipe and a thread join the two, at the
    # memory of one pipe buffer.
    read_end, write_end = os.pipe()
    failure: list[BaseException] = []

    def push() -> None:
        try:
            with source, os.fdopen(write_end, "wb", buffering=_BLOCK) as sink:
                pyrage.decrypt_io(source, sink, list(identities()))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=push, name="payload-reader", daemon=True)
    thread.start()
    stream: BinaryIO
    with os.fdopen(read_end, "rb", buffering=0) as stream:
        while block := stream.read(_BLOCK):
            yield block
    thread.join()
    if failure:
        raise PayloadUnreadable("The stored payload cannot be decrypted.") from failure[0]


def read_all(key: str, *, limit: int) -> tuple[bytes, bool]:
    """The first ``limit`` bytes under ``key``, and whether there are more. Raises as :func:`open_blocks`."""
    blocks = open_blocks(key)
    found = bytearray()
    for block in blocks:
        found += block
        if len(found) > limit:
            blocks.close()  # type: ignore[attr-defined]
            return bytes(found[:limit]), True
    return bytes(found), False
