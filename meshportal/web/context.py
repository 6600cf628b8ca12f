"""What every template gets: the team, what this member may do, the navigation, the environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from meshportal.accounts import policies, scoping
from meshportal.accounts.models import Membership
from meshportal.notify import selectors as alerts
from meshportal.web.environments import ENVIRONMENTS


@dataclass(frozen=True)
class NavItem:
    """One entry of the primary navigation. ``current`` is '' or a value of ``aria-current``; ``count``: what waits there."""

    label: str
    url: str
    current: str
    count: int = 0


@dataclass(frozen=True)
class _Entry:
    label: str
    route: str
    capability: str


NAVIGATION = (
    _Entry("Overview", "console:overview", "mailbox.view"),
    _Entry("Mailboxes", "mailboxes:list", "mailbox.view"),
    _Entry("Messages", "messages:list", "message.view"),
    _Entry("Workflows", "messages:workflows", "message.view"),
    _Entry("Switches", "switches:board", "switch.view"),
    _Entry("Certificates", "certificates:list", "certificate.view"),
    _Entry("Address book", "addresses:list", "address.view"),
    _Entry("Alerts", "console:alerts", "alert.view"),
    _Entry("Audit", "console:audit", "audit.view"),
)


class Can:
    """Answers ``can.message_read_body`` in a template. An unknown capability raises, so that a typing error is found."""

    def __init__(self, membership: Membership | None) -> None:
        self._membership = membership

    def __getitem__(self, name: str) -> bool:
        capability = name.replace("_", ".", 1)
        if capability not in policies.EVERY_CAPABILITY:
            raise ImproperlyConfigured(f"A template asks for can.{name}, which no role carries.")
        return self._membership is not None and policies.can(self._membership, capability)


def navigation(path: str, membership: Membership) -> list[NavItem]:
    """The entries that ``membership`` may open; the one that ``path`` lies under is marked."""
    items = []
    for position, entry in enumerate(NAVIGATION):
        if not policies.can(membership, entry.capability):
            continue
        url = reverse(entry.route, kwargs={"team": membership.team.slug})
        # The overview's address is the beginning of every other one.
        inside = position > 0 and path.startswith(url)
        count = alerts.open_count(membership.team) if entry.route == "console:alerts" else 0
        items.append(NavItem(entry.label, url, "page" if path == url else "true" if inside else "", count))
    return items


def portal(request: HttpRequest) -> dict[str, Any]:
    """The context processor. Works on pages without a team and without a person, where ``can`` allows nothing."""
    membership: Membership | None = getattr(request, "membership", None)
    user = getattr(request, "user", None)
    context: dict[str, Any] = {
        "membership": membership,
        "can": Can(membership),
        "nav": _lazily(lambda: navigation(request.path, membership) if membership else []),
        "my_teams": _lazily(lambda: list(scoping.teams_of(user)) if user and user.is_authenticated else []),
        "environments": ENVIRONMENTS,
    }
    if membership is not None:
        context["team"] = membership.team
    return context


def _lazily(make: Callable[[], list[Any]]) -> Any:
    # A fragment draws neither the navigation nor the team switcher, and should not pay for them.
    return SimpleLazyObject(make)
