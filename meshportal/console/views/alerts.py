"""Alerts: the list, one alert with its history, and what people do with them.

| what goes wrong | what happens |
|---|---|
| nothing is ticked, or more than a page | a banner says so; nothing is done |
| an id is no id, unknown, or another team's | it is left out; 404 when none is left |
| an alert was closed or acknowledged meanwhile | the others are acted on; the banner says why not |
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property

from meshportal.accounts import policies
from meshportal.console.filters import AlertFilters
from meshportal.console.forms import AssignForm, CloseAlertForm, CommentForm, SnoozeForm
from meshportal.core.acts import Refused
from meshportal.notify import registry, selectors, services
from meshportal.notify.models import Act, Alert, AlertEvent, Severity
from meshportal.web.pages import ActionPage, DetailPage, ListPage
from meshportal.web.time import london

TONES = {Severity.INFO: "info", Severity.WARNING: "warn", Severity.CRITICAL: "bad"}
OPEN, MINE, CLOSED = "open", "mine", "closed"


@dataclass(frozen=True)
class Tab:
    """A view of the list."""

    label: str
    url: str
    count: int
    current: bool


@dataclass(frozen=True)
class Line:
    """An alert as the list shows it."""

    alert: Alert
    title: str
    tone: str
    snoozed: bool
    may_acknowledge: bool

    @classmethod
    def of(cls, alert: Alert) -> Line:
        now = timezone.now()
        free = alert.open and alert.acknowledged_at is None and alert.team_id is not None
        title = registry.known(alert.kind).title
        return cls(alert, title, TONES[Severity(alert.severity)], alert.open and alert.snoozed_at(now), free)


class AlertList(ListPage):
    """What fired, and who has it?"""

    capability = "alert.view"
    template_name = "console/alerts.html"
    filterset_class = AlertFilters
    order_field = "opened_at"

    @property
    def show(self) -> str:
        """Which view is asked for."""
        asked = self.request.GET.get("show", OPEN)
        return asked if asked in (MINE, CLOSED) else OPEN

    def queryset(self) -> QuerySet[Alert]:
        return self._rows(self.show)

    def _rows(self, show: str) -> QuerySet[Alert]:
        rows = selectors.alerts_of(self.team)
        if show == MINE:
            return selectors.mine(rows, self.request.user)
        return rows.filter(closed_at__isnull=show != CLOSED)

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(**extra)
        lines = [Line.of(alert) for alert in context["rows"]]
        may_act = self.can_act
        return {
            **context,
            "rows": lines,
            "show": self.show,
            "tabs": [self._tab(OPEN, "Open"), self._tab(MINE, "Mine"), self._tab(CLOSED, "Closed")],
            "selectable": {line.alert.pk for line in lines if line.may_acknowledge} if may_act else set(),
        }

    @property
    def can_act(self) -> bool:
        """Whether this member may do something about them."""
        return policies.can(self.request.membership, "alert.act")

    def _tab(self, show: str, label: str) -> Tab:
        address = reverse("console:alerts", kwargs={"team": self.team.slug})
        url = address if show == OPEN else f"{address}?show={show}"
        return Tab(label, url, self._rows(show).order_by().count(), self.show == show)


class AcknowledgeMany(ActionPage):
    """Acknowledges the alerts that are ticked: ``alert``, repeated."""

    capability = "alert.act"

    def return_url(self) -> str:
        return reverse("console:alerts", kwargs={"team": self.team.slug})

    def act(self, form: Any) -> str:
        given = {text for text in self.request.POST.getlist("alert") if text}
        if not given:
            raise Refused("No alert is selected. Tick the alerts first.")
        if len(given) > ListPage.page_size:
            raise Refused(f"More than {ListPage.page_size} alerts are selected. Do it a page at a time.")
        keys = [key for key in map(_key, given) if key]
        found = list(selectors.alerts_of(self.team).filter(pk__in=keys).order_by("pk"))
        if not found:
            raise Http404
        done, refused = 0, Counter[str]()
        for alert in found:
            try:
                services.acknowledge(actor=self.actor, alert=alert)
            except Refused as refusal:
                refused[str(refusal)] += 1
            else:
                done += 1
        why_not = " ".join(f"{number} left as {'it is' if number == 1 else 'they are'}: {why}" for why, number in refused.items())
        if not done:
            raise Refused(why_not)
        if why_not:
            self.flash_refusal(why_not)
        return f"{done} alert{'' if done == 1 else 's'} acknowledged. {'It is' if done == 1 else 'They are'} not told again."


def _key(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Step:
    """An event as the history shows it."""

    event: AlertEvent
    what: str
    words: str
    who: str
    trouble: bool


def step(event: AlertEvent) -> Step:
    """``event`` in words."""
    words = event.words
    if event.act == Act.SNOOZED and words:
        words = "until " + _until(words)
    trouble = event.act in (Act.RAISED, Act.ROSE, Act.RETURNED, Act.ESCALATED)
    return Step(event, Act(event.act).label, words, event.by.partition(" <")[0] or "the portal", trouble)


def _until(text: str) -> str:
    return london(datetime.fromisoformat(text))


class AlertPage(DetailPage):
    """What is wrong, who has it, and what happened so far?"""

    capability = "alert.view"
    template_name = "console/alert.html"

    def get_object(self) -> Alert:
        return selectors.alert_or_404(self.team, self.kwargs["pk"])

    def context(self, **extra: Any) -> dict[str, Any]:
        alert: Alert = self.object
        events = selectors.events_of(alert)
        return super().context(
            kind=registry.known(alert.kind),
            line=Line.of(alert),
            address=alert.address(),
            steps=[step(event) for event in events[: selectors.MOST_EVENTS]],
            more_steps=len(events) > selectors.MOST_EVENTS,
            snooze_form=SnoozeForm(),
            assign_form=AssignForm(team=self.team, initial={"to": alert.assigned_to_id or ""}),
            comment_form=CommentForm(),
            close_form=CloseAlertForm(),
            **extra,
        )


class AlertAct(ActionPage, abstract=True):
    """One act on one alert; back to its page."""

    @cached_property
    def alert(self) -> Alert:
        """The alert of the address; Http404 when this team has none such."""
        return selectors.alert_or_404(self.team, self.kwargs["pk"])

    def return_url(self) -> str:
        return reverse("console:alert", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # A button, also of another team's alert, answers alike; unknown ones do not.
        _ = self.alert
        return super().http_method_not_allowed(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.alert
        return super().post(request, *args, **kwargs)


class Acknowledge(AlertAct):
    """Somebody has seen it."""

    capability = "alert.act"

    def act(self, form: Any) -> str:
        services.acknowledge(actor=self.actor, alert=self.alert)
        return "Acknowledged. Nobody is told of it again unless it becomes worse."


class Snooze(AlertAct):
    """Not before a time."""

    capability = "alert.act"
    form_class = SnoozeForm

    def act(self, form: Any) -> str:
        until = form.until(timezone.now())
        services.snooze(actor=self.actor, alert=self.alert, until=until)
        return "Snoozed. Nobody is told of it before then." if until else "No longer snoozed."


class Assign(AlertAct):
    """Says who deals with it."""

    capability = "alert.act"

    def act(self, form: Any) -> str:
        chosen = AssignForm(self.request.POST, team=self.team)
        if not chosen.is_valid():
            raise Refused("Choose somebody of this team, or nobody in particular.")
        to = chosen.cleaned_data["to"]
        services.assign(actor=self.actor, alert=self.alert, to=to)
        return f"{to.full_name} deals with it." if to else "Nobody in particular deals with it."


class Comment(AlertAct):
    """A note for colleagues."""

    capability = "alert.act"
    form_class = CommentForm

    def act(self, form: Any) -> str:
        services.comment(actor=self.actor, alert=self.alert, words=form.cleaned_data["words"])
        return "The comment is added."


class Close(AlertAct):
    """Says that it is dealt with, and why."""

    capability = "alert.act"
    form_class = CloseAlertForm

    def act(self, form: Any) -> str:
        services.close(actor=self.actor, alert=self.alert, reason=form.cleaned_data["reason"])
        return "Closed. It stays closed unless it becomes worse, or comes back after having been over."
