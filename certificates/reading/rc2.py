"""RC2 with a shortened key (RFC 2268), as old PKCS #12 files encrypt their certificates. Decrypts only, a few KB at a time."""

from __future__ import annotations

_PI = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2179a59f587b34f1361456d8d09817d32"
    "bd8f40eb86b77b0bf09521225c6b4e82 54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed708e8eade8052eef784aa72ac354d6a2a"
    "961ad2715a1549744b9fd05e0418a4ecc2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a90d38341bab33ffb0bb480c5fb9b1cd2e"
    "c5f3db47e5a59c770aa62068fe7fc1ad".replace(" ", "")
)
_ROTATIONS = (1, 2, 3, 5)


def expand(key: bytes, effective_bits: int) -> list[int]:
    """The 64 words that ``key`` becomes."""
    size = len(key)
    held = bytearray(key) + bytes(128 - size)
    for at in range(size, 128):
        held[at] = _PI[(held[at - 1] + held[at - size]) & 0xFF]
    used = (effective_bits + 7) // 8
    held[128 - used] = _PI[held[128 - used] & (0xFF >> (8 * used - effective_bits))]
    for at in range(127 - used, -1, -1):
        held[at] = _PI[held[at + 1] ^ held[at + used]]
    return [held[2 * at] | held[2 * at + 1] << 8 for at in range(64)]


def _block(words: list[int], block: bytes) -> bytes:
    r = [block[2 * at] | block[2 * at + 1] << 8 for at in range(4)]
    at = 63
    for mixing in range(16):
        for i in (3, 2, 1, 0):
            s = _ROTATIONS[i]
            turned = (r[i] >> s | r[i] << (16 - s)) & 0xFFFF
            r[i] = (turned - words[at] - (r[i - 1] & r[i - 2]) - (~r[i - 1] & r[i - 3] & 0xFFFF)) & 0xFFFF
            at -= 1
        if mixing in (4, 10):
            for i in (3, 2, 1, 0):
                r[i] = (r[i] - words[r[i - 1] & 63]) & 0xFFFF
    return b"".join(word.to_bytes(2, "little") for word in r)


def decrypt_cbc(key: bytes, effective_bits: int, start: bytes, data: bytes) -> bytes:
    """``data`` (whole blocks of 8) decrypted in CBC mode from ``start``; the padding is left on."""
    words = expand(key, effective_bits)
    clear = bytearray()
    for at in range(0, len(data), 8):
        block = data[at : at + 8]
        clear += bytes(first ^ second for first, second in zip(_block(words, block), start, strict=True))
        start = block
    return bytes(clear)
