"""The calendar of the next twelve months: which certificate lapses when; and the address that calendar programs subscribe to."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers

from certificates import feed, lapsing
from certificates.forms import StandingForm
from meshportal.core.acts import Refused
from meshportal.web.pages import ActionPage, TeamPage


class CalendarPage(TeamPage):
    """What lapses in the next twelve months, and does anything take its place?"""

    capability = "certificate.view"
    template_name = "certificates/calendar.html"
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(calendar=lapsing.calendar(self.team, timezone.now()), address=feed.address_of(self.team), **extra)


class AddressAct(ActionPage, abstract=True):
    """An act on the address of the calendar, that somebody saw as the form says."""

    form_class = StandingForm

    def return_url(self) -> str:
        return reverse("certificates:calendar", kwargs={"team": self.team.slug})


class AddressMake(AddressAct):
    """Makes an address, in place of the one before, and shows it: this once, since only its hash is kept."""

    capability = "certificate.manage"
    template_name = "certificates/calendar_address.html"

    def carry_out(self, form: Any) -> HttpResponseBase:
        try:
            secret = feed.make_address(actor=self.actor, team=self.team, standing=form.cleaned_data["standing"])
        except Refused as refusal:
            self.flash_refusal(str(refusal))
            return self.redirect(self.return_url())
        path = reverse("certificates-feed", kwargs={"secret": secret})
        whole = f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else self.request.build_absolute_uri(path)
        # No redirect: what it would need to carry along is not kept, not even in a session.
        response: HttpResponse = self.render(whole=whole, replaced=bool(form.cleaned_data["standing"]))
        add_never_cache_headers(response)
        return response


class AddressEnd(AddressAct):
    """Ends the address."""

    capability = "certificate.manage"

    def act(self, form: Any) -> str:
        feed.end_address(actor=self.actor, team=self.team, standing=form.cleaned_data["standing"])
        return "The address is ended. Calendars that were subscribed to it get nothing new."
