"""The expiry calendar as calendar programs fetch it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from certificates import feed
from meshportal.accounts.models import Team
from meshportal.web.pages import SecretPage


class ExpiryFeed(SecretPage):
    """The certificates that lapse, as an iCalendar file."""

    capability = "certificate.view"

    def team_or_404(self, secret: str) -> Team:
        return feed.team_or_404(secret)

    def get(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = HttpResponse("".join(feed.lines(self.team, timezone.now())), content_type="text/calendar; charset=utf-8")
        response["Content-Disposition"] = 'inline; filename="certificates.ics"'
        return response
