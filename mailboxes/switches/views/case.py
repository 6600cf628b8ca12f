"""The page of one case, its form, and its safety report for printing."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from mailboxes.models import SwitchCase
from mailboxes.switches import asking, cases, release, selectors, standing
from mailboxes.switches.checklists import RECEIVER, SENDER
from mailboxes.switches.forms import CaseForm
from mailboxes.switches.states import MEANINGS, TONES
from meshportal.accounts import policies, scoping
from meshportal.core.acts import Refused
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import DetailPage, FormPage


def case_context(case: SwitchCase, actor_id: str) -> dict[str, Any]:
    """What the case's page and its report both show."""
    now = timezone.now()
    ticks = {tick.point: tick for tick in case.ticks.all()}
    pending = release.pending(case)
    return {
        "tone": TONES[case.state],
        "meanings": [(case.get_state_display(), TONES[case.state], MEANINGS[case.state])],
        "line": standing.line(case),
        "waits_for": standing.waits_for(case, now),
        "addresses": [(address, standing.answer_words(address, now)) for address in case.addresses.all()],
        "held": asking.messages().held(case),
        "pending": pending,
        "own_request": pending is not None and pending.asked_by_id == actor_id,
        "releases": selectors.releases_of(case),
        "lists": [
            (title, [(key, words, ticks.get(key)) for key, words in points])
            for title, points in (("Sender’s checklist", SENDER), ("Receiver’s checklist", RECEIVER))
        ],
        "evidence": [standing.sign(found) for found in selectors.evidence_of(case)],
        "steps": [standing.step(event) for event in selectors.events_of(case)],
        "environment": case.environment,
        "environment_meaning": ENVIRONMENTS[case.environment].meaning,
    }


class CasePage(DetailPage):
    """Are letters going to the right place?"""

    capability = "switch.view"
    template_name = "switches/case.html"
    context_name = "case"

    def queryset(self) -> QuerySet[SwitchCase]:
        return selectors.cases_of(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        case: SwitchCase = self.object
        works = policies.can(self.request.membership, "switch.work")
        return super().context(
            **case_context(case, self.actor.id),
            acts=standing.acts(case) if works else [],
            release_to=standing.release_choices(case) if works else [],
            **extra,
        )


class ReportPage(DetailPage):
    """The safety report of a case: evidence, decisions, times, counts, sign-off."""

    capability = "switch.view"
    template_name = "switches/report.html"
    context_name = "case"

    def queryset(self) -> QuerySet[SwitchCase]:
        return selectors.cases_of(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        case: SwitchCase = self.object
        proof = asking.messages().proof(case)
        counts = [(address.workflow_id, proof.collected.get(address.workflow_id, 0)) for address in case.addresses.all()]
        made = timezone.now()
        return super().context(**case_context(case, self.actor.id), counts=counts, proof=proof, made_at=made, **extra)


class EditPage(FormPage):
    """What is known of the switch: direction, suppliers, dates, who looks after it."""

    capability = "switch.work"
    template_name = "switches/edit.html"
    form_class = CaseForm
    success_message = "Saved."
    case: SwitchCase

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.case = scoping.get_or_404(selectors.cases_of(self.team), self.team, pk=kwargs["pk"])
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.case = scoping.get_or_404(selectors.cases_of(self.team), self.team, pk=kwargs["pk"])
        try:
            return super().post(request, *args, **kwargs)
        except Refused as refusal:
            self.flash_refusal(str(refusal))
            return self.redirect(self.success_url(self.case))

    def form_kwargs(self) -> dict[str, Any]:
        initial = {name: getattr(self.case, name) for name in cases.FIELDS if name not in ("owner", "deputy")}
        initial |= {"owner": str(self.case.owner_id or ""), "deputy": str(self.case.deputy_id or "")}
        return {"people": list(selectors.people_of(self.team)), "initial": initial}

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(case=self.case, environment=self.case.environment, **extra)

    def save(self, form: CaseForm) -> SwitchCase:
        return cases.change(actor=self.actor, case=self.case, **form.cleaned_data)

    def success_url(self, saved: SwitchCase) -> str:
        return reverse("switches:case", kwargs={"team": self.team.slug, "pk": saved.pk})
