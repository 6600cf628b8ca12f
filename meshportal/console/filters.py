"""Filters of the lists of alerts and of the audit."""

from __future__ import annotations

from datetime import date

from django import forms
from django.core.validators import MinValueValidator
from django.db.models import Q, QuerySet
from django_filters import CharFilter, ChoiceFilter, DateFilter, FilterSet

from meshportal.audit.models import AuditEvent
from meshportal.console.actions import ACTIONS
from meshportal.notify import registry
from meshportal.notify.models import Alert, Severity
from meshportal.web.forms import PeriodForm, choice_filter, text_filter
from meshportal.web.time import london_day

_DAY = {
    # Django's own list reads 03/04/2026 as the Americans do.
    "input_formats": ["%Y-%m-%d", "%d/%m/%Y"],
    "widget": forms.DateInput,
    "error_messages": {"invalid": "Enter a day such as 24/11/2026."},
    "validators": [MinValueValidator(date(2000, 1, 1), "Enter a day of this century.")],
}


class AlertFilters(FilterSet):  # type: ignore[misc]
    """One row of filters: kind, severity, words."""

    kind = ChoiceFilter(**choice_filter("Kind"), choices=lambda: [(kind.name, kind.title) for kind in registry.kinds()])
    severity = ChoiceFilter(**choice_filter("Severity"), choices=Severity.choices)
    text = CharFilter(method="filter_text", **text_filter("Words", 100))

    class Meta:
        model = Alert
        fields: tuple[str, ...] = ()

    def filter_text(self, rows: QuerySet[Alert], _name: str, value: str) -> QuerySet[Alert]:
        """A part of what it is about, or of what is said of it."""
        return rows.filter(Q(subject__icontains=value) | Q(sentence__icontains=value))


class AuditFilters(FilterSet):  # type: ignore[misc]
    """One row of filters: person, act, object, period, reason; and what one request, task or bulk act did."""

    person = CharFilter(field_name="actor_label", lookup_expr="icontains", **text_filter("Person", 200))
    action = ChoiceFilter(**choice_filter("What was done"), choices=sorted(ACTIONS.items(), key=lambda item: item[1]))
    object = CharFilter(method="filter_object", **text_filter("To what", 200))
    reason = CharFilter(lookup_expr="icontains", **text_filter("Reason", 200))
    request = CharFilter(field_name="request_id", **text_filter("Request ID", 64))
    since = DateFilter(label="From", method="filter_since", **_DAY)
    until = DateFilter(label="To", method="filter_until", **_DAY)

    class Meta:
        model = AuditEvent
        fields: tuple[str, ...] = ()
        form = PeriodForm

    def filter_object(self, rows: QuerySet[AuditEvent], _name: str, value: str) -> QuerySet[AuditEvent]:
        """A part of the object's name as it was then, or its whole id."""
        return rows.filter(Q(target_label__icontains=value) | Q(target_id=value))

    def filter_since(self, rows: QuerySet[AuditEvent], _name: str, value: date) -> QuerySet[AuditEvent]:
        return rows.filter(at__gte=london_day(value)[0])

    def filter_until(self, rows: QuerySet[AuditEvent], _name: str, value: date) -> QuerySet[AuditEvent]:
        """The whole of that day on London clocks."""
        return rows.filter(at__lt=london_day(value)[1])
