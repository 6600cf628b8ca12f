"""The audit trail of a team: who did what, when and why; and the same as a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from mailboxes.selectors import only_environment
from meshportal.audit import services as audit
from meshportal.audit.models import AuditEvent
from meshportal.console import selectors, sentences
from meshportal.console.filters import AuditFilters
from meshportal.core import csvout
from meshportal.web.pages import ListPage, TeamPage
from meshportal.web.time import in_london


@dataclass(frozen=True)
class Entry:
    """An event as the list shows it. ``altered``: it no longer fits its own hash."""

    event: AuditEvent
    name: str
    under: str
    told: sentences.Told
    url: str
    altered: bool


class AuditList(ListPage):
    """Who did what, when and why?"""

    capability = "audit.view"
    template_name = "console/audit.html"
    filterset_class = AuditFilters
    order_field = "at"

    def queryset(self) -> QuerySet[AuditEvent]:
        return selectors.events_of(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(environment=only_environment(self.team), **extra)
        # The whole chain is as long as the portal is old: a page checks the events that it shows, a command the rest.
        entries = [self._entry(event) for event in context["rows"]]
        query = self.request.GET.copy()
        query.pop("cursor", None)
        export = reverse("console:audit-export", kwargs={"team": self.team.slug})
        return {
            **context,
            "rows": entries,
            "altered": sum(entry.altered for entry in entries),
            "export_url": f"{export}?{query.urlencode()}" if query else export,
        }

    def _entry(self, event: AuditEvent) -> Entry:
        name, under = sentences.who(event)
        return Entry(
            event=event,
            name=name,
            under=under,
            told=sentences.tell(event),
            url=sentences.address(event, self.team.slug),
            altered=event.computed_hash() != event.hash,
        )


HEADER = (
    "Time (London)",
    "Who",
    "Kind of actor",
    "Action",
    "What was done",
    "Kind of object",
    "Object",
    "Object id",
    "Reason",
    "Before",
    "After",
    "Request id",
    "Hash",
)


class AuditExport(TeamPage):
    """The events that the list shows under the same filters, as CSV. The export itself is recorded before its first byte."""

    capability = "audit.view"
    http_method_names = ["get", "options"]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        filters = AuditFilters(request.GET, queryset=selectors.events_of(self.team), request=request)
        if not filters.form.is_valid():
            # A filter that was left out would put more into the file than was asked for; the list says which it is.
            back = reverse("console:audit", kwargs={"team": self.team.slug})
            return self.redirect(f"{back}?{request.GET.urlencode()}")
        export = audit.record(
            actor=self.actor,
            action="audit.exported",
            target=("audit", str(self.team.pk), "audit trail"),
            team=self.team,
            after={"filters": {name: str(value) for name, value in filters.form.cleaned_data.items() if value}},
        )
        # What was there when it was asked for, and no event that is written while the file streams.
        rows = filters.qs.filter(pk__lt=export.pk).order_by("-at", "-pk")
        filename = f"audit-{self.team.slug}-{in_london(timezone.now()):%Y-%m-%d}.csv"
        return csvout.response(filename, HEADER, _cells(rows))


def _cells(rows: QuerySet[AuditEvent]) -> Iterator[tuple[object, ...]]:
    for event in rows.iterator(chunk_size=2000):
        yield (
            in_london(event.at).isoformat(timespec="seconds"),
            event.actor_label,
            event.actor_kind,
            event.action,
            sentences.sentence(event),
            event.target_kind,
            event.target_label,
            event.target_id,
            event.reason,
            json.dumps(event.before, ensure_ascii=False, sort_keys=True) if event.before else "",
            json.dumps(event.after, ensure_ascii=False, sort_keys=True) if event.after else "",
            event.request_id,
            event.hash,
        )
