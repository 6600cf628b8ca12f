"""The connection doctor over many mailboxes: how far it came, what it found, and again for those that failed."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.urls import reverse

from mailboxes import bulk_standing, examining
from mailboxes.models import Examination, Finding
from meshportal.accounts import scoping
from meshportal.web.pages import ActionPage, DetailPage

_ROWS_SHOWN = 50


class ExaminationPage(DetailPage):
    """Which of these mailboxes connect, and why do the others not?"""

    capability = "mailbox.view"
    template_name = "mailboxes/examination.html"
    fragments = ("rows",)
    context_name = "examination"

    def queryset(self) -> QuerySet[Examination]:
        return bulk_standing.examinations_of(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        progress = bulk_standing.progress(self.object)
        chosen = self.request.GET.get("finding", "")
        page = Paginator(bulk_standing.rows_of(self.object, chosen), _ROWS_SHOWN).get_page(self.request.GET.get("page"))
        views = [("All", "", progress.total)]
        views += [(finding.label, finding.value, progress.counts[finding]) for finding in Finding]
        return super().context(
            progress=progress,
            page=page,
            rows=[(row, bulk_standing.TONES[Finding(row.finding)]) for row in page.object_list],
            views=views,
            chosen=chosen,
            imported=getattr(self.object, "mailbox_import", None),
            environment=self.object.environment,
            **extra,
        )


class RetryExamination(ActionPage):
    """Has those that failed examined again."""

    capability = "mailbox.poll"

    def act(self, form: Any) -> str:
        found = scoping.get_or_404(bulk_standing.examinations_of(self.team), self.team, pk=self.kwargs["pk"])
        number = examining.retry(actor=self.actor, examination=found)
        return f"{bulk_standing.many(number)} will be checked again."

    def return_url(self) -> str:
        return reverse("mailboxes:examination", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})
