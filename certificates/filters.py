"""Filters and orders of the certificate list."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower
from django_filters import CharFilter, ChoiceFilter, FilterSet

from certificates.models import ClientIdentity, Environment
from meshportal.web.forms import choice_filter, text_filter
from meshportal.web.sorting import Order

ORDERS: dict[str, tuple[Order, Order]] = {
    "lapses": (Order("lapses", False, "the one that ends next first"), Order("lapses", True, "the one that lasts longest first")),
    "name": (Order("name", False, "by name, A to Z"), Order("name", True, "by name, Z to A")),
    "subject": (Order("subject", False, "by common name, A to Z"), Order("subject", True, "by common name, Z to A")),
    "used": (Order("used", True, "by mailboxes, most first"), Order("used", False, "by mailboxes, fewest first")),
}
LABELS = {"lapses": "Can be used until", "name": "Certificate", "subject": "Common name", "used": "Mailboxes"}
DEFAULT_ORDER = ORDERS["lapses"][0]


class CertificateFilters(FilterSet):  # type: ignore[misc]
    """One row of filters above the list."""

    text = CharFilter(method="filter_text", **text_filter("Name, common name or issuer", 100))
    environment = ChoiceFilter(**choice_filter("Environment"), choices=Environment.choices)

    class Meta:
        model = ClientIdentity
        fields: tuple[str, ...] = ()

    def filter_text(self, rows: QuerySet[ClientIdentity], _name: str, value: str) -> QuerySet[ClientIdentity]:
        """Each word must stand in the name, the common name, the issuer, or begin the fingerprint or serial number."""
        for word in value.split():
            number = word.replace(":", "").lower()
            rows = rows.filter(
                Q(name__icontains=word)
                | Q(subject_cn__icontains=word)
                | Q(issuer__icontains=word)
                | Q(fingerprint__startswith=number)
                | Q(serial__startswith=number)
            )
        return rows


def in_order(rows: QuerySet[Any], order: Order) -> QuerySet[Any]:
    """``rows`` of :func:`certificates.selectors.identities_of` sorted; equal ones by name, then by id."""
    by: Any = {"lapses": "lapses", "name": Lower("name"), "subject": Lower("subject_cn"), "used": "used_by"}[order.column]
    if isinstance(by, str):
        first: Any = f"-{by}" if order.descending else by
    else:
        first = by.desc() if order.descending else by.asc()
    return rows.order_by(first, Lower("name"), "pk")
