"""What the management commands share: sentences instead of tracebacks, secrets never as arguments."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError


def sentences(error: ValidationError) -> str:
    """All that is wrong, one line each, with the field in front."""
    if not hasattr(error, "error_dict"):
        return "\n".join(error.messages)
    lines = []
    for field, problems in error.message_dict.items():
        lead = "" if field == "__all__" else f"{field.replace('_', ' ')}: "
        lines += [f"{lead}{problem}" for problem in problems]
    return "\n".join(lines)


def ask_secret(prompt: str, *, variable: str) -> str:
    """A secret from the environment variable ``variable``, from standard input, or typed unseen.

    Never from an argument: those show in the process list and in the shell's history.
    """
    if os.environ.get(variable):
        return os.environ[variable]
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass(f"{prompt}: ")
    return sys.stdin.readline().rstrip("\n") if sys.stdin is not None else ""


def read_file(path: str, *, most: int = -1) -> bytes:
    """The bytes of ``path``, the first ``most`` of them at most. Raises CommandError with a sentence."""
    try:
        with Path(path).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
