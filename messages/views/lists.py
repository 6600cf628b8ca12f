"""The lists of received messages: of a whole team, and of one mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django_filters import FilterSet

from mailboxes.models import Mailbox
from mailboxes.selectors import only_environment
from meshportal.accounts import scoping
from meshportal.web.pages import ListPage
from messages import selectors, words
from messages.filters import IN_THE_INBOX, InboxFilter, MessageFilter
from messages.models import MessageType
from messages.states import MEANINGS, State


@dataclass(frozen=True)
class Tab:
    """A saved view of the list: a link with its filters."""

    label: str
    url: str
    current: bool


_TABS: tuple[tuple[str, dict[str, str]], ...] = (
    ("All", {}),
    ("In the MESH inbox", {"state": IN_THE_INBOX}),
    ("Needs a person", {"state": State.QUARANTINED}),
    ("Reports", {"type": MessageType.REPORT}),
)
_STATE_MEANINGS = [(state.label, words.TONES[state], MEANINGS[state]) for state in State]


def tabs(path: str, query: QueryDict) -> Sequence[Tab]:
    """The saved views; the one whose filters are exactly those of ``query`` is the current one."""
    chosen = {name: value for name, value in query.items() if value and name != "cursor"}
    found = []
    for label, wanted in _TABS:
        address = QueryDict(mutable=True)
        address.update(wanted)
        found.append(Tab(label, f"{path}?{address.urlencode()}" if wanted else path, chosen == wanted))
    return found


class MessageList(ListPage, abstract=True):
    """What both lists share: newest first by when the portal saw the message."""

    template_name = "messages/list.html"
    order_field = "seen_at"

    def context(self, **extra: Any) -> dict[str, Any]:
        context = super().context(**extra)
        context["rows"] = [words.Line.of(message) for message in context["rows"]]
        context["tabs"] = tabs(self.request.path, self.request.GET)
        context["meanings"] = _STATE_MEANINGS
        context["narrowed"] = any(value for name, value in self.request.GET.items() if name != "cursor")
        return context


class TeamMessages(MessageList):
    """Every message that came into the team's mailboxes. The search box in the header leads here."""

    capability = "message.view"
    filterset_class: ClassVar[type[FilterSet]] = MessageFilter

    def queryset(self) -> QuerySet[Any]:
        return selectors.received(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        # One environment is said once, in the header; several are said on every row.
        return super().context(environment=only_environment(self.team), **extra)


class MailboxInbox(MessageList):
    """The messages of one mailbox: a page, and the fragment that the mailbox's own page fetches."""

    capability = "message.view"
    filterset_class: ClassVar[type[FilterSet]] = InboxFilter
    mailbox: Mailbox

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.mailbox = scoping.get_or_404(selectors.inboxes(self.team), self.team, pk=kwargs["pk"])
        return super().get(request, *args, **kwargs)

    def queryset(self) -> QuerySet[Any]:
        return selectors.received(self.team).filter(mailbox=self.mailbox)

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(mailbox=self.mailbox, environment=self.mailbox.environment, **extra)
