"""Filters and orders of the mailbox list."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Lower
from django_filters import CharFilter, ChoiceFilter, FilterSet, ModelChoiceFilter

from certificates.models import ClientIdentity, Environment
from mailboxes import health
from mailboxes.models import Mailbox, Mode
from meshportal.accounts.scoping import in_team
from meshportal.web.forms import choice_filter, text_filter
from meshportal.web.sorting import Order


def _identities(request: Any) -> QuerySet[ClientIdentity]:
    # Names only: a key that cannot be unsealed must not take the list with it.
    return in_team(ClientIdentity, request.team).only("pk", "name", "environment").order_by("name", "environment")


# Words of the filter of states that are none of a mailbox's health.
CLOSING, CLOSED = "closing", "closed"


class MailboxFilters(FilterSet):  # type: ignore[misc]
    """One row of filters above the list."""

    text = CharFilter(method="filter_text", **text_filter("Name, ID or ODS code", 100))
    state = ChoiceFilter(
        **choice_filter("State"),
        method="filter_state",
        choices=[*((key, state.word) for key, state in health.STATES.items()), (CLOSING, "Being closed"), (CLOSED, "Closed")],
    )
    tag = CharFilter(method="filter_tag", **text_filter("Tag", 100))
    environment = ChoiceFilter(**choice_filter("Environment"), choices=Environment.choices)
    mode = ChoiceFilter(**choice_filter("Mode"), choices=Mode.choices)
    certificate = ModelChoiceFilter(**choice_filter("Certificate"), field_name="identity", queryset=_identities)

    class Meta:
        model = Mailbox
        fields: tuple[str, ...] = ()

    def filter_text(self, rows: QuerySet[Mailbox], _name: str, value: str) -> QuerySet[Mailbox]:
        """Each word must stand in the name, the id, or the organisation's name or code."""
        for word in value.split():
            rows = rows.filter(
                Q(name__icontains=word)
                | Q(mailbox_id__icontains=word)
                | Q(organisation__ods_code__istartswith=word)
                | Q(organisation__name__icontains=word)
            )
        return rows

    def filter_state(self, rows: QuerySet[Any], _name: str, value: str) -> QuerySet[Any]:
        if value == CLOSED:
            return rows.filter(archived_at__isnull=False)
        rows = rows.filter(archived_at__isnull=True)
        return rows.filter(closing_at__isnull=False) if value == CLOSING else rows.filter(standing=value)

    def filter_tag(self, rows: QuerySet[Mailbox], _name: str, value: str) -> QuerySet[Mailbox]:
        return rows.filter(tags__contains=f",{' '.join(value.split()).lower()},")


# For each column the direction that a first press gives comes first.
ORDERS: dict[str, tuple[Order, Order]] = {
    "state": (
        Order("state", False, "those that need a person first"),
        Order("state", True, "those that need nobody first"),
    ),
    "name": (Order("name", False, "by name, A to Z"), Order("name", True, "by name, Z to A")),
    "polled": (
        Order("polled", False, "by last poll, longest ago first"),
        Order("polled", True, "by last poll, latest first"),
    ),
    "waiting": (
        Order("waiting", True, "by waiting messages, most first"),
        Order("waiting", False, "by waiting messages, fewest first"),
    ),
}
LABELS = {"name": "Mailbox", "state": "State", "polled": "Last poll", "waiting": "Waiting"}
DEFAULT_ORDER = ORDERS["state"][0]

_RANK = Case(*(When(standing=state, then=Value(rank)) for rank, state in enumerate(health.STATES)), output_field=IntegerField())


def in_order(mailboxes: QuerySet[Mailbox], order: Order) -> QuerySet[Mailbox]:
    """``mailboxes`` (with their standing) sorted; equal ones by name, then by id, so that pages never overlap."""
    by: Any = {
        "state": _RANK,
        "name": Lower("name"),
        # Never polled is longer ago than any poll.
        "polled": F("last_polled_at"),
        "waiting": F("waiting_count"),
    }[order.column]
    if order.column == "polled":
        first = by.desc(nulls_last=True) if order.descending else by.asc(nulls_first=True)
    elif order.column == "waiting":
        first = by.desc(nulls_last=True) if order.descending else by.asc(nulls_last=True)
    else:
        first = by.desc() if order.descending else by.asc()
    return mailboxes.order_by(first, Lower("name"), "mailbox_id", "pk")
