"""Typed reading of the environment. A value that makes no sense stops the start, with a sentence that names it.

Every secret may also be given as a file: ``NAME_FILE`` holds the path of a file whose content is the value, as
container platforms mount them.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def _raw(name: str) -> str | None:
    value = os.environ.get(name)
    return value.strip() if value is not None and value.strip() else None


def text(name: str, default: str = "") -> str:
    """The variable ``name``, or ``default`` when it is absent or blank."""
    value = _raw(name)
    return default if value is None else value


def boolean(name: str, *, default: bool) -> bool:
    """A switch: 1/true/yes/on or 0/false/no/off. Raises ImproperlyConfigured for anything else."""
    value = _raw(name)
    if value is None:
        return default
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be one of 1, true, yes, on, 0, false, no or off, not {value!r}.")


def integer(name: str, default: int, *, minimum: int = 0, maximum: int = 2**31 - 1) -> int:
    """A whole number within bounds. Raises ImproperlyConfigured otherwise."""
    value = _raw(name)
    if value is None:
        return default
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if not minimum <= number <= maximum:
        raise ImproperlyConfigured(f"{name} must be between {minimum} and {maximum}, not {number}.")
    return number


def octal(name: str, default: int) -> int:
    """The permissions of a file, such as 0640. Raises ImproperlyConfigured when others than owner and group may do anything,
    or the owner cannot read and write."""
    value = _raw(name)
    if value is None:
        return default
    try:
        number = int(value, 8)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be permissions such as 0640, not {value!r}.") from None
    if number & ~0o660 or number & 0o600 != 0o600:
        raise ImproperlyConfigured(f"{name} must be 0600, 0640 or 0660, not {value!r}.")
    return number


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """A comma-separated list of networks such as 10.20.0.0/16. Raises ImproperlyConfigured for what is none."""
    try:
        return [ip_network(part) for part in words(name)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must list networks such as 10.20.0.0/16: {error}.") from None


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """A comma-separated list; blanks are dropped."""
    value = _raw(name)
    return list(default) if value is None else [part.strip() for part in value.split(",") if part.strip()]


def secret(name: str, default: str | None = None) -> str:
    """A secret from ``name`` or from the file that ``name_FILE`` names.

    Raises ImproperlyConfigured when both are given, when the file cannot be read or is empty, and when neither is
    given and there is no default. The message never holds the value.
    """
    value, path = _raw(name), _raw(f"{name}_FILE")
    if value is not None and path is not None:
        raise ImproperlyConfigured(f"Give either {name} or {name}_FILE, not both.")
    if path is not None:
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which cannot be read: {error}.") from None
        if not value:
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which is empty.")
    if value is not None:
        return value
    if default is None:
        raise ImproperlyConfigured(f"{name} (or {name}_FILE) must be set. See the README, Settings.")
    return default


def secrets(name: str) -> list[str]:
    """A comma- or line-separated list of secrets, at least one, as :func:`secret` reads it."""
    parts = [part.strip() for part in secret(name).replace("\n", ",").split(",")]
    return [part for part in parts if part]
