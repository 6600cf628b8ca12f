"""The order in which rows of the address book are locked: pairs, all that an act needs and by their key; then entries, alerts,
and the audit last. Whoever keeps to it waits for others, and never for somebody who waits for them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from mailboxes.models import AddressPair


def locked(rows: QuerySet[AddressPair]) -> list[AddressPair]:
    """The pairs of ``rows``, locked until the caller's transaction ends."""
    return list(rows.select_for_update(of=("self",)).order_by("pk"))


def change(rows: QuerySet[AddressPair], **values: Any) -> int:
    """Writes ``values`` to the pairs of ``rows``; gives how many. In a transaction."""
    # An UPDATE of many rows locks them as it finds them.
    return AddressPair.objects.filter(pk__in=[pair.pk for pair in locked(rows.only("pk"))]).update(**values)
