"""What a message says, as data that every transport draws in its own way.

Only words of kinds, rules and names of the team's own mailboxes, certificates and channels go in: no subject, file name, local ID
or body of a message, and nothing that another organisation wrote. NHS numbers are hidden all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from meshportal.accounts.models import Team
from meshportal.core.masking import mask_numbers
from meshportal.notify import registry
from meshportal.notify.models import Alert, Severity

# More names than this are a number: the list is in the portal.
NAMED = 10
NEW, WORSE, STILL, OVER, LEFT, OPEN = "new", "worse", "still", "over", "left", "open"
_LEADS = {NEW: "New", WORSE: "Worse, or more", STILL: "Still open", OVER: "Over", LEFT: "Still open of these", OPEN: "Open"}


@dataclass(frozen=True)
class Said:
    """One alert in a message, and why it stands there."""

    why: str
    alert: Alert


def notice(team: Team, said: Sequence[Said]) -> dict[str, Any]:
    """The content of a message about alerts: what is new first."""
    blocks = _blocks(team, said, (NEW, WORSE, STILL, OVER, LEFT))
    fresh = [one for one in said if one.why in (NEW, WORSE, STILL)]
    over = sum(one.why == OVER for one in said)
    heads = [block["heading"] for block in blocks if block["why"] in (NEW, WORSE, STILL)]
    if heads:
        title = heads[0] + (f", and {len(heads) - 1} more" if len(heads) > 1 else "")
    else:
        title = next(block["heading"] for block in blocks)
        title = f"Over: {title}" + (f", and {over - blocks[0]['number']} more" if over > blocks[0]["number"] else "")
    critical = any(one.alert.severity >= Severity.CRITICAL for one in fresh)
    tone = "good" if not fresh else "bad" if critical else "warn"
    return _content(team, title, tone, blocks)


def digest(team: Team, alerts: Sequence[Alert], now: datetime) -> dict[str, Any]:
    """The content of the daily summary: what is open, or that nothing is."""
    blocks = _blocks(team, [Said(OPEN, alert) for alert in alerts], (OPEN,))
    waiting = sum(alert.acknowledged_at is None for alert in alerts)
    number = f"{len(alerts):,} alert{'' if len(alerts) == 1 else 's'}"
    title = f"Daily summary: {number} open, {waiting:,} not acknowledged" if alerts else "Daily summary: no alert is open"
    critical = any(alert.severity >= Severity.CRITICAL for alert in alerts)
    return _content(team, title, "good" if not alerts else "bad" if critical else "warn", blocks)


def test(team: Team, asked_by: str) -> dict[str, Any]:
    """The content of a test."""
    words = f"This is a test, asked for by {asked_by}. Warnings of this team will come this way."
    block = {
        "why": OPEN,
        "lead": "",
        "heading": "Test",
        "number": 0,
        "lines": [{"words": words, "url": ""}],
        "more": 0,
        "advice": "",
    }
    return _content(team, "Test of this channel", "good", [block])


def _content(team: Team, title: str, tone: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    url = _address("console:alerts", team=team.slug)
    return {"team": _clean(team.name), "title": _clean(title), "tone": tone, "blocks": blocks, "url": url}


def _blocks(team: Team, said: Iterable[Said], order: Sequence[str]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Alert]] = defaultdict(list)
    for one in said:
        groups[one.why, one.alert.kind].append(one.alert)

    def rank(entry: tuple[tuple[str, str], list[Alert]]) -> tuple[int, int, str]:
        (why, kind), alerts = entry
        return order.index(why), -max(alert.severity for alert in alerts), kind

    return [_block(team, why, kind, alerts) for (why, kind), alerts in sorted(groups.items(), key=rank)]


def _block(team: Team, why: str, name: str, alerts: list[Alert]) -> dict[str, Any]:
    kind = registry.known(name)
    worst_first = sorted(alerts, key=lambda alert: (-alert.severity, alert.opened_at))
    return {
        "why": why,
        "lead": _LEADS[why],
        "kind": name,
        "heading": _clean(kind.count_words(len(alerts))),
        "number": len(alerts),
        "severity": Severity(max(alert.severity for alert in alerts)).label,
        "lines": [
            # What is over no longer is as it says: the name is enough.
            {"words": _clean(alert.subject if why == OVER else str(alert)), "url": _page(team, alert)}
            for alert in worst_first[:NAMED]
        ],
        "more": max(len(alerts) - NAMED, 0),
        "advice": "" if why == OVER else kind.advice,
    }


def _page(team: Team, alert: Alert) -> str:
    return _address("console:alert", team=team.slug, pk=str(alert.pk))


def _address(name: str, **arguments: str) -> str:
    """A link that works in a mail; '' where nobody said under which address the portal is reached."""
    return f"{settings.PUBLIC_URL}{reverse(name, kwargs=arguments)}" if settings.PUBLIC_URL else ""


def _clean(text: str) -> str:
    return mask_numbers(" ".join(text.split()))
