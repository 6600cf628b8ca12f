"""What is done to a case by one button each."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.urls import reverse

from mailboxes.models import SwitchCase
from mailboxes.switches import cases, lookups, moves, release, selectors
from mailboxes.switches.forms import AddressForm, CommentForm, MoveForm, ReleaseForm, SafetyForm, TickForm
from mailboxes.switches.states import CaseState
from meshportal.accounts import scoping
from meshportal.core.acts import Refused
from meshportal.web.pages import ActionPage


class _Act(ActionPage, abstract=True):
    def post(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        # Before the form: what is wrong with it is nobody's business who may not see the case.
        self.case: SwitchCase = scoping.get_or_404(selectors.cases_of(self.team), self.team, pk=kwargs["pk"])
        return super().post(request, *args, **kwargs)

    def return_url(self) -> str:
        return reverse("switches:case", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})


class Move(_Act):
    """Moves the case to another state. For ``switched`` MESH is asked first where each workflow goes now."""

    capability = "switch.work"
    form_class = MoveForm

    def act(self, form: MoveForm) -> str:
        given = form.cleaned_data
        not_asked = ""
        if given["to"] == CaseState.SWITCHED and self.case.state == CaseState.FROZEN:
            try:
                lookups.look_up(actor=self.actor, case=self.case)
            except Refused as refusal:
                not_asked = f"{refusal} "
        try:
            moved = moves.move(
                actor=self.actor, case=self.case, to=given["to"], reason=given["reason"], ods_code=given["ods_code"]
            )
        except Refused as refusal:
            raise Refused(f"{not_asked}{refusal}") from None
        return f"The case is {moved.get_state_display().lower()} now."


class LookUp(_Act):
    """Asks MESH where each workflow of the practice goes now."""

    capability = "switch.work"

    def act(self, form: Any) -> str:
        return lookups.look_up(actor=self.actor, case=self.case)


class Address(_Act):
    """Enters the old and the new mailbox of a workflow."""

    capability = "switch.work"
    form_class = AddressForm

    def act(self, form: AddressForm) -> str:
        try:
            saved = cases.set_address(actor=self.actor, case=self.case, **form.cleaned_data)
        except ValidationError as error:
            raise Refused(" ".join(error.messages)) from None
        return f"Saved: {saved}."


class ReleaseAsk(_Act):
    """Asks for the release of what is held."""

    capability = "switch.work"
    form_class = ReleaseForm

    def act(self, form: ReleaseForm) -> str:
        release.ask(actor=self.actor, case=self.case, **form.cleaned_data)
        return "The release is asked for. Somebody else must agree to it; nothing has gone yet."


class ReleaseAgree(_Act):
    """A second person agrees to the release."""

    capability = "switch.work"

    def act(self, form: Any) -> str:
        number = release.agree(actor=self.actor, case=self.case)
        return f"{number:,} message{'' if number == 1 else 's'} released. The portal sends {'it' if number == 1 else 'them'} now."


class ReleaseWithdraw(_Act):
    """Takes a release back that nobody has agreed to."""

    capability = "switch.work"

    def act(self, form: Any) -> str:
        release.withdraw(actor=self.actor, case=self.case)
        return "The release is withdrawn. The messages stay held."


class Comment(_Act):
    """Adds a comment."""

    capability = "switch.work"
    form_class = CommentForm

    def act(self, form: CommentForm) -> str:
        cases.comment(actor=self.actor, case=self.case, words=form.cleaned_data["words"])
        return "Comment added."


class SafetyTold(_Act):
    """The clinical safety officer was told."""

    capability = "switch.work"
    form_class = SafetyForm

    def act(self, form: SafetyForm) -> str:
        cases.safety_officer_told(actor=self.actor, case=self.case, name=form.cleaned_data["name"])
        return "It is recorded that the clinical safety officer was told."


class Tick(_Act):
    """Ticks a point of a checklist off, or takes the tick back."""

    capability = "switch.work"
    form_class = TickForm

    def act(self, form: TickForm) -> str:
        cases.tick(actor=self.actor, case=self.case, **form.cleaned_data)
        return "Ticked off." if form.cleaned_data["done"] else "The tick is taken back."
