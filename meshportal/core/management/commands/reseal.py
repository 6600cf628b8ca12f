from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, models, transaction

from meshportal.core import crypto
from meshportal.core.fields import SealedField

_BATCH = 500


def sealed_columns() -> Iterator[tuple[type[models.Model], SealedField]]:
    """Every sealed field of every model."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, SealedField):
                yield model, field


class Command(BaseCommand):
    help = (
        "Seals every sealed column again with the first key of MESHPORTAL_KEYS. Safe to stop and to repeat. "
        "A value that no key opens is named and left as it is, and the command exits 1."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        unreadable = 0
        for model, field in sealed_columns():
            done, bad = self._column(model, field)
            unreadable += len(bad)
            self.stdout.write(f"{model._meta.label}.{field.name}: {done} resealed")
            for key in bad:
                self.stderr.write(f"{model._meta.label} {key}: {field.name} cannot be opened with any key")
        if unreadable:
            raise CommandError(f"{unreadable} values could not be opened; keep the old key until they are dealt with.")

    def _column(self, model: type[models.Model], field: SealedField) -> tuple[int, list[object]]:
        # Raw columns: a normal read would unseal and raise at the first bad row.
        quote = connection.ops.quote_name
        table, column = quote(model._meta.db_table), quote(str(field.column))
        primary = quote(str(model._meta.pk.column))
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {primary} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608
            keys = [row[0] for row in cursor.fetchall()]
        done, bad = 0, []
        for start in range(0, len(keys), _BATCH):
            with transaction.atomic(), connection.cursor() as cursor:
                for key in keys[start : start + _BATCH]:
                    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
                    cursor.execute(f"SELECT {column} FROM {table} WHERE {primary} = %s{lock}", [key])  # noqa: S608
                    row = cursor.fetchone()
                    if row is None or row[0] is None:
                        continue
                    try:
                        token = crypto.reseal(bytes(row[0]))
                    except crypto.CannotUnseal:
                        bad.append(key)
                        continue
                    value = connection.Database.Binary(token)  # type: ignore[attr-defined]
                    cursor.execute(f"UPDATE {table} SET {column} = %s WHERE {primary} = %s", [value, key])  # noqa: S608
                    done += 1
        return done, bad
