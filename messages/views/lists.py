"""The lists of messages, received and sent: of a whole team, and of one mailbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django_filters import FilterSet

from mailboxes.models import Mailbox
from mailboxes.selectors import only_environment
from meshportal.accounts import policies, scoping
from meshportal.core import pagination
from meshportal.web import fragments
from meshportal.web.pages import ListPage
from messages import selectors, words
from messages.filters import RECOVERABLE, InboxFilter, MessageFilter, OutboxFilter, SentFilter
from messages.models import Message
from messages.states import IN, MEANINGS, OUT, Direction
from messages.views import tabs
from messages.views.detail import may_retry
from messages.views.tabs import Counts, Tab


@dataclass(frozen=True)
class Elsewhere:
    """What the same search finds in the other direction."""

    word: str
    url: str
    number: int
    count: str


_STATE_MEANINGS = {
    direction: [(state.label, words.TONES[state], MEANINGS[state]) for state in states]
    for direction, states in ((Direction.IN, IN), (Direction.OUT, OUT))
}
# Filters that mean the same in both directions, so that whoever looks in the other one need not type them again.
_SHARED = ("q", "mailbox", "workflow", "since", "until")


class MessageList(ListPage, abstract=True):
    """What all of them share: newest first by when the portal saw the message, or was given it to send."""

    template_name = "messages/list.html"
    order_field = "seen_at"
    direction: ClassVar[Direction] = Direction.IN

    def queryset(self) -> QuerySet[Any]:
        return selectors.listed(self.team, self.direction)

    def counted(self) -> QuerySet[Message]:
        """The rows that the tabs count among."""
        return selectors.counted(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(**extra)
        context["rows"] = [words.Line.of(message) for message in context["rows"]]
        context["tabs"] = tabs.tabs(self.counted(), self.request.path, self.request.GET, self.direction)
        context["meanings"] = _STATE_MEANINGS[self.direction]
        context["narrowed"] = any(value for name, value in self.request.GET.items() if name != "cursor")
        context["sent"] = self.direction == Direction.OUT
        if context["sent"]:
            context |= self.of_all()
        context["selectable"] = self.selectable([line.message for line in context["rows"]])
        return context

    def of_all(self) -> dict[str, Any]:
        """The ways to what can be done to all sent messages that fit the filters."""
        kept = {name: str(value) for name, value in self.request.GET.items() if value and name != "cursor"}
        kept |= self.of_mailbox()
        routes = {"resend_all_url": "resend-filtered", "restore_url": "restore"}
        return {
            name: tabs.address(reverse(f"messages:{route}", kwargs={"team": self.team.slug}), kept)
            for name, route in routes.items()
        } | {"recoverable": self.request.GET.get("state") == RECOVERABLE}

    def of_mailbox(self) -> dict[str, str]:
        """The filter of the team's list that this list is, by its address alone."""
        return {}

    def selectable(self, rows: list[Message]) -> set[Any]:
        """The keys of the rows that this person can act on several at once."""
        if self.direction == Direction.OUT:
            return {row.pk for row in rows} if policies.can(self.request.membership, "message.send") else set()
        return {row.pk for row in rows if may_retry(row, self.request.membership)}


class TeamMessages(MessageList):
    """Every message that came into the team's mailboxes. The search box in the header leads here."""

    capability = "message.view"
    filterset_class: ClassVar[type[FilterSet]] = MessageFilter
    route: ClassVar[str] = "messages:list"

    def context(self, **extra: Any) -> dict[str, Any]:
        # One environment is said once, in the header; several are said on every row.
        context = super().context(environment=only_environment(self.team), **extra)
        kept = {name: self.request.GET[name] for name in _SHARED if self.request.GET.get(name)}
        counts = self._counts(kept)
        context["lists"] = [
            Tab(
                label=direction.label,
                url=tabs.address(reverse(page.route, kwargs={"team": self.team.slug}), kept),
                current=direction == self.direction,
                count=tabs.number(counts[direction]) if counts else "",
            )
            for direction, page in _TEAM_LISTS.items()
        ]
        if counts:
            other = Direction.IN if self.direction == Direction.OUT else Direction.OUT
            url = next(tab.url for tab in context["lists"] if not tab.current)
            context["elsewhere"] = Elsewhere(other.label.lower(), url, counts[other][0], tabs.number(counts[other]))
        # A fragment brings them along: the search that they carry on changed with the rows. Not while nobody asked, since
        # the focus may stand on one of them.
        by_itself = self.request.headers.get("X-Portal-Refresh") == "1"
        context["lists_along"] = fragments.wants_fragment(self.request) and not by_itself
        return context

    def _counts(self, kept: dict[str, str]) -> Counts:
        """How many messages of each direction fit what both know of the search; nothing without a search."""
        if not kept:
            return {}
        found = {}
        for direction, page in _TEAM_LISTS.items():
            rows = selectors.listed(self.team, direction)
            found[direction.value] = page.filterset_class(kept, queryset=rows, request=self.request)
        # What makes no sense filters nothing, so that there is nothing to compare.
        if any(filters.errors for filters in found.values()):
            return {}
        return pagination.capped_counts({direction: filters.qs for direction, filters in found.items()})


class SentMessages(TeamMessages):
    """Every message that the team's mailboxes sent, or are to send."""

    capability = "message.view"
    direction = Direction.OUT
    filterset_class = SentFilter
    route = "messages:outbox"


_TEAM_LISTS: dict[Direction, type[TeamMessages]] = {Direction.IN: TeamMessages, Direction.OUT: SentMessages}


class MailboxInbox(MessageList):
    """The messages that came into one mailbox: a page, and the fragment that the mailbox's own page fetches."""

    capability = "message.view"
    filterset_class: ClassVar[type[FilterSet]] = InboxFilter
    mailbox: Mailbox

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.mailbox = scoping.get_or_404(selectors.mailboxes(self.team), self.team, pk=kwargs["pk"])
        return super().get(request, *args, **kwargs)

    def queryset(self) -> QuerySet[Any]:
        return super().queryset().filter(mailbox=self.mailbox)

    def counted(self) -> QuerySet[Message]:
        return selectors.counted(self.team, self.mailbox)

    def of_mailbox(self) -> dict[str, str]:
        return {"mailbox": str(self.mailbox.pk)}

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(mailbox=self.mailbox, environment=self.mailbox.environment, **extra)


class MailboxOutbox(MailboxInbox):
    """The messages that one mailbox sent, or is to send."""

    capability = "message.view"
    direction = Direction.OUT
    filterset_class = OutboxFilter
