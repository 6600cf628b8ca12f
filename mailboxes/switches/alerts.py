"""Alerts about switches: a suspicion is told until a person has confirmed it or called it a false alarm."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from mailboxes.switches import selectors
from mailboxes.switches.states import CaseState
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule

SUSPECTED = "switch.suspected"


def suspected(_now: datetime) -> Iterator[Condition]:
    """Cases that nobody has looked into yet."""
    for case in selectors.open_cases().filter(state=CaseState.SUSPECTED):
        yield Condition(
            kind=SUSPECTED,
            key=str(case.pk),
            # Its code alone: a name comes from outside.
            subject=f"The address of {case.ods_code or f'mailbox {case.about_mailbox}'}",
            sentence="may have changed: letters may be going to a mailbox that nobody reads.",
            team=case.team,
            url_name="switches:case",
            url_args={"team": case.team.slug, "pk": str(case.pk)},
            since=case.state_since,
        )


KIND = Kind(
    SUSPECTED,
    "System switch suspected",
    "practice may have changed its address",
    "practices may have changed their addresses",
    Severity.CRITICAL,
    "Open the case: it shows what was seen. Ring the practice, then confirm the switch, or say why it is none.",
)
RULE = Rule("system switches", (SUSPECTED,), suspected)
