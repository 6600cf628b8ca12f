"""The acts on one message: try again, acknowledge without keeping."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from meshportal.accounts import scoping
from meshportal.web.pages import ActionPage
from messages import selectors, services
from messages.forms import DiscardForm
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


class Discard(MessageAct):
    """Has MESH told that a message which cannot be stored is done with. Wrong input comes back with every value kept."""

    capability = "message.discard"
    form_class = DiscardForm
    template_name = "messages/detail.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = DiscardForm(data=request.POST)
        if form.is_valid():
            return super().post(request, *args, **kwargs)
        message = self.message()
        context = message_context(message, self.request.membership, form)
        if context["discard_form"] is None:
            # Somebody else decided meanwhile: there is no form to come back to.
            self.flash_refusal("Only a message that needs a person can be acknowledged without keeping it.")
            return self.redirect(self.return_url())
        return self.render(status=422, object=message, message=message, form=form, **context)

    def act(self, form: Any) -> str:
        services.discard(actor=self.actor, message=self.message(), reason=form.cleaned_data["reason"])
        return "MESH is told at the mailbox’s next turn, within about a minute. The message is then gone for good."
