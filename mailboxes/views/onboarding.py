"""Bringing a mailbox into use: the list of those under way, the task list of one, and the page of each step."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from certificates import selectors as certificates
from mailboxes import onboarding, onboarding_forms, onboarding_steps
from mailboxes.models import Onboarding
from mailboxes.views.settings import certificate_choices
from meshportal.accounts import policies, scoping
from meshportal.accounts.models import Membership
from meshportal.core.acts import Refused
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import ActionPage, DetailPage, FormPage, TeamPage
from meshportal.web.templatetags.portal import tag


class OnboardingList(TeamPage):
    """What does each new mailbox wait for, and for how long?"""

    capability = "mailbox.view"
    template_name = "mailboxes/onboarding_list.html"
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        lines = onboarding_steps.open_lines(self.team)
        ended = onboarding_steps.onboardings_of(self.team).exclude(live_at__isnull=True, stopped_at__isnull=True)
        return super().context(lines=lines, ended=ended.order_by("-moved_at")[:20], number=len(onboarding_steps.TITLES), **extra)


class OnboardingStart(FormPage):
    """Begins with whom the mailbox is for."""

    capability = "mailbox.manage"
    template_name = "mailboxes/onboarding_step.html"
    form_class = onboarding_forms.OrganisationForm

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(title="Onboard a mailbox", button="Save and go on", **extra)

    def form_kwargs(self) -> dict[str, Any]:
        return {"initial": {"organisation_name": self.team.name}}

    def save(self, form: Any) -> Onboarding:
        answers = {name: form.cleaned_data[name] for name in onboarding.ORGANISATION}
        return onboarding.begin(actor=self.actor, team=self.team, **answers)

    def success_url(self, saved: Onboarding) -> str:
        return reverse("mailboxes:onboarding", kwargs={"team": self.team.slug, "pk": saved.pk})


class OnboardingPage(DetailPage):
    """Which steps are done, and what is next?"""

    capability = "mailbox.view"
    template_name = "mailboxes/onboarding.html"
    context_name = "onboarding"

    def queryset(self) -> QuerySet[Onboarding]:
        found: QuerySet[Onboarding] = onboarding_steps.onboardings_of(self.team)
        return found

    def context(self, **extra: Any) -> dict[str, Any]:
        row = self.object
        steps = onboarding_steps.steps(row, asked=onboarding_steps.request_for(row))
        return super().context(
            steps=steps,
            done=sum(step.state == onboarding_steps.DONE for step in steps),
            can_go_live=row.open and not onboarding_steps.missing(row),
            items=[self._item(step) for step in steps],
            environment=row.environment,
            environment_meaning=ENVIRONMENTS[row.environment].meaning,
            manages=_manages(self.request.membership),
            **extra,
        )

    def _item(self, step: onboarding_steps.Step) -> dict[str, Any]:
        linked = step.can_open and self.object.open and _manages(self.request.membership)
        address = reverse(f"mailboxes:onboarding-{step.key}", kwargs={"team": self.team.slug, "pk": self.object.pk})
        return {
            "title": {"text": step.title},
            "status": {"html": tag(step.word, step.tone)},
            **({"hint": {"text": step.sentence}} if step.sentence else {}),
            **({"href": address} if linked else {}),
        }


def _manages(membership: Membership) -> bool:
    return policies.can(membership, "mailbox.manage")


class _Step(FormPage, abstract=True):
    """The page of one step. ``title`` and ``lead`` stand above its form; ``answers`` are the fields that it saves."""

    template_name = "mailboxes/onboarding_step.html"
    key: ClassVar[str] = ""
    lead: ClassVar[str] = ""
    answers: ClassVar[tuple[str, ...]] = ()

    @cached_property
    def row(self) -> Onboarding:
        found: Onboarding = scoping.get_or_404(onboarding_steps.onboardings_of(self.team), self.team, pk=self.kwargs["pk"])
        return found

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not self.row.open:
            return self.redirect(self._list())
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.row
        return super().post(request, *args, **kwargs)

    def form_kwargs(self) -> dict[str, Any]:
        kept = {name: getattr(self.row, name) for name in self.answers}
        return {"initial": {**kept, "revision": self.row.revision}}

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            onboarding=self.row,
            title=onboarding_steps.TITLES[self.key],
            lead=self.lead,
            button="Save",
            environment=self.row.environment,
            environment_meaning=ENVIRONMENTS[self.row.environment].meaning,
            **extra,
        )

    def save(self, form: Any) -> Any:
        try:
            return self.keep(form.cleaned_data, form.cleaned_data["revision"])
        except Refused as refusal:
            raise ValidationError(str(refusal)) from None

    def keep(self, given: dict[str, Any], revision: Any) -> Any:
        """Saves the step. A form that came without its revision is an old one."""
        answers = {name: given[name] for name in self.answers}
        return onboarding.answer(actor=self.actor, onboarding=self.row, revision=_known(revision), **answers)

    def success_url(self, saved: Any) -> str:
        return self._list()

    def _list(self) -> str:
        return reverse("mailboxes:onboarding", kwargs={"team": self.team.slug, "pk": self.row.pk})


def _known(revision: int | None) -> int:
    return -1 if revision is None else revision


class OrganisationStep(_Step):
    """Whom it is for."""

    capability = "mailbox.manage"
    key = "organisation"
    form_class = onboarding_forms.OrganisationForm
    answers = onboarding.ORGANISATION


class DetailsStep(_Step):
    """Contacts and workflows."""

    capability = "mailbox.manage"
    key = "details"
    lead = "What the national form asks besides. A wrong or missing workflow ID is what delays most applications."
    form_class = onboarding_forms.DetailsForm
    answers = onboarding.DETAILS


class ApplicationStep(_Step):
    """The answers in the order of the national form."""

    capability = "mailbox.manage"
    key = "application"
    template_name = "mailboxes/onboarding_application.html"
    form_class = onboarding_forms.ApplicationForm
    answers = ("applied_on",)

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            questions=onboarding_steps.application(self.row),
            application_text=onboarding_steps.application_text(self.row),
            due=onboarding_steps.due_on(self.row),
            **extra,
        )


class MailboxStep(_Step):
    """What came in the two e-mails."""

    capability = "mailbox.manage"
    key = "mailbox"
    lead = "The mailbox is added paused: nothing is collected before it goes live."
    template_name = "mailboxes/onboarding_mailbox.html"
    form_class = onboarding_forms.MailboxForm

    def keep(self, given: dict[str, Any], revision: Any) -> Any:
        fields = {name: given[name] for name in ("mailbox_id", "password", "name")}
        return onboarding.add_mailbox(actor=self.actor, onboarding=self.row, revision=_known(revision), **fields)


class CertificateStep(_Step):
    """Which certificate it uses."""

    capability = "mailbox.manage"
    key = "certificate"
    template_name = "mailboxes/onboarding_certificate.html"
    form_class = onboarding_forms.CertificateForm

    def form_kwargs(self) -> dict[str, Any]:
        chosen = self.row.mailbox.identity_id if self.row.mailbox else None
        initial = {"revision": self.row.revision, "identity": str(chosen or "")}
        return {"initial": initial, "certificates": self._certificates}

    @cached_property
    def _certificates(self) -> list[tuple[str, str]]:
        return certificate_choices(self.team, self.row.environment)

    def context(self, **extra: Any) -> dict[str, Any]:
        asked = onboarding_steps.request_for(self.row)
        return super().context(any_certificate=bool(self._certificates), asked=asked, **extra)

    def keep(self, given: dict[str, Any], revision: Any) -> Any:
        identity = scoping.get_or_404(certificates.identities_of(self.team), self.team, pk=given["identity"])
        onboarding.choose_certificate(actor=self.actor, onboarding=self.row, revision=_known(revision), identity=identity)


class ConnectionStep(DetailPage):
    """What the last check came to, and the way to the next."""

    capability = "mailbox.manage"
    template_name = "mailboxes/onboarding_connection.html"
    context_name = "onboarding"

    def queryset(self) -> QuerySet[Onboarding]:
        found: QuerySet[Onboarding] = onboarding_steps.onboardings_of(self.team)
        return found

    def context(self, **extra: Any) -> dict[str, Any]:
        found = onboarding_steps.steps(self.object, now=timezone.now())
        return super().context(
            title=onboarding_steps.TITLES["connection"],
            step=next(step for step in found if step.key == "connection"),
            environment=self.object.environment,
            environment_meaning=ENVIRONMENTS[self.object.environment].meaning,
            **extra,
        )


class ModeStep(_Step):
    """Who takes the messages."""

    capability = "mailbox.manage"
    key = "mode"
    lead = "It begins when the mailbox goes live."
    form_class = onboarding_forms.ModeForm
    answers = ("mode",)


class PeopleStep(_Step):
    """Who answers for it."""

    capability = "mailbox.manage"
    key = "people"
    form_class = onboarding_forms.PeopleForm
    answers = ("owner", "deputy")

    def form_kwargs(self) -> dict[str, Any]:
        return {**super().form_kwargs(), "team": self.team}


class _Act(ActionPage, abstract=True):
    @cached_property
    def row(self) -> Onboarding:
        found: Onboarding = scoping.get_or_404(onboarding_steps.onboardings_of(self.team), self.team, pk=self.kwargs["pk"])
        return found

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.row
        return super().post(request, *args, **kwargs)

    def return_url(self) -> str:
        return reverse("mailboxes:onboarding", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})


class ConnectionTry(_Act):
    """One handshake."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        return onboarding.try_connection(actor=self.actor, onboarding=self.row)


class GoLive(_Act):
    """Puts it into use."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        done = onboarding.go_live(actor=self.actor, onboarding=self.row)
        return f"{done.mailbox} is live, in {done.get_mode_display().lower()} mode."


class OnboardingStop(_Act):
    """Gives it up."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        return onboarding.stop(actor=self.actor, onboarding=self.row)
