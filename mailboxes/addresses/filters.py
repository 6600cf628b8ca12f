"""Filters of the address book."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import CharFilter, ChoiceFilter, FilterSet

from certificates.models import Environment
from mailboxes.addresses import selectors
from mailboxes.addresses.standing import STATES
from mailboxes.models import AddressEntry
from mailboxes.models.address import DRIFTED, Source
from meshportal.web.forms import choice_filter, text_filter

DRIFTED_KEY = "drifted"


class AddressFilters(FilterSet):  # type: ignore[misc]
    """One row of filters above the book."""

    text = CharFilter(method="filter_text", **text_filter("Organisation or mailbox", 100))
    workflow = ChoiceFilter(**choice_filter("Workflow"), field_name="pair__workflow_id", choices=())
    state = ChoiceFilter(
        **choice_filter("State"),
        method="filter_state",
        choices=[(DRIFTED_KEY, "All that changed"), *((str(key), state.word) for key, state in STATES.items())],
    )
    source = ChoiceFilter(**choice_filter("Source"), choices=Source.choices)
    environment = ChoiceFilter(**choice_filter("Environment"), field_name="pair__environment", choices=Environment.choices)

    class Meta:
        model = AddressEntry
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        workflows = selectors.workflows_of(self.request.team)
        self.filters["workflow"].extra["choices"] = [(one, one) for one in workflows]

    def filter_text(self, rows: QuerySet[AddressEntry], _name: str, value: str) -> QuerySet[AddressEntry]:
        """Each word must stand in the organisation's code or name, or in the mailbox's id or name."""
        for word in value.split():
            rows = rows.filter(
                Q(pair__ods_code__istartswith=word)
                | Q(mailbox_id__icontains=word)
                | Q(mailbox_name__icontains=word)
                | selectors.named_like(word)
            )
        return rows

    def filter_state(self, rows: QuerySet[AddressEntry], _name: str, value: str) -> QuerySet[AddressEntry]:
        return rows.filter(drift__in=DRIFTED) if value == DRIFTED_KEY else rows.filter(drift=value)
