"""Sending everything that fits a filter again: what would happen, the word that begins it, and how far it came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from mailboxes.selectors import only_environment
from meshportal.accounts import scoping
from meshportal.core.acts import Refused
from meshportal.web.pages import ActionPage, ListPage
from messages import bulk, selectors, words
from messages.filters import BulkRowFilter
from messages.forms import ResendFilteredForm
from messages.models import BulkResend, BulkResendRow, BulkRowState, Message
from messages.views import tabs
from messages.views.bulk import many
from messages.views.filtered import FilteredPage

_SHOWN = 10
_LATE = timedelta(minutes=1)
_NO_FILTER = "No filter is set. Choose the messages by a filter in the list of sent messages first."


class ResendFiltered(FilteredPage):
    """What sending all of a filter again would do, and the form that begins it."""

    capability = "message.send"
    template_name = "messages/resend_filtered.html"

    def answer(self) -> HttpResponseBase:
        return self.show(ResendFilteredForm(), self.plan())

    def plan(self, asked_by: str = "") -> bulk.Plan:
        """What would happen, as things stand."""
        if not self.chosen:
            return bulk.Plan(total=0, obstacle=_NO_FILTER)
        return bulk.plan(self.team, self.rows(), asked_by=asked_by)

    def show(self, form: ResendFilteredForm, planned: bulk.Plan, status: int = 200) -> HttpResponseBase:
        """The page with what would happen."""
        form.about(planned)
        return self.render(
            status=status,
            form=form,
            plan=planned,
            first=[words.Line.of(row) for row in planned.go[:_SHOWN]],
            number=len(planned.go),
            environment=planned.environment or only_environment(self.team),
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not self.filters.form.is_valid():
            return self.redirect(self.address("outbox"))
        form = ResendFilteredForm(data=request.POST)
        valid = form.is_valid()
        given = form.cleaned_data
        asked_by = given.get("asked_by", "")
        if "recount" in request.POST and "asked_by" not in form.errors:
            again = ResendFilteredForm(initial={"asked_by": asked_by, "reason": request.POST.get("reason", "")})
            return self.show(again, self.plan(asked_by))
        if valid and self.chosen:
            try:
                gesture = bulk.start(
                    actor=self.actor,
                    team=self.team,
                    rows=self.rows(),
                    digest=request.POST.get("digest", ""),
                    reason=given["reason"],
                    asked_by=asked_by,
                    filters=self.chosen_words(),
                )
            except Refused as refusal:
                form.add_error(None, str(refusal))
                form.ask_again()
            else:
                return self.redirect("messages:bulk-resend", team=self.team.slug, pk=gesture.pk)
        return self.show(form, self.plan(asked_by), status=422)


@dataclass(frozen=True)
class Progress:
    """How far a bulk resend came."""

    gesture: BulkResend
    sent: int
    left: int
    waiting: int

    @property
    def total(self) -> int:
        return self.sent + self.left + self.waiting

    @property
    def done(self) -> int:
        return self.sent + self.left

    @property
    def running(self) -> bool:
        return self.gesture.finished_at is None

    @property
    def retry_at(self) -> datetime | None:
        """When the messages are tried again that could not be kept, where nothing else is left to do."""
        due = self.gesture.due_at
        return due if due is not None and due > timezone.now() else None

    @property
    def idle(self) -> bool:
        """Whether no worker took it up when it was due."""
        due, until, now = self.gesture.due_at, self.gesture.lease_until, timezone.now()
        return due is not None and due < now - _LATE and (until is None or until < now)

    @property
    def word(self) -> str:
        """Its state in one word."""
        if self.running:
            return "Under way"
        return "Stopped" if self.gesture.stopped_at else "Done"

    @property
    def tone(self) -> str:
        if self.running:
            return "busy"
        return "warn" if self.gesture.stopped_at else "good"

    @property
    def sentence(self) -> str:
        """What was done so far."""
        left = f"{many(self.left)} left as {'it is' if self.left == 1 else 'they are'}"
        return f"{many(self.sent)} sent again, {left}."

    @property
    def spoken(self) -> str:
        """What is said aloud: each quarter and the end, not each message."""
        if self.running:
            return f"{self.done * 4 // max(self.total, 1) * 25}% dealt with"
        return f"{self.word}: {self.sentence}"

    @classmethod
    def of(cls, gesture: BulkResend, counts: dict[str, int]) -> Progress:
        return cls(gesture, counts[BulkRowState.SENT], counts[BulkRowState.LEFT], counts[BulkRowState.WAITING])


@dataclass(frozen=True)
class Row:
    """A message of a bulk resend, and the new one where there is one."""

    row: BulkResendRow
    line: words.Line
    new: words.Line | None

    @classmethod
    def of(cls, row: BulkResendRow) -> Row:
        return cls(row, words.Line.of(row.message), words.Line.of(row.new) if row.new else None)


class BulkResendPage(ListPage):
    """How far one came, and what became of each message. The fragment ``rows`` is all of it."""

    capability = "message.view"
    template_name = "messages/bulk_resend.html"
    filterset_class = BulkRowFilter
    gesture: BulkResend

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.gesture = scoping.get_or_404(selectors.bulk_resends(self.team), self.team, pk=kwargs["pk"])
        return super().get(request, *args, **kwargs)

    def queryset(self) -> QuerySet[BulkResendRow]:
        return selectors.bulk_rows(self.gesture)

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(environment=self.gesture.environment, **extra)
        context["rows"] = [Row.of(row) for row in context["rows"]]
        counts = selectors.bulk_counts([self.gesture])[self.gesture.pk]
        chosen = self.request.GET.get("state", "")
        views: list[tuple[str, str, int]] = [("All", "", sum(counts.values()))]
        views += [(state.label, state.value, counts[state]) for state in BulkRowState]
        context["views"] = [
            tabs.Tab(
                label,
                tabs.address(self.request.path, {"state": state} if state else {}),
                chosen == state,
                count=f"{number:,}",
            )
            for label, state, number in views
        ]
        return {**context, "gesture": self.gesture, "progress": Progress.of(self.gesture, counts)}


class StopBulkResend(ActionPage):
    """Ends one before its time."""

    capability = "message.send"

    def return_url(self) -> str:
        return reverse("messages:bulk-resend", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})

    def act(self, form: Any) -> str:
        gesture = scoping.get_or_404(selectors.bulk_resends(self.team), self.team, pk=self.kwargs["pk"])
        left = bulk.stop(actor=self.actor, gesture=gesture)
        return f"Stopped. {many(left)} left as {'it is' if left == 1 else 'they are'}; what was sent again before stays so."


class BulkResendList(ListPage):
    """The bulk resends of the last 30 days, for as long as MESH keeps what they sent."""

    capability = "message.view"
    template_name = "messages/bulk_resends.html"

    def queryset(self) -> QuerySet[BulkResend]:
        return selectors.bulk_resends(self.team).filter(created_at__gt=timezone.now() - Message.LIFE)

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(environment=only_environment(self.team), **extra)
        counts = selectors.bulk_counts(context["rows"])
        context["rows"] = [Progress.of(gesture, counts[gesture.pk]) for gesture in context["rows"]]
        return context
