"""Why something that was brought cannot be used."""

from __future__ import annotations

# A certificate with its chain and key is some 10 KB, a keystore with every NHS authority some 100.
MAX_BYTES = 1024 * 1024


class CannotUse(Exception):
    """What was brought cannot be used. The text is one sentence that says what and where, never a secret.

    ``code`` is for tests and filters; ``about`` is "passphrase" where another passphrase would help, else "material".
    """

    def __init__(self, code: str, sentence: str, *, about: str = "material") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.about = about
