"""What a person enters about an address."""

from __future__ import annotations

from typing import Any

from django import forms

from meshportal.web.forms import NhsFormMixin

_CODE = {"autocomplete": "off", "spellcheck": "false"}
_SHORT = {**_CODE, "class": "nhsuk-input--width-20"}
_LONGEST = 1000


class AddForm(NhsFormMixin, forms.Form):
    """An organisation and a workflow, and its mailbox where it is known."""

    environment = forms.ChoiceField(label="Environment", widget=forms.RadioSelect)
    ods_code = forms.CharField(
        label="ODS code of the organisation", help_text="For example G81086.", max_length=12, widget=forms.TextInput(attrs=_SHORT)
    )
    workflow_id = forms.CharField(
        label="Workflow ID",
        help_text="For example TOC_FHIR_IP_DISCH.",
        max_length=300,
        widget=forms.TextInput(attrs=_CODE),
    )
    mailbox_id = forms.CharField(
        label="Its mailbox ID",
        help_text="As the organisation told you. Empty: the portal takes what MESH answers, when that is one mailbox.",
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs=_SHORT),
    )

    def __init__(self, *args: Any, environments: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["environment"]
        field.choices = environments  # type: ignore[attr-defined]
        field.initial = environments[0][0] if len(environments) == 1 else None


class ReasonForm(NhsFormMixin, forms.Form):
    """Why an entry is removed."""

    reason = forms.CharField(
        label="Why is it removed?",
        max_length=_LONGEST,
        widget=forms.Textarea,
        error_messages={"required": "Say why the entry is removed"},
    )


class ConfirmForm(NhsFormMixin, forms.Form):
    """Which of the mailboxes that MESH names is right, and how that is known."""

    mailbox_id = forms.ChoiceField(
        label="Which mailbox is right?",
        widget=forms.RadioSelect,
        error_messages={
            "required": "Select the mailbox that is right",
            "invalid_choice": "MESH does not answer this mailbox any more. Look at what it answers now.",
        },
    )
    reason = forms.CharField(
        label="How do you know?",
        help_text="For example: the practice’s notice of 3 March; moved to SystmOne on Monday.",
        max_length=_LONGEST,
        widget=forms.Textarea,
        error_messages={"required": "Say how you know that the address is right"},
    )

    def __init__(self, *args: Any, results: list[dict[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(one["id"], f"{one['id']} ({one['name']})" if one["name"] else one["id"]) for one in results]
        self.fields["mailbox_id"].choices = choices  # type: ignore[attr-defined]
