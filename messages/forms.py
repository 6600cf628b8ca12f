"""What people enter about messages: why they open one, take one back or let one go, and what they found out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from mailboxes.models.mailbox import mailbox_id_shape
from meshportal.web.forms import NhsFormMixin
from meshportal.web.masking import mask_numbers
from messages import registry, resend
from messages.bulk import Plan
from messages.models import Message, ResendPolicy

OTHER = "other"
REASONS = (
    ("delivery", "Checking a delivery problem"),
    ("asked", "A clinician or practice asked"),
    ("testing", "Testing or setting up"),
    ("complaint", "Audit or complaint"),
    (OTHER, "Other"),
)
MAX_REASON = 500
NO_PATIENT = "Do not write a patient’s name or NHS number here: auditors read it."
_TOO_LONG = {"max_length": f"Keep it within {MAX_REASON} characters."}


def says_something(text: str) -> None:
    """Raises ValidationError for text without a letter or a digit, such as a dot or invisible characters."""
    if not any(character.isalnum() for character in text):
        raise ValidationError("Write it in words: this becomes part of the record.")


def names_no_patient(text: str) -> None:
    """Raises ValidationError for a text with an NHS number: it would stay in the audit for good."""
    if mask_numbers(text) != text:
        raise ValidationError(
            "Take the NHS number out: auditors read this, and it cannot be removed later. Use a ticket number instead."
        )


class ReasonForm(NhsFormMixin, forms.Form):
    """Why somebody opens a body (promise P9)."""

    why = forms.ChoiceField(
        label="Why are you opening this message?",
        choices=REASONS,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Say why you are opening this message",
            "invalid_choice": "Choose one of the reasons",
        },
    )
    detail = forms.CharField(
        label="In your own words",
        help_text=f"Needed for “Other”. A ticket number helps. {NO_PATIENT}",
        max_length=MAX_REASON,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        validators=[names_no_patient],
        error_messages=_TOO_LONG,
    )

    def clean_detail(self) -> str:
        detail = " ".join(str(self.cleaned_data["detail"]).split())
        if self.cleaned_data.get("why") == OTHER:
            if not detail:
                raise ValidationError("Say in your own words why you are opening this message")
            says_something(detail)
        return detail

    @property
    def reason(self) -> str:
        """The reason as it is kept: the words of the choice, then the person's own."""
        label = dict(REASONS)[self.cleaned_data["why"]]
        return ": ".join(part for part in (label, self.cleaned_data["detail"]) if part)


class DownloadForm(forms.Form):
    """The reason that a person gave for the preview, carried on so that nobody is asked twice."""

    reason = forms.CharField(
        max_length=MAX_REASON + 100,
        widget=forms.HiddenInput,
        validators=[says_something, names_no_patient],
        error_messages={"required": "Say why you are opening this message before you download it."},
    )


def reason_field(label: str, *, example: str, missing: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        help_text=f"For example: {example} {NO_PATIENT}",
        max_length=MAX_REASON,
        widget=forms.Textarea(attrs={"rows": 2}),
        validators=[says_something, names_no_patient],
        error_messages={"required": missing, **_TOO_LONG},
    )


def asked_by_field() -> forms.CharField:
    """Who asked for a document to be sent again, where the workflow's rule wants to know."""
    return forms.CharField(
        label="Who asked for it to be sent again?",
        help_text=f"For example: reception of the practice. {NO_PATIENT}",
        max_length=150,
        validators=[says_something, names_no_patient],
        error_messages={"required": "Say who asked for it to be sent again"},
    )


