"""Forms of alerts and channels."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms

from meshportal.accounts.models import Team
from meshportal.notify import quiet, registry, selectors
from meshportal.notify.models import Channel, Severity, Transport
from meshportal.web.forms import NhsFormMixin
from messages.forms import names_no_patient, says_something

_NO_PATIENT = "Do not write a patient’s name or NHS number here: auditors read it."
_LONGEST = 500


class SnoozeForm(NhsFormMixin, forms.Form):
    """For how long nobody is told."""

    HOURS = {"1": "1 hour", "4": "4 hours", "morning": "Until 08:00 tomorrow", "72": "3 days", "168": "A week"}

    length = forms.ChoiceField(
        label="Snooze for",
        choices=[*HOURS.items(), ("wake", "No longer snooze it")],
        error_messages={"required": "Say for how long", "invalid_choice": "Choose one of the lengths of time"},
    )

    def until(self, now: datetime) -> datetime | None:
        """When it ends; None to wake it."""
        chosen = self.cleaned_data["length"]
        if chosen == "wake":
            return None
        if chosen == "morning":
            local = quiet.london(now) + timedelta(days=1)
            return local.replace(hour=8, minute=0, second=0, microsecond=0)
        return now + timedelta(hours=int(chosen))


class AssignForm(NhsFormMixin, forms.Form):
    """Who deals with it."""

    to: Any = forms.ModelChoiceField(label="Who deals with it", queryset=None, required=False, empty_label="Nobody in particular")

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["to"]
        field.queryset = selectors.members_of(team)
        field.label_from_instance = lambda user: user.full_name


class CommentForm(NhsFormMixin, forms.Form):
    """A note for colleagues."""

    words = forms.CharField(
        label="Comment",
        help_text=f"For colleagues; it is not sent anywhere. {_NO_PATIENT}",
        max_length=_LONGEST,
        widget=forms.Textarea,
        validators=[says_something, names_no_patient],
        error_messages={"required": "Write a comment first."},
    )


class CloseAlertForm(NhsFormMixin, forms.Form):
    """Why it is closed although it may still hold."""

    reason = forms.CharField(
        label="Why is it closed?",
        help_text=f"For example: the practice has the letter, says their reception. {_NO_PATIENT}",
        max_length=_LONGEST,
        widget=forms.Textarea,
        validators=[says_something, names_no_patient],
        error_messages={"required": "Say why the alert is closed."},
    )


class ChannelForm(NhsFormMixin, forms.Form):
    """A channel. Which of the address fields count depends on the transport; the service says what is missing."""

    name = forms.CharField(label="Name", help_text="As your team calls it, for example: IT on call.", max_length=100)
    transport = forms.ChoiceField(
        label="How are messages sent?",
        choices=Transport.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose how messages are sent"},
    )
    to = forms.CharField(
        label="Email addresses",
        help_text="For email: one on each line.",
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": "3", "cols": "60", "spellcheck": "false"}),
    )
    url = forms.CharField(
        label="Address of the webhook",
        help_text="For Teams, Slack and webhooks: it begins with https://. It is kept sealed and never shown again.",
        required=False,
        max_length=2000,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    secret = forms.CharField(
        label="Secret of the webhook",
        help_text="For signed webhooks: at least 16 characters. The receiver needs the same one.",
        required=False,
        max_length=200,
        widget=forms.PasswordInput,
    )
    escalation = forms.BooleanField(label="Only tell it of critical alerts that nobody has acknowledged in time", required=False)
    digest = forms.BooleanField(label="Send it a summary every morning", required=False)
    quiet_from = forms.TimeField(
        label="Quiet from",
        help_text="London time, such as 20:00. In quiet hours only critical alerts are sent.",
        required=False,
        widget=forms.TextInput(attrs={"class": "nhsuk-input--width-5", "autocomplete": "off"}),
        error_messages={"invalid": "Enter a time such as 20:00"},
    )
    quiet_until = forms.TimeField(
        label="Quiet until",
        required=False,
        widget=forms.TextInput(attrs={"class": "nhsuk-input--width-5", "autocomplete": "off"}),
        error_messages={"invalid": "Enter a time such as 07:00"},
    )

    SETTINGS: tuple[str, ...] = ("name", "escalation", "digest", "quiet_from", "quiet_until")

    @property
    def config(self) -> dict[str, Any]:
        """What was entered of the address."""
        given = self.cleaned_data
        return {"to": given["to"].split(), "url": given["url"], "secret": given["secret"]}


class ChannelChangeForm(ChannelForm):
    """The same for one that is there: its address stays as it is where nothing is entered."""

    enabled = forms.BooleanField(label="Send messages to this channel", required=False)

    SETTINGS: tuple[str, ...] = (*ChannelForm.SETTINGS, "enabled")

    def __init__(self, *args: Any, channel: Channel, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["transport"]
        needed = {"to"} if channel.transport == Transport.EMAIL else {"url"}
        needed |= {"secret"} if channel.transport == Transport.WEBHOOK else set()
        for name in {"to", "url", "secret"} - needed:
            del self.fields[name]
        for name in needed:
            self.fields[name].help_text = f"Leave it empty to keep what is there. {self.fields[name].help_text}"

    @property
    def config(self) -> dict[str, Any]:
        return {
            "to": self.cleaned_data.get("to", "").split(),
            "url": self.cleaned_data.get("url", ""),
            "secret": self.cleaned_data.get("secret", ""),
        }

    @property
    def changes_address(self) -> bool:
        """True when something of the address was entered."""
        return any(self.config.values())


class SubscribeForm(NhsFormMixin, forms.Form):
    """What a channel is told of."""

    kind = forms.ChoiceField(label="Kind of alert", required=False)
    severity = forms.TypedChoiceField(
        label="From",
        coerce=int,
        choices=Severity.choices,
        initial=Severity.WARNING,
        error_messages={"required": "Choose how severe", "invalid_choice": "Choose one of the three"},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["kind"]
        field.choices = [("", "Every kind"), *((kind.name, kind.title) for kind in registry.kinds())]


class UnsubscribeForm(NhsFormMixin, forms.Form):
    """Which subscription ends."""

    subscription = forms.UUIDField(error_messages={"required": "Say which.", "invalid": "Say which."})
