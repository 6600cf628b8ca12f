"""What people bring: a certificate with its key in whatever file they were given, read without a database.

:func:`read` takes bytes and a passphrase and gives :class:`Material`, or raises :class:`CannotUse` with one sentence.
Work is bounded before it is done: size first, then how long a passphrase would be stretched, then the size of numbers.
"""

from __future__ import annotations

from certificates.reading.authorities import outdated
from certificates.reading.bundle import bundle_warnings, read_bundle
from certificates.reading.containers import Source, certificates_in
from certificates.reading.examine import (
    EXPIRY_WARNING,
    Examined,
    Facts,
    Warned,
    examine,
    facts_of,
    in_order,
    name_of,
    same_key,
    shape_of,
)
from certificates.reading.guard import tried
from certificates.reading.material import MAX_PASSPHRASE, Material, read, too_small
from certificates.reading.refusals import MAX_BYTES, CannotUse

__all__ = [
    "EXPIRY_WARNING",
    "MAX_BYTES",
    "MAX_PASSPHRASE",
    "CannotUse",
    "Examined",
    "Facts",
    "Material",
    "Source",
    "Warned",
    "bundle_warnings",
    "certificates_in",
    "examine",
    "facts_of",
    "in_order",
    "name_of",
    "outdated",
    "read",
    "read_bundle",
    "same_key",
    "shape_of",
    "too_small",
    "tried",
]
