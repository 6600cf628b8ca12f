"""The keyring behind sealed columns: MultiFernet over ``MESHPORTAL_KEYS``.

The first key seals; every key opens. To rotate: put a new key first, restart, run ``manage.py reseal``, then drop
the old key. A value that no key opens raises: it is never returned as it stands.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class CannotUnseal(Exception):
    """A sealed value that none of the keys in ``MESHPORTAL_KEYS`` opens (a lost key, or a damaged row)."""


@lru_cache(maxsize=4)
def _keyring(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured("MESHPORTAL_KEYS holds no key.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise ImproperlyConfigured(
            "MESHPORTAL_KEYS holds something that is not a Fernet key (32 bytes in URL-safe base64). "
            "Make one with: python manage.py make_keys"
        ) from None


def keyring() -> MultiFernet:
    """The keyring of the current settings."""
    return _keyring(tuple(settings.MESHPORTAL_KEYS))


def seal(value: bytes) -> bytes:
    """Encrypts ``value`` with the first key."""
    return keyring().encrypt(value)


def unseal(token: bytes) -> bytes:
    """Decrypts what :func:`seal` made. Raises :class:`CannotUnseal`."""
    try:
        return keyring().decrypt(bytes(token))
    except InvalidToken:
        raise CannotUnseal("A sealed value cannot be opened with the keys in MESHPORTAL_KEYS.") from None


def reseal(token: bytes) -> bytes:
    """The same value sealed with the first key. Raises :class:`CannotUnseal`."""
    try:
        return keyring().rotate(bytes(token))
    except InvalidToken:
        raise CannotUnseal("A sealed value cannot be opened with the keys in MESHPORTAL_KEYS.") from None
