"""The filters of message lists. A value that makes no sense filters nothing and is named on screen (promise P12)."""

from __future__ import annotations

from datetime import date
from typing import Any

import django_filters as filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from mailboxes.models import Mailbox
from meshportal.accounts.scoping import in_team
from meshportal.web.forms import PeriodForm
from meshportal.web.time import london_day
from messages.models import Message, MessageType
from messages.states import IN_INBOX, State

# The trigram index answers for three characters on: fewer would read the whole table.
MIN_SEARCH = 3
MAX_TEXT = 300
IN_THE_INBOX = "inbox"
TOO_SHORT = "Enter at least three letters or digits of a message ID, a file name or a local ID."
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_STATES = (
    ("In the MESH inbox", [(IN_THE_INBOX, "Any state in the inbox"), *((state.value, state.label) for state in IN_INBOX)]),
    ("No longer there", [(state.value, state.label) for state in State if state not in IN_INBOX]),
)


def searchable(text: str) -> None:
    """Raises ValidationError for text that the search index cannot answer for."""
    if text and sum(character.isalnum() for character in text) < MIN_SEARCH:
        raise ValidationError(TOO_SHORT)


class FilterForm(PeriodForm):
    """What people narrow by first comes first; names that a list does not have are passed over."""

    field_order = ("q", "state", "mailbox", "since", "until", "workflow", "sender", "type")


def _date_field(label: str, method: str) -> filters.DateFilter:
    words = f"“{label}” needs a date such as 2026-11-24."
    return filters.DateFilter(
        label=label,
        method=method,
        input_formats=["%Y-%m-%d", "%d/%m/%Y"],
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": words},
    )


def _text_field(label: str, method: str, **options: Any) -> filters.CharFilter:
    return filters.CharFilter(
        label=label,
        method=method,
        max_length=MAX_TEXT,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "maxlength": MAX_TEXT}),
        error_messages={
            "max_length": f"“{label}” takes at most {MAX_TEXT} characters.",
            "null_characters_not_allowed": f"“{label}” holds a character that no message can hold.",
        },
        **options,
    )


class InboxFilter(filters.FilterSet):  # type: ignore[misc]
    """Filters of one mailbox's messages."""

    q = _text_field("ID, file name, local ID", "by_text", validators=[searchable])
    state = filters.ChoiceFilter(
        label="State",
        choices=_STATES,
        method="by_state",
        empty_label="Any",
        error_messages={"invalid_choice": "There is no state %(value)s."},
    )
    workflow = _text_field("Workflow ID", "by_workflow")
    sender = _text_field("From mailbox", "by_sender")
    type = filters.ChoiceFilter(
        label="Type",
        field_name="message_type",
        choices=MessageType.choices,
        empty_label="Any",
        error_messages={"invalid_choice": "There is no type %(value)s."},
    )
    since = _date_field("Seen from", "by_first_day")
    until = _date_field("Seen until", "by_last_day")

    class Meta:
        model = Message
        form = FilterForm
        fields: tuple[str, ...] = ()

    def by_text(self, rows: QuerySet[Message], _name: str, text: str) -> QuerySet[Message]:
        """Contains, whatever the case of ASCII letters; ``%``, ``_`` and ``\\`` stand for themselves.

        The column is upper case already, so the term is too: a plain LIKE, which the trigram index answers. SQLite
        leaves letters beyond ASCII as they are, hence both spellings.
        """
        found = Q()
        for term in sorted({text.upper(), text.translate(_UPPER)}):
            found |= Q(search__contains=term)
        return rows.filter(found)

    def by_state(self, rows: QuerySet[Message], _name: str, state: str) -> QuerySet[Message]:
        """One state, or any in which MESH still lists the message."""
        return rows.filter(state__in=[str(known) for known in IN_INBOX]) if state == IN_THE_INBOX else rows.filter(state=state)

    def by_workflow(self, rows: QuerySet[Message], _name: str, text: str) -> QuerySet[Message]:
        """The whole workflow ID, or its beginning with ``*`` behind."""
        return _by_name(rows, "workflow_id", text)

    def by_sender(self, rows: QuerySet[Message], _name: str, text: str) -> QuerySet[Message]:
        """The whole mailbox ID of the sender, or its beginning with ``*`` behind."""
        return _by_name(rows, "sender", text)

    def by_first_day(self, rows: QuerySet[Message], _name: str, day: date) -> QuerySet[Message]:
        return rows.filter(seen_at__gte=london_day(day)[0])

    def by_last_day(self, rows: QuerySet[Message], _name: str, day: date) -> QuerySet[Message]:
        return rows.filter(seen_at__lt=london_day(day)[1])


def _by_name(rows: QuerySet[Message], column: str, text: str) -> QuerySet[Message]:
    # As typed or in capitals: both are looked up exactly, so that an index on the column serves.
    spellings = {text, text.upper()}
    if not text.endswith("*"):
        return rows.filter(**{f"{column}__in": sorted(spellings)})
    found = Q()
    for spelling in sorted(spellings):
        found |= Q(**{f"{column}__startswith": spelling.removesuffix("*")})
    return rows.filter(found)


def _mailboxes(request: Any) -> QuerySet[Mailbox]:
    return in_team(Mailbox, request.team).only("name", "mailbox_id").order_by("name", "mailbox_id")


class _MailboxField(filters.fields.ModelChoiceField):  # type: ignore[misc]
    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except ValidationError:
            # A value that is no id at all says so in words of its own; here it is one more mailbox that is not there.
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice") from None


class _MailboxFilter(filters.ModelChoiceFilter):  # type: ignore[misc]
    field_class = _MailboxField


class MessageFilter(InboxFilter):
    """Filters of all messages of a team."""

    mailbox = _MailboxFilter(
        label="To mailbox",
        queryset=_mailboxes,
        empty_label="Any",
        error_messages={"invalid_choice": "This team has no such mailbox."},
    )