class ReasonedForm(NhsFormMixin, forms.Form):
    """An act on a message that becomes part of the record with its reason, in a field of that name."""

    def __init__(self, *args: Any, message: Message | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.message = message

    def clean_reason(self) -> Any:
        return " ".join(str(self.cleaned_data["reason"]).split())


class DiscardForm(ReasonedForm):
    """Why a message may go without being kept, and the tick that says that this is understood."""

    reason = reason_field(
        "Why may this message go without being kept?",
        example="the sender has sent it again as another message.",
        missing="Say why this message may go without being kept",
    )
    confirm = forms.BooleanField(
        label="I understand that MESH then deletes the message, and that the portal does not have it",
        error_messages={"required": "Tick the box to confirm that the message will be deleted and not kept"},
    )


class CancelForm(ReasonedForm):
    """Why a message that waits to be sent is taken back."""

    reason = reason_field(
        "Why is this message cancelled?",
        example="it holds the wrong document.",
        missing="Say why this message is cancelled",
    )


class HandOnForm(ReasonedForm):
    """Why a message is handed on again, to the folder or the webhook."""

    def __init__(self, *args: Any, channel: str = "", **kwargs: Any) -> None:
        super().__init__(*args, auto_id=f"id_{channel}_%s", **kwargs)
        self.channel = channel

    reason = reason_field(
        "Why is this message handed on again?",
        example="the consumer lost it, ticket 4711.",
        missing="Say why this message is handed on again",
    )


class CancelManyForm(ReasonedForm):
    """Why several messages that wait to be sent are taken back."""

    reason = reason_field(
        "Why are these messages cancelled?",
        example="they hold the wrong document.",
        missing="Say why these messages are cancelled",
    )


class ResendManyForm(ReasonedForm):
    """Why several documents go out again, each to its own recipient."""

    reason = reason_field(
        "Why are they sent again?",
        example="the mailbox was switched off over the weekend.",
        missing="Say why they are sent again",
    )


class ResendFilteredForm(ResendManyForm):
    """Why all documents of a filter go out again, who asked where that counts, and the tick that names how many they are."""

    asked_by = forms.CharField(
        label="Who asked for them to be sent again?",
        max_length=150,
        required=False,
        validators=[says_something, names_no_patient],
    )
    confirm = forms.BooleanField(
        error_messages={"required": "Tick the box to confirm how many messages are sent again"},
    )
    field_order = ("asked_by", "reason", "confirm")

    def clean_asked_by(self) -> str:
        return " ".join(str(self.cleaned_data["asked_by"]).split())

    def about(self, planned: Plan) -> None:
        """Fits the questions to what would happen."""
        number = len(planned.go)
        # Of what is drawn, which has its words since the form was checked.
        self["confirm"].label = f"Send {number:,} message{'' if number == 1 else 's'} again"
        waits = planned.on_request
        self["asked_by"].help_text = (
            f"{waits:,} message{'' if waits == 1 else 's'} of these can go only when the recipient asks. "
            f"Leave it empty to leave {'it' if waits == 1 else 'them'} out. {NO_PATIENT}"
        )
        if not waits and not self["asked_by"].value():
            del self.fields["asked_by"]

    def ask_again(self) -> None:
        """Takes the tick back: it was for other numbers."""
        self.data = {name: value for name, value in self.data.items() if name != "confirm"}


class DecideForm(ReasonedForm):
    """What a person found out about a message of which nobody knows whether MESH accepted it."""

    ARRIVED = "arrived"
    AGAIN = "again"

    decision = forms.ChoiceField(
        label="What did you find out?",
        choices=((ARRIVED, "It arrived: leave it as it is"), (AGAIN, "It did not arrive: send it again")),
        help_text="If it is sent again although it arrived, the recipient has it twice.",
        widget=forms.RadioSelect,
        error_messages={"required": "Say whether it arrived", "invalid_choice": "Choose one of the two"},
    )
    reason = reason_field(
        "How do you know?",
        example="the practice has it, says their reception.",
        missing="Say how you know",
    )


class ResendForm(ReasonedForm):
    """A document that goes out again as a new message: to whom, why, and who asked for it where the rule wants to know."""

    recipient = forms.CharField(
        label="Recipient’s mailbox ID",
        help_text="Change it when the recipient has moved to another mailbox.",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "nhsuk-input--width-20"}),
        error_messages={"required": "Enter the recipient’s mailbox ID"},
    )
    asked_by = asked_by_field()
    reason = reason_field(
        "Why is it sent again?",
        example="the practice’s old mailbox was closed.",
        missing="Say why it is sent again",
    )
    confirm = forms.BooleanField(
        label="I know that a client of the recipient has collected this document before, and that they get it twice",
        error_messages={"required": "Tick the box to confirm that the recipient gets the document twice"},
    )

    def __init__(self, *args: Any, message: Message, **kwargs: Any) -> None:
        kwargs.setdefault("initial", {"recipient": message.recipient_mailbox})
        super().__init__(*args, message=message, **kwargs)
        self.workflow = registry.known(message.team_id, message.workflow_id)
        if self.workflow.resend_policy != ResendPolicy.ON_REQUEST:
            del self.fields["asked_by"]
        if message.state not in resend.ARRIVED:
            del self.fields["confirm"]

    def clean_recipient(self) -> str:
        recipient = str(self.cleaned_data["recipient"]).strip().upper()
        mailbox_id_shape(recipient)
        return recipient


class WorkflowForm(NhsFormMixin, forms.Form):
    """What a manager says of a workflow."""

    name = forms.CharField(
        label="Plain name",
        help_text="As staff call it, for example: inpatient discharge summary.",
        max_length=150,
        error_messages={"required": "Enter a plain name"},
    )
    resend_policy = forms.ChoiceField(
        label="May a document be sent again?",
        choices=ResendPolicy.choices,
        widget=forms.RadioSelect,
        help_text="It holds for everybody who sends, on the page and on the command line.",
        error_messages={"required": "Say whether a document may be sent again", "invalid_choice": "Choose one of the three"},
    )
    ack_workflow_id = forms.CharField(
        label="Workflow ID of the acknowledgement",
        help_text="By which the recipient’s system answers; by custom the same ID with _ACK behind. Empty when there is none.",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    patient_subjects = forms.BooleanField(label="Subjects of these messages can hold patient data", required=False)
    owner = forms.CharField(
        label="Who answers for it",
        help_text="A department or a role, for example: pathology office.",
        max_length=150,
        required=False,
    )
