"""Codes of made-up practices, for harnesses on both sides of the portal."""

from __future__ import annotations


def code_of(number: int) -> str:
    """The ODS code of a practice."""
    return f"P{number:05d}"
