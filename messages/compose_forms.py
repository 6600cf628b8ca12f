"""What a person enters to send a message: what it says, its file, and the last word before it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from mailboxes.models import Mailbox
from meshportal.mesh import EndpointMatch
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.forms import NhsFormMixin
from messages import recipients, registry
from messages.forms import MAX_REASON, asked_by_field, reason_field
from messages.models import Composed, Message, ResendPolicy

_NO_BOX = "Select one of the mailboxes that can send"
_CODE = {"autocomplete": "off", "spellcheck": "false"}
_SHORT = {**_CODE, "class": "nhsuk-input--width-20"}


class ComposeForm(NhsFormMixin, forms.Form):
    """From whom, to whom, of which workflow, and what it says. ``mailboxes`` are those that may send; without ``subject``
    that stays as somebody else wrote it."""

    workflow_id = forms.CharField(
        label="Workflow ID",
        help_text="As agreed with the recipient, for example TOC_FHIR_IP_DISCH.",
        max_length=300,
        widget=forms.TextInput(attrs={**_CODE, "list": "workflows"}),
        error_messages={"required": "Enter the workflow ID"},
    )
    ods_code = forms.CharField(
        label="Recipient’s ODS code",
        help_text="MESH is asked which mailbox of this organisation takes the workflow.",
        max_length=12,
        required=False,
        widget=forms.TextInput(attrs=_SHORT),
    )
    recipient = forms.CharField(
        label="Or recipient’s mailbox ID",
        help_text="When you know it, for example X26HC005.",
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs=_SHORT),
    )
    subject = forms.CharField(
        label="Subject",
        help_text="It goes beside the document, not inside it: leave patients’ names and NHS numbers out where you can.",
        max_length=500,
        required=False,
        widget=forms.TextInput(attrs=_CODE),
    )
    file_name = forms.CharField(
        label="File name",
        help_text="As the recipient sees it. Empty: the name of the file that you add next.",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=_CODE),
    )
    local_id = forms.CharField(
        label="Local ID",
        help_text="Empty: the portal makes a unique one, by which a lost answer of MESH can be settled.",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=_SHORT),
    )
    content_type = forms.CharField(
        label="Content type",
        help_text="For example application/pdf. Most recipients need none.",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs=_SHORT),
    )
    compress = forms.BooleanField(label="Compress it for the way", required=False)

    def __init__(self, *args: Any, mailboxes: list[Mailbox], subject: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not subject:
            del self.fields["subject"]
        self._mailboxes = {str(mailbox.pk): mailbox for mailbox in mailboxes}
        choices = [(key, f"{one.name} ({one.mailbox_id}), {_environment(one)}") for key, one in self._mailboxes.items()]
        given = choices if len(choices) == 1 else [("", "Select a mailbox"), *choices]
        self.fields["mailbox"] = forms.ChoiceField(
            label="From", choices=given, error_messages={"required": "Select the mailbox that sends", "invalid_choice": _NO_BOX}
        )
        self.order_fields(["mailbox"])

    def offer(self, found: Sequence[EndpointMatch]) -> None:
        """Has a person choose among several mailboxes, instead of typing one."""
        choices = list(zip((one.mailbox_id.upper() for one in found), recipients.described(found), strict=True))
        # Drawn anew: what was made of the field that it replaces is kept otherwise.
        vars(self)["_bound_fields_cache"].pop("recipient", None)
        self.fields["recipient"] = forms.ChoiceField(
            label="Which mailbox of the recipient?", choices=choices, required=False, widget=forms.RadioSelect
        )

    def clean_recipient(self) -> str:
        return str(self.cleaned_data["recipient"]).strip().upper()

    def clean_ods_code(self) -> str:
        return str(self.cleaned_data["ods_code"]).strip().upper()

    def clean_workflow_id(self) -> str:
        return str(self.cleaned_data["workflow_id"]).strip()

    def clean_mailbox(self) -> Mailbox:
        return self._mailboxes[self.cleaned_data["mailbox"]]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "recipient" in cleaned and "ods_code" in cleaned and not cleaned["recipient"] and not cleaned["ods_code"]:
            raise ValidationError({"ods_code": "Enter the recipient’s ODS code, or its mailbox ID below"})
        return cleaned


def _environment(mailbox: Mailbox) -> str:
    return ENVIRONMENTS[mailbox.environment].name


class SendForm(NhsFormMixin, forms.Form):
    """The last word: only what this message needs is asked."""

    reason = reason_field(
        "Why is the same document sent again?",
        example="the practice’s old mailbox was closed.",
        missing="Say why the same document is sent again",
    )
    asked_by = asked_by_field()
    meant = forms.BooleanField(
        label="I have checked the mailbox ID with the recipient",
        error_messages={"required": "Tick the box to confirm that you have checked the mailbox ID with the recipient"},
    )

    def __init__(self, *args: Any, composed: Composed, twin: Message | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rule = registry.known(composed.team_id, composed.workflow_id).resend_policy
        if twin is None:
            del self.fields["reason"]
        if twin is None or rule != ResendPolicy.ON_REQUEST:
            del self.fields["asked_by"]
        if composed.known != Composed.Known.NOT_FOUND:
            del self.fields["meant"]

    def clean_reason(self) -> str:
        return " ".join(str(self.cleaned_data["reason"]).split())[:MAX_REASON]
