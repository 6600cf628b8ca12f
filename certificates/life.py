"""What a certificate has left, in the words and tones that pages show, and when to remind of its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from certificates.models import ClientIdentity
from certificates.reading import EXPIRY_WARNING as CERTIFICATE_WARNING
from meshportal.web.time import london, span_words

__all__ = ["CERTIFICATE_WARNING", "DAILY_RUNGS", "RUNGS", "CertificateLife", "certificate_life"]

# How long before a certificate lapses somebody is told: at these, and then daily.
RUNGS = tuple(timedelta(days=days) for days in (90, 60, 30, 14, 7))
DAILY_RUNGS = tuple(timedelta(days=days) for days in range(RUNGS[-1].days - 1, 0, -1))


@dataclass(frozen=True)
class CertificateLife:
    """What a certificate has left. ``tone`` is quiet while nothing has to be done."""

    words: str
    tone: str
    advice: str = ""


def certificate_life(identity: ClientIdentity | None, now: datetime) -> CertificateLife:
    """What the certificate of a mailbox has left at ``now``."""
    if identity is None:
        return CertificateLife("None", "bad", "MESH answers only to a client certificate: choose one for this mailbox.")
    if identity.lapses_at <= now:
        return CertificateLife("Expired", "bad", "MESH refuses it. Request a new one, add it, and choose it for this mailbox.")
    if identity.not_before > now:
        return CertificateLife("Not valid yet", "bad", f"It is valid from {london(identity.not_before)}.")
    left = identity.lapses_at - now
    words = f"{left.days} day{'' if left.days == 1 else 's'} left" if left.days else f"{span_words(left, parts=1)} left"
    if left.days > 365:
        years, months = divmod(round(left.days / 30.44), 12)
        parts = [
            f"{number} {name}{'' if number == 1 else 's'}" for number, name in ((years, "year"), (months, "month")) if number
        ]
        words = f"{' '.join(parts)} left"
    if left <= CERTIFICATE_WARNING:
        return CertificateLife(words, "warn", "Request a new one now. Until it is in place, keep this one.")
    return CertificateLife(words, "quiet")
