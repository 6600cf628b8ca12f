"""Messages that the consumers of a team's mailboxes do not have, for the overview."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Min
from django.urls import reverse

from mailboxes import selectors
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.console.line import Line
from messages.filters import NOT_HANDED_ON
from messages.models import Handed, HandOver


def lines(team: Team, now: datetime) -> Iterator[Line]:
    """Consumers that cannot be reached at the moment, and messages that were given up."""
    troubled = list(selectors.outlets_in_trouble(team))
    numbers = _waiting(team) if troubled else {}
    for outlet in troubled:
        since, number = outlet.problem_since or now, numbers.get(outlet.pk, 0)
        wait = f" {number:,} message{' waits' if number == 1 else 's wait'} to be handed on." if number else ""
        yield Line(
            tone="bad",
            subject=str(outlet.mailbox),
            sentence=f"cannot hand messages on. {outlet.problem}{wait}",
            advice=outlet.problem_advice,
            since=since,
            url=_address(team, outlet.mailbox_id),
            act="See what waits",
            moment=since,
        )
    given_up = (
        in_team(HandOver, team)
        .filter(state=Handed.FAILED)
        .order_by()
        .values("outlet__mailbox_id", "outlet__mailbox__name", "outlet__mailbox__mailbox_id")
        .annotate(number=Count("message_id", distinct=True), oldest=Min("updated_at"))
    )
    for row in given_up:
        one = row["number"] == 1
        yield Line(
            tone="bad",
            subject=f"{row['outlet__mailbox__name']} ({row['outlet__mailbox__mailbox_id']})",
            sentence=f"has {row['number']:,} message{'' if one else 's'} that could not be handed on.",
            advice=f"Open {'it' if one else 'them'} to see why, then hand {'it' if one else 'each'} on again.",
            since=row["oldest"],
            url=_address(team, row["outlet__mailbox_id"]),
            act="See the message" if one else "See the messages",
            moment=row["oldest"],
        )


def _waiting(team: Team) -> dict[Any, int]:
    rows = in_team(HandOver, team).filter(state=Handed.PENDING).order_by().values("outlet_id").annotate(number=Count("pk"))
    return {row["outlet_id"]: row["number"] for row in rows}


def _address(team: Team, mailbox: object) -> str:
    inbox = reverse("messages:inbox", kwargs={"team": team.slug, "pk": mailbox})
    return f"{inbox}?{urlencode({'handed': NOT_HANDED_ON})}"
