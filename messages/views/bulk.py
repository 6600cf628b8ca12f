"""Acts on the messages that are ticked in a list: at most a page of them, each by the same service as one alone.

What another team owns, and what does not exist, is left out in silence; when nothing is left, the page is not found.
Every message has a transaction of its own, as everybody locks a message before the audit chain; the request's id ties the
audit rows together.

| what goes wrong | what happens |
|---|---|
| nothing is ticked, or more than a page | a banner says so; nothing is done |
| an id is no id, unknown, or another team's | it is left out; 404 when none is left |
| a message moved on since the list was drawn | the others are acted on; the banner says how many were not, and why |
| the process dies half-way | what was done is done and recorded; the list shows the rest as it was |
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from mailboxes.selectors import only_environment
from meshportal.core.acts import Refused
from meshportal.core.payloads import StorageFailed
from meshportal.web.pages import ActionPage, ListPage
from messages import outbox, registry, resend, selectors, services, words
from messages.forms import CancelManyForm, ResendManyForm
from messages.models import Message
from messages.states import Direction, State

MOST = ListPage.page_size


@dataclass(frozen=True)
class Outcome:
    """What became of an act on several messages: how many it was done to, and why not to how many."""

    done: int
    refused: Counter[str]

    @property
    def why_not(self) -> str:
        """``2 messages were not: This message is on its way already.``; '' when every one was done."""
        return " ".join(
            f"{number} message{' was' if number == 1 else 's were'} left as {'it is' if number == 1 else 'they are'}: {reason}"
            for reason, number in self.refused.most_common()
        )


def each(act: Callable[[Message], None], rows: Iterable[Message]) -> Outcome:
    """Calls ``act`` with each row; a Refused is counted by its sentence."""
    done, refused = 0, Counter[str]()
    for row in rows:
        try:
            act(row)
        except Refused as refusal:
            refused[str(refusal)] += 1
        else:
            done += 1
    return Outcome(done, refused)


def many(number: int) -> str:
    """``1 message``, ``3 messages``."""
    return f"{number} message{'' if number == 1 else 's'}"


class SelectedAct(ActionPage, abstract=True):
    """An act on the messages that are ticked: ``message``, repeated. It leads back to the list."""

    direction: ClassVar[Direction]
    route: ClassVar[str]

    def return_url(self) -> str:
        return reverse(self.route, kwargs={"team": self.team.slug})

    def selected(self) -> list[Message]:
        """The messages that are ticked, newest first. Raises Refused for none or too many, Http404 for none of this team's."""
        given = {text for text in self.request.POST.getlist("message") if text}
        if not given:
            raise Refused("No message is selected. Tick the messages first.")
        if len(given) > MOST:
            raise Refused(f"More than {MOST} messages are selected. Do it a page at a time.")
        rows = selectors.listed(self.team, self.direction).filter(pk__in=[key for key in map(_key, given) if key])
        found = list(rows.order_by("-seen_at", "-pk"))
        if not found:
            raise Http404
        return found

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            rows = self.selected()
        except Refused as refusal:
            self.flash_refusal(str(refusal))
            return self.redirect(self._back())
        return self.answer(rows)

    def answer(self, rows: list[Message]) -> HttpResponseBase:
        """Does the act, or asks what it needs first."""
        raise NotImplementedError

    def tell(self, outcome: Outcome, done: str) -> HttpResponseBase:
        """Back to the list, with what was done and what was not."""
        if outcome.done:
            self.flash(done)
        if outcome.refused:
            self.flash_refusal(outcome.why_not)
        return self.redirect(self._back())


def _key(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


class CancelMany(SelectedAct):
    """Takes messages back that wait to be sent: first what is selected and why, then the act."""

    capability = "message.send"
    template_name = "messages/cancel_many.html"
    direction = Direction.OUT
    route = "messages:outbox"

    def answer(self, rows: list[Message]) -> HttpResponseBase:
        form = CancelManyForm(data=self.request.POST if "confirmed" in self.request.POST else None)
        if not form.is_valid():
            queued = [row for row in rows if row.state == State.QUEUED]
            return self.render(
                status=422 if form.is_bound else 200,
                form=form,
                rows=[words.Line.of(row) for row in queued],
                left=[words.Line.of(row) for row in rows if row.state != State.QUEUED],
                back=self._back(),
                environment=only_environment(self.team),
            )
        reason = form.cleaned_data["reason"]
        outcome = each(lambda row: outbox.cancel(actor=self.actor, message=row, reason=reason), rows)
        return self.tell(outcome, f"{many(outcome.done)} cancelled. Nothing of {_them(outcome.done)} was sent.")


class ResendMany(SelectedAct):
    """Sends documents again, each as a new message: first which of those ticked and why, then the act."""

    capability = "message.send"
    template_name = "messages/resend_many.html"
    direction = Direction.OUT
    route = "messages:outbox"

    def answer(self, rows: list[Message]) -> HttpResponseBase:
        rows = list(selectors.to_resend(self.team, [row.pk for row in rows]))
        rules = registry.rules(self.team.pk, [row.workflow_id for row in rows])
        why_not = {row.pk: resend.not_with_others(row, rules.get(row.workflow_id, "")) for row in rows}
        form = ResendManyForm(data=self.request.POST if "confirmed" in self.request.POST else None)
        if not form.is_valid():
            return self.render(
                status=422 if form.is_bound else 200,
                form=form,
                rows=[words.Line.of(row) for row in rows if not why_not[row.pk]],
                left=[(words.Line.of(row), why_not[row.pk]) for row in rows if why_not[row.pk]],
                back=self._back(),
                environment=only_environment(self.team),
            )
        reason = form.cleaned_data["reason"]

        def act(row: Message) -> None:
            if why_not[row.pk]:
                raise Refused(why_not[row.pk])
            try:
                resend.resend(actor=self.actor, message=row, reason=reason)
            except ValidationError as error:
                raise Refused(" ".join(error.messages)) from None
            except StorageFailed:
                raise Refused("The portal could not keep a copy to send: its storage failed.") from None

        outcome = each(act, rows)
        return self.tell(outcome, f"{many(outcome.done)} sent again, as {'a new one' if outcome.done == 1 else 'new ones'}.")


class RetryMany(SelectedAct):
    """Has the portal try messages again that it could not store."""

    capability = "message.retry"
    direction = Direction.IN
    route = "messages:list"

    def answer(self, rows: list[Message]) -> HttpResponseBase:
        outcome = each(lambda row: services.retry(actor=self.actor, message=row), rows)
        done = f"The portal tries {many(outcome.done)} again at the mailbox’s next turn, within about a minute."
        return self.tell(outcome, done)


def _them(number: int) -> str:
    return "it" if number == 1 else "them"
