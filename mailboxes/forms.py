"""What a person says of a mailbox. Passwords and secrets go in and never come back, not even beside an error."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from certificates.models import Environment
from mailboxes import health
from mailboxes.models import Mailbox, Mode
from mailboxes.models.mailbox import MAX_POLL_SECONDS
from mailboxes.setting import NEEDS_A_REASON
from meshportal.web.forms import NhsFormMixin
from meshportal.web.time import in_london

MAX_PASSWORD = 200
_NUMBER = ("invalid", "min_value", "max_value")
PLAIN = {"autocomplete": "off", "spellcheck": "false"}


WORKFLOW_ID = re.compile(r"[A-Za-z0-9_.\-]{1,300}")
MOST_WORKFLOWS = 50


def workflow_ids(text: str) -> list[str]:
    """Workflow IDs, one a line or with commas between them, each once and in order. Raises ValidationError for what is none."""
    found = list(dict.fromkeys(re.split(r"[\s,;]+", text.strip()))) if text.strip() else []
    found = [one for one in found if one]
    for one in found:
        if not WORKFLOW_ID.fullmatch(one):
            raise ValidationError(f"“{one[:40]}” is no workflow ID: they are letters, digits and _, such as TOC_FHIR_IP_DISCH.")
    if len(found) > MOST_WORKFLOWS:
        raise ValidationError(f"These are more than {MOST_WORKFLOWS}. One use case is one mailbox.")
    return found


class SecretField(forms.CharField):
    """A password as it is, with nothing cut off, and never shown again."""

    def __init__(self, *, most: int = MAX_PASSWORD, **kwargs: Any) -> None:
        super().__init__(strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "off"}), **kwargs)
        self._most = most

    def prepare_value(self, value: Any) -> str:
        return ""

    def clean(self, value: Any) -> str:
        given = str(super().clean(value))
        if len(given) > self._most:
            raise ValidationError(f"This is longer than {self._most} characters. Copy the password alone.")
        if given != given.strip():
            raise ValidationError("This begins or ends with a space or a line break. Copy the password without it.")
        if not given.isprintable():
            raise ValidationError("This holds a line break or another character that cannot be seen. Copy the password alone.")
        return given


def mode_field(present: str = "", modes: tuple[Mode, ...] = tuple(Mode)) -> forms.ChoiceField:
    field = forms.ChoiceField(
        label="Mode",
        choices=[(mode.value, mode.label) for mode in modes],
        widget=forms.RadioSelect,
        initial=Mode.WATCH,
        error_messages={"required": "Select the mode"},
    )
    field.hints = health.mode_hints(present)  # type: ignore[attr-defined]
    return field


class GivenOutForm(NhsFormMixin, forms.Form):
    """What came in the two e-mails: the mailbox ID and the password."""

    mailbox_id = forms.CharField(
        label="Mailbox ID",
        help_text="From the first of the two e-mails, such as X26HC001.",
        max_length=100,
        widget=forms.TextInput(attrs=PLAIN),
    )
    password = SecretField(
        label="Password of the mailbox",
        help_text="From the second of the two e-mails. It is sealed at once and never shown again.",
        error_messages={"required": "Enter the password of the mailbox"},
    )

    def clean_mailbox_id(self) -> str:
        return str(self.cleaned_data["mailbox_id"]).upper()


def workflow_lines(label: str, help_text: str, *, rows: int, most: int) -> forms.CharField:
    """A field for workflow IDs, one a line."""
    area = forms.Textarea(attrs={"rows": rows, "spellcheck": "false", "class": "portal-mono"})
    return forms.CharField(label=label, help_text=help_text, required=False, max_length=most, widget=area)


class AddForm(GivenOutForm):
    """A mailbox that MESH has given out."""

    field_order = ("environment", "mailbox_id", "password")

    environment = forms.ChoiceField(label="Environment", choices=Environment.choices, widget=forms.RadioSelect)
    name = forms.CharField(
        label="Name of the mailbox",
        help_text="What your staff call it, such as “Pathology results”.",
        max_length=150,
        error_messages={"max_length": "Keep the name within 150 characters."},
    )
    ods_code = forms.CharField(
        label="ODS code",
        help_text="Of the organisation that owns it, such as X26 or G81086.",
        max_length=12,
        widget=forms.TextInput(attrs=PLAIN),
    )
    organisation_name = forms.CharField(
        label="Name of the organisation",
        help_text="Only needed when the portal does not know the ODS code yet.",
        max_length=200,
        required=False,
    )
    identity = forms.ChoiceField(label="Client certificate", help_text="What MESH recognises the mailbox's client by.")
    mode = forms.ChoiceField()

    def __init__(self, *args: Any, certificates: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mode"] = mode_field(modes=(Mode.WATCH, Mode.COLLECT))
        chosen = self.fields["identity"]
        empty = [("", "Choose a certificate")] if len(certificates) != 1 else []
        chosen.choices = [*empty, *certificates]  # type: ignore[attr-defined]

    def clean_ods_code(self) -> str:
        return str(self.cleaned_data["ods_code"]).upper()


class SettingsForm(NhsFormMixin, forms.Form):
    """Everything that can be set of a mailbox that is there, but its password, which has a page of its own."""

    revision = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    name = forms.CharField(
        label="Name of the mailbox",
        max_length=150,
        error_messages={"max_length": "Keep the name within 150 characters."},
    )
    mode = forms.ChoiceField()
    identity = forms.ChoiceField(label="Client certificate", required=False)
    poll_interval_seconds = forms.IntegerField(
        label="Seconds between two polls",
        help_text="300 is every five minutes, the shortest that MESH asks for. 86,400 is once a day.",
        min_value=1,
        max_value=MAX_POLL_SECONDS,
        error_messages=dict.fromkeys(_NUMBER, f"Give a whole number of seconds, {MAX_POLL_SECONDS:,} at most."),
        widget=forms.TextInput(attrs={**PLAIN, "inputmode": "numeric", "class": "nhsuk-input--width-5"}),
    )
    workflow_filter = forms.CharField(
        label="Workflow filter",
        help_text="Only messages of these workflows are looked at; others stay in the inbox. TOC_* for “begins with”, *WORD* for "
        "“contains”, ! in front for “not”. Leave it empty for all.",
        max_length=255,
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
    )
    folder = forms.CharField(
        label="Folder",
        help_text="In the MESH client's layout, below the root that the portal is given, such as pathology/X26HC001.",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
    )
    send_from_folder = forms.BooleanField(label="Send the documents that are put into OUT of the folder", required=False)
    hand_on_to_folder = forms.BooleanField(label="Put received messages into IN of the folder", required=False)
    webhook_url = forms.CharField(
        label="Address of the webhook",
        help_text="An https address that received messages are posted to, signed. Leave it empty for none.",
        max_length=500,
        required=False,
        widget=forms.TextInput(attrs={**PLAIN, "inputmode": "url"}),
    )
    webhook_secret = SecretField(
        label="Secret of the webhook",
        help_text="Requests are signed with it. Leave it empty to keep the present one. At least 32 characters, and never shown.",
        most=500,
        required=False,
    )
    reason = forms.CharField(
        label="Why you change this",
        help_text="Needed when the mode changes. It is kept in the audit with your name.",
        max_length=500,
        required=False,
    )

    def __init__(self, *args: Any, mailbox: Mailbox, certificates: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mailbox = mailbox
        mode = mode_field(mailbox.mode)
        self.fields["mode"] = mode
        self.order_fields(["name", "mode", "reason"])
        self.fields["identity"].choices = [("", "None"), *certificates]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        moved = "mode" in cleaned and cleaned["mode"] != self._mailbox.mode
        # Who saw another mode than it has now did not change it: the service says so.
        if moved and cleaned.get("revision") == self._mailbox.revision and not cleaned.get("reason", "-"):
            self.add_error("reason", NEEDS_A_REASON)
        return cleaned


class PasswordForm(NhsFormMixin, forms.Form):
    """A new password."""

    revision = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    password = SecretField(
        label="New password of the mailbox",
        help_text="It is sealed at once and never shown again.",
        error_messages={"required": "Enter the new password of the mailbox"},
    )
    untried = forms.BooleanField(label="Keep it without trying it, because MESH cannot be reached now", required=False)


class PauseForm(NhsFormMixin, forms.Form):
    """Why a mailbox is paused, and until when."""

    LENGTHS = {
        "open": "Until somebody takes it up again",
        "1": "For 1 hour",
        "4": "For 4 hours",
        "morning": "Until 08:00 tomorrow",
        "72": "For 3 days",
        "day": "Until 08:00 of a day",
    }

    reason = forms.CharField(
        label="Why it is paused",
        help_text="It stands on the mailbox's page, and in the audit with your name.",
        max_length=500,
        error_messages={"required": "Say why it is paused"},
    )
    length = forms.ChoiceField(
        label="How long",
        choices=list(LENGTHS.items()),
        widget=forms.RadioSelect,
        error_messages={"required": "Say for how long"},
    )
    day = forms.DateField(
        label="The day, when you chose one",
        required=False,
        widget=forms.DateInput(attrs={"class": "nhsuk-input--width-10"}),
        error_messages={"invalid": "Enter a day, such as 2026-12-24."},
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("length") == "day" and not cleaned.get("day") and "day" not in self.errors:
            self.add_error("day", "Enter the day")
        return cleaned

    def until(self, now: datetime) -> datetime | None:
        """When the pause ends by itself; None for never."""
        chosen = self.cleaned_data["length"]
        if chosen == "open":
            return None
        morning = {"hour": 8, "minute": 0, "second": 0, "microsecond": 0}
        local = in_london(now)
        if chosen == "morning":
            return (local + timedelta(days=1)).replace(**morning)  # type: ignore[arg-type]
        if chosen == "day":
            day = self.cleaned_data["day"]
            return local.replace(year=day.year, month=day.month, day=day.day, **morning)  # type: ignore[arg-type]
        return now + timedelta(hours=int(chosen))


class NotesForm(NhsFormMixin, forms.Form):
    """What a team wants to remember of a mailbox."""

    seen = forms.CharField(widget=forms.HiddenInput, max_length=64)
    tags = forms.CharField(
        label="Tags",
        help_text="With commas between them, such as “pathology, go-live 2027”. The list of mailboxes can be filtered by them.",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=PLAIN),
    )
    notes = forms.CharField(
        label="Notes",
        help_text="For your team alone. No patient's data and no password: whoever sees this mailbox sees them.",
        required=False,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 8}),
    )


class CloseForm(NhsFormMixin, forms.Form):
    """Why a mailbox is given up."""

    reason = forms.CharField(
        label="Why it is closed",
        help_text="It is kept in the audit with your name.",
        max_length=500,
        error_messages={"required": "Say why it is closed"},
    )


class WorkflowsForm(NhsFormMixin, forms.Form):
    """What a mailbox is registered for."""

    seen = forms.CharField(widget=forms.HiddenInput, max_length=64)
    sends = workflow_lines("Workflow IDs that it may send", "One a line, as it is registered in MESH.", rows=6, most=8000)
    receives = workflow_lines("Workflow IDs that it may receive", "One a line.", rows=6, most=8000)

    def clean_sends(self) -> list[str]:
        return workflow_ids(self.cleaned_data["sends"])

    def clean_receives(self) -> list[str]:
        return workflow_ids(self.cleaned_data["receives"])
