"""The lists of messages, received and sent: of a whole team, and of one mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse
from django_filters import FilterSet

from mailboxes.models import Mailbox
from mailboxes.selectors import only_environment
from meshportal.accounts import scoping
from meshportal.web.pages import ListPage
from messages import selectors, words
from messages.filters import (
    IN_THE_INBOX,
    NOT_COLLECTED,
    UNMATCHED,
    WAITING,
    InboxFilter,
    MessageFilter,
    OutboxFilter,
    SentFilter,
)
from messages.models import MessageType
from messages.states import IN, MEANINGS, OUT, Direction, State


@dataclass(frozen=True)
class Tab:
    """A link that leads to another view of the messages."""

    label: str
    url: str
    current: bool


# The saved views of each direction: links with their filters.
_VIEWS: dict[Direction, tuple[tuple[str, dict[str, str]], ...]] = {
    Direction.IN: (
        ("All", {}),
        ("In the MESH inbox", {"state": IN_THE_INBOX}),
        ("Needs a person", {"state": State.QUARANTINED}),
        ("Reports", {"type": MessageType.REPORT}),
        ("Unmatched reports", {"type": UNMATCHED}),
    ),
    Direction.OUT: (
        ("All", {}),
        ("Needs a decision", {"state": State.UNCERTAIN}),
        ("Waiting to be sent", {"state": WAITING}),
        ("Not collected", {"state": NOT_COLLECTED}),
        ("Returned", {"state": State.RETURNED}),
        ("Refused", {"state": State.REFUSED}),
    ),
}
_STATE_MEANINGS = {
    direction: [(state.label, words.TONES[state], MEANINGS[state]) for state in states]
    for direction, states in ((Direction.IN, IN), (Direction.OUT, OUT))
}
_TEAM_LISTS = (("Received", "messages:list", Direction.IN), ("Sent", "messages:outbox", Direction.OUT))
# Filters that mean the same in both directions, so that whoever looks in the other one need not type them again.
_SHARED = ("q", "mailbox", "workflow", "since", "until")


def tabs(path: str, query: QueryDict, direction: Direction = Direction.IN) -> Sequence[Tab]:
    """The saved views; the one whose filters are exactly those of ``query`` is the current one."""
    chosen = {name: value for name, value in query.items() if value and name != "cursor"}
    return [Tab(label, _with(path, wanted), chosen == wanted) for label, wanted in _VIEWS[direction]]


def _with(path: str, filters: dict[str, str]) -> str:
    address = QueryDict(mutable=True)
    address.update(filters)
    return f"{path}?{address.urlencode()}" if filters else path


class MessageList(ListPage, abstract=True):
    """What all of them share: newest first by when the portal saw the message, or was given it to send."""

    template_name = "messages/list.html"
    order_field = "seen_at"
    direction: ClassVar[Direction] = Direction.IN

    def queryset(self) -> QuerySet[Any]:
        return selectors.listed(self.team, self.direction)

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(**extra)
        context["rows"] = [words.Line.of(message) for message in context["rows"]]
        context["tabs"] = tabs(self.request.path, self.request.GET, self.direction)
        context["meanings"] = _STATE_MEANINGS[self.direction]
        context["narrowed"] = any(value for name, value in self.request.GET.items() if name != "cursor")
        context["sent"] = self.direction == Direction.OUT
        return context


class TeamMessages(MessageList):
    """Every message that came into the team's mailboxes. The search box in the header leads here."""

    capability = "message.view"
    filterset_class: ClassVar[type[FilterSet]] = MessageFilter

    def context(self, **extra: Any) -> dict[str, Any]:
        # One environment is said once, in the header; several are said on every row.
        kept = {name: self.request.GET[name] for name in _SHARED if self.request.GET.get(name)}
        lists = [
            Tab(label, _with(reverse(route, kwargs={"team": self.team.slug}), kept), direction == self.direction)
            for label, route, direction in _TEAM_LISTS
        ]
        return super().context(environment=only_environment(self.team), lists=lists, **extra)


class SentMessages(TeamMessages):
    """Every message that the team's mailboxes sent, or are to send."""

    capability = "message.view"
    direction = Direction.OUT
    filterset_class = SentFilter


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

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(mailbox=self.mailbox, environment=self.mailbox.environment, **extra)


class MailboxOutbox(MailboxInbox):
    """The messages that one mailbox sent, or is to send."""

    capability = "message.view"
    direction = Direction.OUT
    filterset_class = OutboxFilter
