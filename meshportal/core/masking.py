"""What may be shown of texts that can hold patient data (promise P9)."""

from __future__ import annotations

import re

# Ten digits, in the usual 3-3-4 grouping or run together, that are not part of a longer number.
_TEN_DIGITS = re.compile(r"(?<![0-9])([0-9]{3})([ \-\u00a0\u2009]?)([0-9]{3})([ \-\u00a0\u2009]?)([0-9]{4})(?![0-9])")
HIDDEN_NUMBER = "[NHS number hidden]"


def is_nhs_number(digits: str) -> bool:
    """True for ten digits whose last is the modulus 11 check digit (NHS Data Dictionary, NHS NUMBER)."""
    if len(digits) != 10 or not digits.isascii() or not digits.isdigit():
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits[:9], range(10, 1, -1), strict=True))
    check = (11 - total % 11) % 11
    return check != 10 and check == int(digits[9])


def mask_numbers(text: str) -> str:
    """``text`` with every valid NHS number replaced by words; other numbers of ten digits stay."""

    def replace(match: re.Match[str]) -> str:
        digits = match[1] + match[3] + match[5]
        return HIDDEN_NUMBER if is_nhs_number(digits) else match[0]

    return _TEN_DIGITS.sub(replace, text)


def mask_subject(text: str) -> str:
    """A subject for a list: that there is one and how long it is. Initials would already name somebody in a small practice."""
    length = len(text.strip())
    return f"Hidden, {length} character{'' if length == 1 else 's'}" if length else ""
