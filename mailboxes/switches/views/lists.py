"""The board of open cases, those that have ended, and a notice that opens one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from mailboxes.models import SwitchCase
from mailboxes.selectors import only_environment
from mailboxes.switches import cases, selectors
from mailboxes.switches.forms import NoticeForm
from mailboxes.switches.states import ENDED, MEANINGS, OPEN, TONES, CaseState
from meshportal.web.pages import FormPage, ListPage, TeamPage

# More open cases than this on one board, and the rest is said to be more.
MOST = 300


@dataclass(frozen=True)
class Column:
    """The cases of one state."""

    state: CaseState
    tone: str
    cases: list[SwitchCase]


class Board(TeamPage):
    """Which practices are changing their address, and how far is each?"""

    capability = "switch.view"
    template_name = "switches/board.html"
    fragments = ("rows",)
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        found = list(selectors.cases_of(self.team).exclude(state__in=ENDED).order_by("state_since", "pk")[: MOST + 1])
        shown = found[:MOST]
        columns = [Column(state, TONES[state], [case for case in shown if case.state == state]) for state in OPEN]
        return super().context(
            columns=columns,
            number=len(shown),
            capped=len(found) > MOST,
            suspected=sum(case.state == CaseState.SUSPECTED for case in shown),
            meanings=[(state.label, TONES[state], MEANINGS[state]) for state in CaseState],
            environment=only_environment(self.team),
            **extra,
        )


class Ended(ListPage):
    """The cases that were closed, or were false alarms, newest first."""

    capability = "switch.view"
    template_name = "switches/ended.html"
    order_field = "state_since"

    def queryset(self) -> QuerySet[SwitchCase]:
        return selectors.cases_of(self.team).filter(state__in=ENDED)

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(environment=only_environment(self.team), **extra)
        context["rows"] = [(case, TONES[case.state]) for case in context["rows"]]
        return context


class Notice(FormPage):
    """Somebody was told of a switch."""

    capability = "switch.work"
    template_name = "switches/new.html"
    form_class = NoticeForm
    success_message = "The case is open. Enter what you know, then confirm it."

    def form_kwargs(self) -> dict[str, Any]:
        return {"environments": selectors.environments_of(self.team)}

    def save(self, form: NoticeForm) -> SwitchCase:
        return cases.tell(actor=self.actor, team=self.team, **form.cleaned_data)

    def success_url(self, saved: SwitchCase) -> str:
        return reverse("switches:case", kwargs={"team": self.team.slug, "pk": saved.pk})
