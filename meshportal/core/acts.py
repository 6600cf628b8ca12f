"""What services raise when an act is not possible now."""

from __future__ import annotations


class Refused(Exception):
    """The act is not possible now. The text is one sentence for the person who asked; nothing was changed."""
