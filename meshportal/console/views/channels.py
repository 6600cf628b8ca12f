"""Channels: where a team is told of alerts, and of which."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.functional import cached_property

from meshportal.accounts import scoping
from meshportal.console.forms import ChannelChangeForm, ChannelForm, SubscribeForm, UnsubscribeForm
from meshportal.core.acts import Refused
from meshportal.notify import channels, registry, selectors
from meshportal.notify.models import Channel, Subscription
from meshportal.web.pages import ActionPage, DetailPage, FormPage, TeamPage

TONES = {"sent": "good", "waiting": "busy", "dead": "bad"}


def told_of(subscription: Subscription) -> str:
    """``Every kind, from Warning``."""
    kind = registry.known(subscription.kind).title if subscription.kind else "Every kind"
    return f"{kind}, from “{subscription.get_severity_display()}” on"


class ChannelList(TeamPage):
    """Who is warned, and how?"""

    capability = "alert.view"
    template_name = "console/channels.html"
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        rows = [(channel, [told_of(one) for one in channel.subscriptions.all()]) for channel in selectors.channels_of(self.team)]
        return super().context(rows=rows, **extra)


class ChannelAdd(FormPage):
    """A new channel."""

    capability = "channel.manage"
    template_name = "console/channel_form.html"
    form_class = ChannelForm
    success_message = "The channel is added. Send a test to see that it works."

    def save(self, form: Any) -> Channel:
        given = {name: form.cleaned_data[name] for name in form.SETTINGS}
        transport = form.cleaned_data["transport"]
        return channels.add(actor=self.actor, team=self.team, transport=transport, config=form.config, **given)

    def success_url(self, saved: Channel) -> str:
        return reverse("console:channel", kwargs={"team": self.team.slug, "pk": saved.pk})


class OfChannel(TeamPage, abstract=True):
    """What the pages and acts of one channel share."""

    @cached_property
    def channel(self) -> Channel:
        """The channel of the address; Http404 when this team has none such."""
        return scoping.get_or_404(selectors.channels_of(self.team), self.team, pk=self.kwargs["pk"])

    def return_url(self) -> str:
        return reverse("console:channel", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})


class ChannelPage(OfChannel, DetailPage):
    """Does it work, and what is it told of?"""

    capability = "alert.view"
    template_name = "console/channel.html"
    fragments = ("deliveries",)

    def get_object(self) -> Channel:
        return self.channel

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            subscriptions=[(one, told_of(one)) for one in self.channel.subscriptions.all()],
            deliveries=[(one, TONES[one.status]) for one in selectors.deliveries_of(self.channel)],
            subscribe_form=SubscribeForm(),
            **extra,
        )


class ChannelChange(OfChannel, FormPage):
    """Its settings."""

    capability = "channel.manage"
    template_name = "console/channel_form.html"
    form_class = ChannelChangeForm
    success_message = "The channel is changed."

    def form_kwargs(self) -> dict[str, Any]:
        initial = {name: getattr(self.channel, name) for name in ChannelChangeForm.SETTINGS}
        for name in ("quiet_from", "quiet_until"):
            initial[name] = initial[name].strftime("%H:%M") if initial[name] else ""
        return {"channel": self.channel, "initial": initial}

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(channel=self.channel, **extra)

    def save(self, form: Any) -> Channel:
        given = {name: form.cleaned_data[name] for name in form.SETTINGS}
        config = form.config if form.changes_address else None
        return channels.change(actor=self.actor, channel=self.channel, config=config, **given)

    def success_url(self, saved: Channel) -> str:
        return self.return_url()


class ChannelAct(OfChannel, ActionPage, abstract=True):
    """One act on one channel."""

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _ = self.channel
        return super().http_method_not_allowed(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.channel
        return super().post(request, *args, **kwargs)


class ChannelTest(ChannelAct):
    """Sends a test."""

    capability = "channel.manage"

    def act(self, form: Any) -> str:
        channels.send_test(actor=self.actor, channel=self.channel)
        return "A test is on its way. This page shows what became of it, within about a minute."


class ChannelRemove(ChannelAct):
    """Takes a channel away."""

    capability = "channel.manage"

    def act(self, form: Any) -> str:
        channels.remove(actor=self.actor, channel=self.channel)
        return f"The channel “{self.channel.name}” is removed. Nobody is told by it any more."

    def _back(self) -> str:
        return reverse("console:channels", kwargs={"team": self.team.slug})


class Subscribe(ChannelAct):
    """One kind more, or another severity."""

    capability = "channel.manage"
    form_class = SubscribeForm

    def act(self, form: Any) -> str:
        try:
            found = channels.subscribe(actor=self.actor, channel=self.channel, **form.cleaned_data)
        except ValidationError as error:
            raise Refused(" ".join(error.messages)) from None
        return f"From now on it is told of: {told_of(found)}."


class Unsubscribe(ChannelAct):
    """One kind less."""

    capability = "channel.manage"
    form_class = UnsubscribeForm

    def act(self, form: Any) -> str:
        found = selectors.subscription_or_404(self.channel, form.cleaned_data["subscription"])
        words = told_of(found)
        channels.unsubscribe(actor=self.actor, subscription=found)
        return f"It is no longer told of: {words}."
