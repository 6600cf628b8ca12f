"""Suspected system switches, and messages that one has held for long, for the overview."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.urls import reverse

from mailboxes.switches import alerts, asking, selectors
from mailboxes.switches.states import ENDED, HOLDING, CaseState
from meshportal.accounts.models import Team
from meshportal.console.line import Line
from messages.holds import TOLD_AFTER


def lines(team: Team, now: datetime) -> Iterator[Line]:
    """One for each case that needs a person now."""
    for case in selectors.cases_of(team).exclude(state__in=ENDED):
        url = reverse("switches:case", kwargs={"team": team.slug, "pk": case.pk})
        if case.state == CaseState.SUSPECTED:
            yield Line(
                tone="bad",
                subject=case.practice,
                sentence="may have changed its MESH address: letters may be going to a mailbox that nobody reads.",
                advice=alerts.KIND.advice,
                since=case.state_since,
                url=url,
                act="Open the case",
                moment=case.state_since,
            )
        if case.state not in (*HOLDING, CaseState.SCHEDULED):
            continue
        held = asking.messages().held(case)
        if held.oldest is not None and now - held.oldest >= TOLD_AFTER:
            yield Line(
                tone="warn",
                subject=f"The {case}",
                sentence=f"holds {held.number:,} message{'' if held.number == 1 else 's'} for more than a day.",
                advice="Release them once the new address is known, or send what is urgent another way.",
                since=held.oldest,
                url=url,
                act="See the held messages",
                moment=held.oldest,
            )
