"""One thing that needs a person, as the overview shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Line:
    """One problem. ``subject`` is what it is about; ``moment`` is shown after ``moment_words``; ``since`` only orders."""

    tone: str
    subject: str
    sentence: str
    advice: str
    since: datetime
    url: str
    act: str
    moment_words: str = "Since"
    moment: datetime | None = None
