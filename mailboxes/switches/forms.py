"""What people enter about a switch."""

from __future__ import annotations

from typing import Any

from django import forms

from mailboxes.switches.states import CaseState, Direction
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.forms import NhsFormMixin

_CODE = {"autocomplete": "off", "spellcheck": "false"}
_SHORT = {**_CODE, "class": "nhsuk-input--width-20"}
_MAX = 2000


def _mailbox(label: str, **options: Any) -> forms.CharField:
    return forms.CharField(label=label, max_length=100, required=False, widget=forms.TextInput(attrs=_SHORT), **options)


def _day(label: str, hint: str = "") -> forms.DateField:
    return forms.DateField(
        label=label,
        help_text=hint,
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        input_formats=["%Y-%m-%d", "%d/%m/%Y"],
        error_messages={"invalid": "Enter a date such as 2026-11-24"},
    )


def _reason(label: str, *, required: bool = True) -> forms.CharField:
    return forms.CharField(label=label, max_length=_MAX, required=required, widget=forms.Textarea(attrs={"rows": 2}))


class NoticeForm(NhsFormMixin, forms.Form):
    """Somebody was told of a switch."""

    ods_code = forms.CharField(
        label="ODS code of the practice",
        help_text="For example G81086.",
        max_length=12,
        widget=forms.TextInput(attrs=_SHORT),
    )
    words = forms.CharField(
        label="Who told you, and what?",
        help_text="For example: the ICB’s digital lead by e-mail on 3 March; to TPP on 14 April. No patient details.",
        max_length=_MAX,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    mailbox_id = _mailbox("Mailbox that the practice has now", help_text="Where letters for it go today, if you know it.")
    workflow_id = forms.CharField(
        label="Workflow ID",
        help_text="Of what you send there. The portal adds what it has sent there lately.",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=_SHORT),
    )

    def __init__(self, *args: Any, environments: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(key, ENVIRONMENTS[key].name) for key in environments]
        self.fields["environment"] = forms.ChoiceField(
            label="Environment", choices=choices, initial=choices[0][0] if choices else "", widget=forms.RadioSelect
        )

    def clean_mailbox_id(self) -> str:
        return str(self.cleaned_data["mailbox_id"]).strip().upper()

    def clean_workflow_id(self) -> str:
        return str(self.cleaned_data["workflow_id"]).strip()


class CaseForm(NhsFormMixin, forms.Form):
    """What is known of a switch. ``people`` are those who can look after it."""

    direction = forms.ChoiceField(label="What kind of change is it?", choices=Direction.choices)
    old_supplier = forms.CharField(label="Old supplier", max_length=150, required=False)
    new_supplier = forms.CharField(label="New supplier", max_length=150, required=False)
    links_off = _day("Links off", "The day on which messages should no longer go to the old system.")
    links_on = _day("Links on")
    go_live = _day("Go-live")
    proof_messages = forms.IntegerField(
        label="Messages that prove each workflow", help_text="So many must be acknowledged before the case can close.",
        min_value=1, max_value=50, widget=forms.NumberInput(attrs={"class": "nhsuk-input--width-3"}),
    )  # fmt: skip

    def __init__(self, *args: Any, people: list[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._people = {str(one.pk): one for one in people}
        choices = [("", "Nobody yet"), *((key, one.full_name) for key, one in self._people.items())]
        for name, label in (("owner", "Owner"), ("deputy", "Deputy")):
            self.fields[name] = forms.ChoiceField(label=label, choices=choices, required=False)

    def clean_owner(self) -> Any:
        return self._people.get(self.cleaned_data["owner"])

    def clean_deputy(self) -> Any:
        return self._people.get(self.cleaned_data["deputy"])


class AddressForm(NhsFormMixin, forms.Form):
    """Where a practice takes one workflow, before and after."""

    workflow_id = forms.CharField(label="Workflow ID", max_length=300, widget=forms.TextInput(attrs=_SHORT))
    old_mailbox = _mailbox("Old mailbox")
    old_shared = forms.BooleanField(label="Other practices have the same old mailbox", required=False)
    new_mailbox = _mailbox("New mailbox")
    new_shared = forms.BooleanField(label="Other practices have the same new mailbox", required=False)


class MoveForm(NhsFormMixin, forms.Form):
    """To which state, and why. Any state may be asked for: the rules are the service's, and a refusal is recorded."""

    to = forms.ChoiceField(choices=CaseState.choices, widget=forms.HiddenInput)
    ods_code = forms.CharField(label="ODS code", max_length=12, required=False)
    reason = _reason("Reason", required=False)


class ReleaseForm(NhsFormMixin, forms.Form):
    """Where held messages are to go, and why they may."""

    to = forms.CharField(label="Where", max_length=3)
    reason = _reason("Why may they go?")


class CommentForm(NhsFormMixin, forms.Form):
    """A comment for colleagues."""

    words = _reason("Comment")


class SafetyForm(NhsFormMixin, forms.Form):
    """Who was told."""

    name = forms.CharField(label="Clinical safety officer", max_length=150)


class TickForm(NhsFormMixin, forms.Form):
    """A point of a checklist, done or not."""

    point = forms.CharField(max_length=40)
    done = forms.BooleanField(required=False)
