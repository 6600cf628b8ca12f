"""Model fields whose values are encrypted in the database (promise P11).

They cannot be searched or ordered by: a lookup on one raises, rather than comparing ciphertext.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import FieldError
from django.db import models

from meshportal.core import crypto


class SealedField(models.BinaryField):  # type: ignore[type-arg]
    """The common part: bytes in, Fernet token in the column, bytes out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def to_bytes(self, value: Any) -> bytes:
        return bytes(value)

    def from_bytes(self, value: bytes) -> Any:
        return value

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else crypto.seal(self.to_bytes(value))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if not prepared:
            value = self.get_prep_value(value)
        return None if value is None else connection.Database.Binary(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else self.from_bytes(crypto.unseal(bytes(value)))

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> str:
        return "<sealed>"

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise FieldError(f"{self.name} is sealed: it cannot be searched.")


class SealedBinaryField(SealedField):
    """Sealed bytes."""


class SealedTextField(SealedField):
    """Sealed text; the empty string stays a sealed empty string."""

    def to_bytes(self, value: Any) -> bytes:
        return str(value).encode()

    def from_bytes(self, value: bytes) -> Any:
        return value.decode()


class SealedJSONField(SealedField):
    """A sealed JSON value."""

    def to_bytes(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

    def from_bytes(self, value: bytes) -> Any:
        return json.loads(value)
