"""Adding a mailbox, and changing how the portal works one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from certificates import selectors as certificates
from certificates.models import ClientIdentity
from mailboxes import health, outlets, passwords, selectors, services, setting
from mailboxes.forms import AddForm, PasswordForm, SettingsForm
from mailboxes.models import Channel, Mailbox
from meshportal.accounts import scoping
from meshportal.accounts.models import Team
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import FormPage


def certificate_choices(team: Team, environment: str = "") -> list[tuple[str, str]]:
    """The team's certificates, of one environment or of all; of all, each says its own."""
    rows = certificates.identities_of(team).order_by("environment", "name")
    if environment:
        return [(str(one.pk), one.name) for one in rows.filter(environment=environment)]
    return [(str(one.pk), f"{one.name} ({ENVIRONMENTS[one.environment].tag})") for one in rows]


class MailboxAdd(FormPage):
    """A mailbox that MESH has given out, with its password and certificate."""

    capability = "mailbox.manage"
    template_name = "mailboxes/add.html"
    form_class = AddForm

    def form_kwargs(self) -> dict[str, Any]:
        return {"certificates": self._certificates}

    @cached_property
    def _certificates(self) -> list[tuple[str, str]]:
        return certificate_choices(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(any_certificate=bool(self._certificates), **extra)

    def save(self, form: AddForm) -> Mailbox:
        given = form.cleaned_data
        identity: ClientIdentity = scoping.get_or_404(certificates.identities_of(self.team), self.team, pk=given.pop("identity"))
        return services.add_mailbox(actor=self.actor, team=self.team, identity=identity, **given)

    def success_url(self, saved: Mailbox) -> str:
        self.flash(f"{saved} was added. Check its connection now: it takes a few seconds.")
        return reverse("mailboxes:detail", kwargs={"team": self.team.slug, "pk": saved.pk})


class OfMailbox(FormPage, abstract=True):
    """A form about the mailbox of the address. ``save`` returns what was done, in a sentence."""

    @cached_property
    def mailbox(self) -> Mailbox:
        return scoping.get_or_404(selectors.mailboxes_of(self.team), self.team, pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.mailbox
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.mailbox
        return super().post(request, *args, **kwargs)

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            mailbox=self.mailbox,
            environment=self.mailbox.environment,
            environment_meaning=ENVIRONMENTS[self.mailbox.environment].meaning,
            **extra,
        )

    def success_url(self, saved: str) -> str:
        self.flash(saved)
        return reverse("mailboxes:detail", kwargs={"team": self.team.slug, "pk": self.mailbox.pk})


class MailboxSettings(OfMailbox):
    """How the portal works a mailbox, all on one page."""

    capability = "mailbox.manage"
    template_name = "mailboxes/settings.html"
    form_class = SettingsForm

    def form_kwargs(self) -> dict[str, Any]:
        box = self.mailbox
        on = {outlet.channel for outlet in selectors.outlets_of(box)}
        kept = {name: getattr(box, name) for name in ("revision", "name", "mode", "poll_interval_seconds", "workflow_filter")}
        kept |= {"folder": box.folder, "send_from_folder": box.send_from_folder, "identity": str(box.identity_id or "")}
        kept |= {"hand_on_to_folder": Channel.FOLDER in on, "webhook_url": outlets.webhook_url(box)}
        choices = certificate_choices(self.team, box.environment)
        return {"mailbox": box, "certificates": choices, "initial": kept}

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(mode_meaning=health.MODE_MEANINGS[self.mailbox.mode], **extra)

    def save(self, form: SettingsForm) -> str:
        given = dict(form.cleaned_data)
        chosen = given.pop("identity")
        rows = certificates.identities_of(self.team)
        identity = scoping.get_or_404(rows, self.team, pk=chosen) if chosen else None
        secret = given.pop("webhook_secret") or None
        changed = setting.change_settings(
            actor=self.actor, mailbox=self.mailbox, identity=identity, webhook_secret=secret, **given
        )
        return (
            f"The settings of {self.mailbox.name} are changed." if changed else "Nothing was different, so nothing was changed."
        )


class MailboxPassword(OfMailbox):
    """A new password, tried by a handshake before it is kept."""

    capability = "mailbox.manage"
    template_name = "mailboxes/password.html"
    form_class = PasswordForm

    def form_kwargs(self) -> dict[str, Any]:
        return {"initial": {"revision": self.mailbox.revision}}

    def save(self, form: PasswordForm) -> str:
        given = form.cleaned_data
        return passwords.change_password(
            actor=self.actor,
            mailbox=self.mailbox,
            password=given["password"],
            try_first=not given["untried"],
            revision=given["revision"],
        )
