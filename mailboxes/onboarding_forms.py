"""The forms of an onboarding, one for each step. Each hands back the revision that the person saw."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from certificates.models import Environment
from mailboxes.forms import PLAIN, GivenOutForm, mode_field, workflow_ids, workflow_lines
from mailboxes.models import Mode
from mailboxes.models.onboarding import Access, OrganisationType
from mailboxes.models.organisation import ods_code_shape
from meshportal.accounts.models import Team
from meshportal.notify.selectors import members_of
from meshportal.web.forms import NhsFormMixin
from meshportal.web.time import in_london


class Stepped(NhsFormMixin, forms.Form):
    """A form of one step."""

    revision = forms.IntegerField(widget=forms.HiddenInput, min_value=0, required=False)


class OrganisationForm(Stepped):
    """Whom the mailbox is for, and what for."""

    ods_code = forms.CharField(
        label="ODS code",
        help_text="Of the organisation that will own it, such as X26 or G81086. It is taken as you give it: the portal does "
        "not look it up.",
        max_length=12,
        widget=forms.TextInput(attrs=PLAIN),
    )
    organisation_name = forms.CharField(label="Name of the organisation", max_length=200)
    organisation_type = forms.ChoiceField(
        label="Kind of organisation", choices=OrganisationType.choices, widget=forms.RadioSelect
    )
    purpose = forms.CharField(
        label="Purpose of the mailbox",
        help_text="One use case for each mailbox, such as “Pathology results to GP practices”.",
        max_length=300,
    )
    environment = forms.ChoiceField(label="Environment", choices=Environment.choices, widget=forms.RadioSelect)

    def clean_ods_code(self) -> str:
        code = str(self.cleaned_data["ods_code"]).upper()
        ods_code_shape(code)
        return code


class DetailsForm(Stepped):
    """What the national form asks besides."""

    contact_name = forms.CharField(label="Name of the contact", help_text="Who answers for the application.", max_length=150)
    contact_email = forms.EmailField(label="Email address of the contact", max_length=254)
    contact_phone = forms.CharField(label="Phone number of the contact", max_length=40, required=False)
    third_party_ods = forms.CharField(
        label="ODS code of a third party",
        help_text="When somebody else manages the mailbox for the organisation.",
        max_length=12,
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
    )
    third_party_contact = forms.CharField(label="Contact at the third party", max_length=300, required=False)
    nems = forms.BooleanField(label="Messages of the National Events Management Service (NEMS) will flow", required=False)
    access = forms.ChoiceField(label="How MESH is reached", choices=Access.choices, widget=forms.RadioSelect, initial=Access.API)
    sends = workflow_lines(
        "Workflow IDs that it sends",
        "One a line, such as TOC_FHIR_IP_DISCH. A workflow that is new to MESH is requested before the mailbox.",
        rows=4,
        most=4000,
    )
    receives = workflow_lines("Workflow IDs that it receives", "One a line.", rows=4, most=4000)
    file_size = forms.CharField(
        label="Size and number of files", help_text="About, such as “200 a day, 100 KB each”.", max_length=100, required=False
    )

    def clean_third_party_ods(self) -> str:
        code = str(self.cleaned_data["third_party_ods"]).upper()
        if code:
            ods_code_shape(code)
        return code

    def clean_sends(self) -> str:
        return "\n".join(workflow_ids(self.cleaned_data["sends"]))

    def clean_receives(self) -> str:
        return "\n".join(workflow_ids(self.cleaned_data["receives"]))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not {"sends", "receives"} & set(self.errors) and not cleaned.get("sends") and not cleaned.get("receives"):
            self.add_error("sends", "Enter the workflow IDs that it sends or receives")
        return cleaned


class ApplicationForm(Stepped):
    """When the application was sent."""

    applied_on = forms.DateField(
        label="The day on which you sent it",
        widget=forms.DateInput(attrs={"class": "nhsuk-input--width-10"}),
        error_messages={"invalid": "Enter a day, such as 2026-12-24.", "required": "Enter the day"},
    )

    def clean_applied_on(self) -> date:
        given: date = self.cleaned_data["applied_on"]
        today = in_london(timezone.now()).date()
        if not today - timedelta(days=365) <= given <= today:
            raise ValidationError("Enter a day within the last year, today at the latest.")
        return given


class MailboxForm(Stepped, GivenOutForm):
    """What came in the two e-mails, and what it is called here."""

    name = forms.CharField(label="Name of the mailbox", help_text="What your staff will call it.", max_length=150)


class CertificateForm(Stepped):
    """Which certificate it uses."""

    identity = forms.ChoiceField(label="Client certificate", widget=forms.RadioSelect)

    def __init__(self, *args: Any, certificates: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["identity"].choices = certificates  # type: ignore[attr-defined]


class ModeForm(Stepped):
    """Who takes the messages."""

    mode = forms.ChoiceField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mode"] = mode_field(modes=(Mode.WATCH, Mode.COLLECT))


class PeopleForm(Stepped):
    """Who answers for it."""

    owner: Any = forms.ModelChoiceField(label="Owner", queryset=None, empty_label="Choose a person")
    deputy: Any = forms.ModelChoiceField(label="Deputy", queryset=None, required=False, empty_label="Nobody")

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("owner", "deputy"):
            field: Any = self.fields[name]
            field.queryset = members_of(team)
            field.error_messages["invalid_choice"] = field.error_messages["invalid_pk_value"] = "Choose somebody of this team"
            field.label_from_instance = lambda user: user.full_name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("owner") is not None and cleaned.get("owner") == cleaned.get("deputy"):
            self.add_error("deputy", "Choose somebody else than the owner")
        return cleaned
