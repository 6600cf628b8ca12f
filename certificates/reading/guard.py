"""Calling a parser that was not made for hostile input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def tried(call: Callable[[], Found]) -> Found | None:
    """What ``call`` returns, or None when it fails in whatever way.

    What a parser says about a key may quote it, so nothing of it is kept. A panic inside cryptography is no Exception: an
    initialisation vector that is too short raises one.
    """
    try:
        return call()
    except Exception:
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None
