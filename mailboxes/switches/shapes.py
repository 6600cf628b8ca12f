"""Whether a code or an id has its shape."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator


def fits(shape: RegexValidator, value: str) -> bool:
    """True when ``value`` has it."""
    try:
        shape(value)
    except ValidationError:
        return False
    return "\n" not in value
