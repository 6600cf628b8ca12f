"""What to look for: each planted secret in every form in which a program might write it down."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

_PEM_BYTES = 48
_TELLING = 16
_USUAL = ("in clear", "in UTF-16", "in UTF-16, big end first", "in a form")


@dataclass(frozen=True)
class Needle:
    """``what`` names the secret and its form; ``content`` is looked for byte by byte.

    ``usual``: one of the few that are looked for all the time, since a program that lets a secret out lets out one of them.
    """

    what: str
    content: bytes
    usual: bool = False


def of_password(name: str, password: str) -> list[Needle]:
    """In clear, as Windows and PKCS #12 write text, and as forms, addresses, headers and dumps do."""
    plain = password.encode()
    forms = {
        "in clear": plain,
        "in UTF-16": password.encode("utf-16-le"),
        "in UTF-16, big end first": password.encode("utf-16-be"),
        "in a form": quote_plus(password).encode(),
        "in an address": quote(password).encode(),
        "in JSON": "".join(f"\\u{ord(one):04x}" if ord(one) > 126 else one for one in password).encode(),
        "in hex": plain.hex().encode(),
        **{f"in base64, {shift} bytes in": _base64_inside(plain, shift) for shift in range(3)},
    }
    return [Needle(f"{name}, {form}", content, usual=form in _USUAL) for form, content in forms.items()]


def of_key(name: str, pem: bytes) -> list[Needle]:
    """The PEM texts, each of their lines that tells something of the key, the DER bytes, and the secret numbers themselves."""
    key = serialization.load_pem_private_key(pem, None)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        secret = [_bytes(number) for number in (numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp)]
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        secret = [key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")]
    else:
        raise TypeError("Neither RSA nor on an elliptic curve.")
    found = [Needle(f"{name}, as given", pem.strip())]
    formats = {"PKCS8": serialization.PrivateFormat.PKCS8, "traditional": serialization.PrivateFormat.TraditionalOpenSSL}
    for form, chosen in formats.items():
        der = key.private_bytes(serialization.Encoding.DER, chosen, serialization.NoEncryption())
        found.append(Needle(f"{name}, DER ({form})", der))
        lines = _telling_lines(der, secret)
        found += [Needle(f"{name}, PEM line ({form})", line, usual=line == lines[len(lines) // 2]) for line in lines]
    for number in secret:
        forms = {"": number, " in hex": number.hex().encode(), " in digits": str(int.from_bytes(number, "big")).encode()}
        forms |= {f" in base64, {shift} bytes in": _base64_inside(number, shift) for shift in range(3)}
        first = number == secret[0]
        found += [Needle(f"{name}, secret number{form}", content, usual=first and not form) for form, content in forms.items()]
    return found


def of_file(name: str, content: bytes) -> list[Needle]:
    """A file that should be nowhere kept, by its middle."""
    middle = len(content) // 2
    return [Needle(f"{name}, its bytes", content[middle - 32 : middle + 32])]


def found_in(data: bytes, needles: list[Needle]) -> set[str]:
    """What ``data`` holds, by name and form."""
    return {needle.what for needle in needles if needle.content in data}


def _telling_lines(der: bytes, secret: list[bytes]) -> list[bytes]:
    """The lines of the PEM text that hold enough of a secret number; the others hold the public key, which anybody may see."""
    lines = []
    for start in range(0, len(der), _PEM_BYTES):
        end = start + _PEM_BYTES
        for number in secret:
            at = der.find(number)
            if at >= 0 and min(end, at + len(number)) - max(start, at) >= _TELLING:
                lines.append(base64.b64encode(der[start:end]).rstrip(b"="))
                break
    return lines


def _base64_inside(data: bytes, shift: int) -> bytes:
    """What of the base64 text of something that holds ``data`` depends on ``data`` alone, when it begins ``shift`` bytes in."""
    whole = base64.b64encode(b"\0" * shift + data)
    return whole[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
