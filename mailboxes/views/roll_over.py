"""Rolling over to a new certificate: which old one, the test, the switch, and the way back."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from certificates import selectors as certificates
from certificates.models import ClientIdentity
from mailboxes import roll_over_standing, rollover
from mailboxes.models import RollOver
from meshportal.accounts import scoping
from meshportal.core.acts import Refused
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.forms import NhsFormMixin
from meshportal.web.fragments import wants_fragment
from meshportal.web.pages import ActionPage, DetailPage, FormPage


class RollOverForm(NhsFormMixin, forms.Form):
    """Which certificate the new one stands in for."""

    old = forms.ChoiceField(label="Which certificate does it replace?", widget=forms.RadioSelect)

    def __init__(self, *args: Any, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old"].choices = choices  # type: ignore[attr-defined]


class RollOverStart(FormPage):
    """Chooses the old certificate for the new one of the address."""

    capability = "mailbox.manage"
    template_name = "mailboxes/roll_over_start.html"
    form_class = RollOverForm
    new: ClientIdentity

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.new = self._new()
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.new = self._new()
        return super().post(request, *args, **kwargs)

    def _new(self) -> ClientIdentity:
        found: ClientIdentity = scoping.get_or_404(certificates.identities_of(self.team), self.team, pk=self.kwargs["pk"])
        return found

    def _others(self) -> list[Any]:
        """The other certificates of its environment that mailboxes use, those with most mailboxes first."""
        rows = certificates.identities_of(self.team).filter(environment=self.new.environment, used_by__gt=0)
        return list(rows.exclude(pk=self.new.pk).order_by("-used_by", "name"))

    def form_kwargs(self) -> dict[str, Any]:
        others = self._others()
        choices = [(str(one.pk), f"{one.name}, used by {roll_over_standing.many(one.used_by)}") for one in others]
        alike = next((one for one in others if one.local_id and one.local_id == self.new.local_id), None)
        first = alike or (others[0] if len(others) == 1 else None)
        return {"choices": choices, "initial": {"old": str(first.pk) if first else ""}}

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            new=self.new,
            others=self._others(),
            before=list(roll_over_standing.roll_overs_with(self.team, self.new)[:10]),
            environment=self.new.environment,
            environment_meaning=ENVIRONMENTS[self.new.environment].meaning,
            **extra,
        )

    def save(self, form: RollOverForm) -> RollOver:
        old = scoping.get_or_404(certificates.identities_of(self.team), self.team, pk=form.cleaned_data["old"])
        return rollover.begin(actor=self.actor, team=self.team, old=old, new=self.new)

    def success_url(self, saved: RollOver) -> str:
        return reverse("mailboxes:roll-over", kwargs={"team": self.team.slug, "pk": saved.pk})


class RollOverPage(DetailPage):
    """Which mailboxes passed the test, which were switched, and can the old certificate be retired?"""

    capability = "mailbox.view"
    template_name = "mailboxes/roll_over.html"
    fragments = ("rows",)
    context_name = "roll_over"

    def queryset(self) -> QuerySet[RollOver]:
        return roll_over_standing.roll_overs_of(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        standing = roll_over_standing.standing(self.object, timezone.now())
        word, tone = standing.word
        return super().context(
            standing=standing,
            word=word,
            tone=tone,
            environment=self.object.environment,
            environment_meaning=ENVIRONMENTS[self.object.environment].meaning,
            **extra,
        )


class ReplacedPage(DetailPage):
    """Can this old certificate be retired? Shown on its own page, which knows nothing of roll-overs."""

    capability = "mailbox.view"
    template_name = "mailboxes/replaced.html"
    fragments = ("replaced",)
    context_name = "identity"

    def queryset(self) -> QuerySet[Any]:
        return certificates.identities_of(self.team)

    @property
    def whole(self) -> bool:
        """Whether it is looked at by itself."""
        return not wants_fragment(self.request)

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            replaced=roll_over_standing.replaced(self.team, self.object, timezone.now()),
            environment=self.object.environment,
            environment_meaning=ENVIRONMENTS[self.object.environment].meaning,
            **extra,
        )


class _Act(ActionPage, abstract=True):
    def roll_over(self) -> RollOver:
        return scoping.get_or_404(roll_over_standing.roll_overs_of(self.team), self.team, pk=self.kwargs["pk"])

    def return_url(self) -> str:
        return reverse("mailboxes:roll-over", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})


class RollOverTest(_Act):
    """Has every mailbox of the old certificate tested with the new one."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        return rollover.ask_test(actor=self.actor, roll_over=self.roll_over())


class RollOverSwitch(_Act):
    """Switches all that passed (``all``), or those that are ticked: ``mailbox``, repeated."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        roll_over = self.roll_over()
        only = None
        if "all" not in self.request.POST:
            only = {key for key in map(_key, self.request.POST.getlist("mailbox")) if key}
            if not only:
                raise Refused("No mailbox is ticked. Tick those to be switched.")
        moved = rollover.switch(actor=self.actor, roll_over=roll_over, only=only)
        return _told(moved, f"switched to “{roll_over.new.name}”. Each is polled with it within a minute or so.")


class RollOverUndo(_Act):
    """Gives the old certificate back to those that were switched here."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        roll_over = self.roll_over()
        return _told(rollover.undo(actor=self.actor, roll_over=roll_over), f"back on “{roll_over.old.name}”.")


def _told(moved: rollover.Moved, done: str) -> str:
    parts = [f"{roll_over_standing.many(moved.done)} {done}"]
    if moved.left:
        shown = "; ".join(f"{name}: {why}" for name, why in moved.left[:5])
        more = f"; and {len(moved.left) - 5} more" if len(moved.left) > 5 else ""
        parts.append(f"{roll_over_standing.many(len(moved.left))} left as before. {shown}{more}")
    return " ".join(parts)


def _key(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
