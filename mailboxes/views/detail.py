"""A mailbox's page, and the act on it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from mailboxes import health, selectors, services
from mailboxes.models import Mailbox
from meshportal.accounts import scoping
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import ActionPage, DetailPage


class MailboxPage(DetailPage):
    """Is this mailbox all right, and what is in it?"""

    capability = "mailbox.view"
    template_name = "mailboxes/detail.html"
    fragments = ("standing",)
    context_name = "mailbox"

    def queryset(self) -> QuerySet[Mailbox]:
        return selectors.mailboxes_of(self.team).select_related("watched_folder", "onboarding__owner", "onboarding__deputy")

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            standing=health.Standing(self.object, timezone.now()),
            environment=self.object.environment,
            environment_meaning=ENVIRONMENTS[self.object.environment].meaning,
            meanings=health.meanings(),
            outlets=selectors.outlets_of(self.object),
            run_off_over=(self.object.run_off_ends_at or timezone.now() + Mailbox.RUN_OFF) <= timezone.now(),
            **extra,
        )


class PollNow(ActionPage):
    """Makes a mailbox due at once."""

    capability = "mailbox.poll"

    def act(self, form: Any) -> str:
        mailbox = scoping.get_or_404(selectors.mailboxes_of(self.team), self.team, pk=self.kwargs["pk"])
        return services.poll_now(actor=self.actor, mailbox=mailbox)

    def return_url(self) -> str:
        return reverse("mailboxes:detail", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})
