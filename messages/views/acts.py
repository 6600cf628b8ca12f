"""The acts on one message: try again, acknowledge without keeping, cancel, decide what became of it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from mailboxes.models import Channel
from meshportal.accounts import scoping
from meshportal.core.acts import Refused
from meshportal.core.payloads import StorageFailed
from meshportal.web.pages import ActionPage
from messages import outbox, resend, selectors, services
from messages.forms import CancelForm, DecideForm, DiscardForm, HandOnForm, ReasonedForm, ResendForm
from messages.handing import services as handing
from messages.models import Message
from messages.views.detail import address, message_context


class MessageAct(ActionPage, abstract=True):
    """An act that leads back to the message's page."""

    def message(self) -> Message:
        """The message of the address; Http404 when this team has none such."""
        return scoping.get_or_404(selectors.whole(), self.team, pk=self.kwargs["pk"])

    def return_url(self) -> str:
        return address(self.message(), team=self.team.slug)


class Retry(MessageAct):
    """Has the portal try a message again that it could not store."""

    capability = "message.retry"

    def act(self, form: Any) -> str:
        services.retry(actor=self.actor, message=self.message())
        return "The portal tries this message again at the mailbox’s next turn, within about a minute."


class ReasonedAct(MessageAct, abstract=True):
    """An act with a form on the message's page. Wrong input comes back with every value kept.

    ``not_now`` is said when the message moved on, so that there is no form to come back to.
    """

    form_class: ClassVar[type[ReasonedForm]]
    not_now: ClassVar[str]
    template_name = "messages/detail.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        message = self.message()
        form = self.form_class(data=request.POST, message=message)
        if form.is_valid():
            return self.carry_out(form)
        context = message_context(message, self.request.membership, form)
        if context["act_form"] is not form:
            self.flash_refusal(self.not_now)
            return self.redirect(self.return_url())
        return self.render(status=422, object=message, message=message, form=form, **context)


class Discard(ReasonedAct):
    """Has MESH told that a message which cannot be stored is done with."""

    capability = "message.discard"
    form_class = DiscardForm
    not_now = "Only a message that needs a person can be acknowledged without keeping it."

    def act(self, form: Any) -> str:
        services.discard(actor=self.actor, message=self.message(), reason=form.cleaned_data["reason"])
        return "MESH is told at the mailbox’s next turn, within about a minute. The message is then gone for good."


class Cancel(ReasonedAct):
    """Takes a message back that waits to be sent."""

    capability = "message.send"
    form_class = CancelForm
    not_now = "Only a message that waits to be sent can be cancelled."

    def act(self, form: Any) -> str:
        outbox.cancel(actor=self.actor, message=self.message(), reason=form.cleaned_data["reason"])
        return "The message is cancelled. Nothing of it was sent."


class Decide(ReasonedAct):
    """Settles a message of which nobody knows whether MESH accepted it."""

    capability = "message.send"
    form_class = DecideForm
    not_now = "Only a message that needs a decision can be decided on."

    def act(self, form: Any) -> str:
        arrived = form.cleaned_data["decision"] == DecideForm.ARRIVED
        outbox.decide(actor=self.actor, message=self.message(), arrived=arrived, reason=form.cleaned_data["reason"])
        if arrived:
            return "Recorded: the message arrived. The portal leaves it alone from now on."
        return "The message is sent again, within about a minute."


def resend_one(**asked: Any) -> Message:
    """:func:`messages.resend.resend`, with whatever stands in the way as one sentence. Raises Refused."""
    try:
        return resend.resend(**asked)
    except ValidationError as error:
        raise Refused(f"It cannot be sent again as it was composed. {' '.join(error.messages)}") from None
    except StorageFailed:
        raise Refused("The portal could not keep a copy to send: its storage failed. Nothing was queued.") from None


class Resend(ReasonedAct):
    """Sends the document of a message again, as a new message."""

    capability = "message.send"
    form_class = ResendForm
    not_now = "This message cannot be sent again now. Its page says where it stands."

    def act(self, form: Any) -> str:
        given = form.cleaned_data
        new = resend_one(
            actor=self.actor,
            message=self.message(),
            reason=given["reason"],
            asked_by=given.get("asked_by", ""),
            recipient=given["recipient"],
        )
        return f"Sent again as a new message with local ID {new.local_id}. Both pages show what became of it."


class HandOn(ReasonedAct, abstract=True):
    """Has a message handed on again, to the folder or the webhook of its mailbox."""

    form_class = HandOnForm
    channel: ClassVar[Channel]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        message, channel = self.message(), self.channel
        if not handing.known(message, channel):
            raise Http404
        form = HandOnForm(data=request.POST, message=message, channel=channel)
        if form.is_valid():
            return self.carry_out(form)
        context = message_context(message, self.request.membership, form)
        return self.render(status=422, object=message, message=message, form=form, **context)

    def act(self, form: Any) -> str:
        reason = form.cleaned_data["reason"]
        handing.hand_on_again(actor=self.actor, message=self.message(), channel=self.channel, reason=reason)
        return "The message is handed on again, within about a minute. Whoever has it already gets it a second time."


class HandOnToFolder(HandOn):
    """Into the folder."""

    capability = "message.retry"
    channel = Channel.FOLDER


class HandOnToWebhook(HandOn):
    """To the webhook."""

    capability = "message.retry"
    channel = Channel.WEBHOOK
