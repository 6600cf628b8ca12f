"""The messages of a practice's switch: what is held, what is at risk, and what proves the new address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from mailboxes.models import SwitchCase
from mailboxes.switches import selectors as cases
from meshportal.accounts.scoping import in_team
from meshportal.core import pagination
from meshportal.web.pages import DetailPage
from messages import risk, selectors, words
from messages.models import Message
from messages.states import Direction
from messages.switches import Answers, held_by
from messages.views import tabs

# As many held ones stand on the page; the rest is counted.
MOST = 50


@dataclass(frozen=True)
class AtRisk:
    """How many messages went to the old address in so many days and were not collected."""

    days: int
    count: str
    number: int


class SwitchMessages(DetailPage):
    """A page, and the fragment that the case's own page fetches."""

    capability = "message.view"
    template_name = "messages/switch.html"
    context_name = "case"
    fragments = ("rows",)

    def queryset(self) -> QuerySet[SwitchCase]:
        return cases.cases_of(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        case: SwitchCase = self.object
        sent = in_team(Message, self.team)
        spans = {life.days: sent.filter(risk.at_risk(case, life)) for life in (Message.INBOX_LIFE, Message.LIFE)}
        counts = pagination.capped_counts({str(days): rows for days, rows in spans.items()}, tabs.CAP)
        held = list(selectors.listed(self.team, Direction.OUT).filter(hold__in=held_by(case)).order_by("seen_at")[: MOST + 1])
        proof = Answers().proof(case)
        whose = pagination.capped_counts({"whose": sent.filter(risk.not_known_whose(case))}, tabs.CAP)["whose"]
        shared = {"risk": str(case.pk)}
        return super().context(
            held=Answers().held(case),
            held_lines=[words.Line.of(row) for row in held[:MOST]],
            held_more=len(held) > MOST,
            at_risk=[AtRisk(days, tabs.number(counts[str(days)]), counts[str(days)][0]) for days in spans],
            list_url=self._address("outbox", shared),
            resend_url=self._address("resend-filtered", shared),
            restore_url=self._address("restore", shared),
            proof=[(address.workflow_id, proof.collected.get(address.workflow_id, 0)) for address in case.addresses.all()],
            last_returned=proof.last_returned,
            not_known_whose=tabs.number(whose) if whose[0] else "",
            environment=case.environment,
            **extra,
        )

    def _address(self, route: str, query: dict[str, str]) -> str:
        return tabs.address(reverse(f"messages:{route}", kwargs={"team": self.team.slug}), query)
