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

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from mailboxes.selectors import only_environment
from meshportal.core.acts import Refused
from meshportal.web.pages import ActionPage, ListPage
from messages import outbox, registry, resend, selectors, services, words
from messages.forms import CancelManyForm, ReasonedForm, ResendManyForm
from messages.models import Message
from messages.states import Direction, State
from messages.views.acts import resend_one

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
    return f"{number:,} message{'' if number == 1 else 's'}"


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


class AskedFirst(SelectedAct, abstract=True):
    """An act that shows first which of the ticked messages it is for, and asks why."""

    capability = "message.send"
    direction = Direction.OUT
    route = "messages:outbox"
    form_class: ClassVar[type[ReasonedForm]]

    def why_not(self, rows: list[Message]) -> dict[Any, str]:
        """Why the act is not for a message, by its key; '' where it is."""
        raise NotImplementedError

    def do(self, row: Message, reason: str) -> None:
        """The act on one message. Raises Refused."""
        raise NotImplementedError

    def done(self, number: int) -> str:
        """The sentence for ``number`` messages that it was done to."""
        raise NotImplementedError

    def answer(self, rows: list[Message]) -> HttpResponseBase:
        why_not = self.why_not(rows)
        form = self.form_class(data=self.request.POST if "confirmed" in self.request.POST else None)
        if not form.is_valid():
            return self.render(
                status=422 if form.is_bound else 200,
                form=form,
                rows=[words.Line.of(row) for row in rows if not why_not[row.pk]],
                left=[(words.Line.of(row), why_not[row.pk]) for row in rows if why_not[row.pk]],
                back=self._back(),
                environment=only_environment(self.team),
            )

        def act(row: Message) -> None:
            if why_not[row.pk]:
                raise Refused(why_not[row.pk])
            self.do(row, form.cleaned_data["reason"])

        outcome = each(act, rows)
        return self.tell(outcome, self.done(outcome.done))


class CancelMany(AskedFirst):
    """Takes messages back that wait to be sent."""

    capability = "message.send"
    template_name = "messages/cancel_many.html"
    form_class = CancelManyForm

    def why_not(self, rows: list[Message]) -> dict[Any, str]:
        return {row.pk: "" if row.state in (State.QUEUED, State.ON_HOLD) else outbox.TOO_LATE for row in rows}

    def do(self, row: Message, reason: str) -> None:
        outbox.cancel(actor=self.actor, message=row, reason=reason)

    def done(self, number: int) -> str:
        return f"{many(number)} cancelled. Nothing of {_them(number)} was sent."


class ResendMany(AskedFirst):
    """Sends documents again, each as a new message."""

    capability = "message.send"
    template_name = "messages/resend_many.html"
    form_class = ResendManyForm

    def selected(self) -> list[Message]:
        return list(selectors.to_resend(self.team, [row.pk for row in super().selected()]))

    def why_not(self, rows: list[Message]) -> dict[Any, str]:
        rules = registry.rules(self.team.pk, [row.workflow_id for row in rows])
        return {row.pk: resend.not_with_others(row, rules.get(row.workflow_id, "")) for row in rows}

    def do(self, row: Message, reason: str) -> None:
        resend_one(actor=self.actor, message=row, reason=reason)

    def done(self, number: int) -> str:
        return f"{many(number)} sent again, as {'a new one' if number == 1 else 'new ones'}."


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
