"""The filters of message lists. A value that makes no sense filters nothing and is named on screen (promise P12)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import django_filters as filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet, Value
from django.db.models.lookups import Exact

from mailboxes.models import Mailbox, SwitchCase
from meshportal.accounts.scoping import in_team
from meshportal.web.forms import PeriodForm
from meshportal.web.time import london_day
from messages import ages, risk
from messages.handing import rows as handing
from messages.models import AckAnswer, BulkResendRow, BulkRowState, Message, MessageType
from messages.states import IN, IN_INBOX, OUT, TO_SEND, UNCOLLECTED, State

# The trigram index answers for three characters on: fewer would read the whole table.
MIN_SEARCH = 3
MAX_TEXT = 300
IN_THE_INBOX = "inbox"
TOO_SHORT = "Enter at least three letters or digits of a message ID, a file name or a local ID."
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
WAITING = "waiting"
NOT_COLLECTED = "not-collected"
RECOVERABLE = "recoverable"
UNMATCHED = "unmatched"
ACKS_UNMATCHED = "acks-unmatched"
ACKS_REJECTED = "acks-rejected"
NOT_HANDED_ON = "not"
# The choice beside the days: the inbox has let go of the message.
AFTER_LAST_DAY = "over"
# Several states under one name, for the filter and for saved views.
_GROUPS: dict[str, tuple[State, ...]] = {IN_THE_INBOX: IN_INBOX, WAITING: TO_SEND, NOT_COLLECTED: UNCOLLECTED}


def _labelled(states: Iterable[State]) -> list[tuple[str, str]]:
    return [(state.value, state.label) for state in states]


_RECEIVED_STATES = (
    ("In the MESH inbox", [(IN_THE_INBOX, "Any state in the inbox"), *_labelled(IN_INBOX)]),
    ("No longer there", _labelled(state for state in IN if state not in IN_INBOX)),
)
_SENT_STATES = (
    ("On its way", [(WAITING, "Any state before MESH has all of it"), *_labelled(TO_SEND), *_labelled([State.ON_HOLD])]),
    (
        "With MESH",
        [
            (NOT_COLLECTED, "Not collected, whatever its age"),
            *_labelled(UNCOLLECTED),
            (RECOVERABLE, "Recoverable: the service desk can restore it"),
        ],
    ),
    (
        "Settled, or for a person to settle",
        _labelled(state for state in OUT if state not in (*TO_SEND, *UNCOLLECTED, State.ON_HOLD)),
    ),
)


DAY_LABELS = {**{str(day): f"Day {day}" for day in ages.DAYS}, AFTER_LAST_DAY: f"Over {ages.DAYS[-1]} days"}


def state_is(state: str) -> Q:
    """One state, one of the groups of states, or what can be restored."""
    if state == RECOVERABLE:
        return ages.recoverable()
    return Q(state__in=[str(known) for known in _GROUPS[state]]) if state in _GROUPS else Q(state=state)


class _Written(Value):
    """A constant that stands in the SQL itself: SQLite uses a partial index only where it sees the value."""

    def as_sql(self, _compiler: Any, _connection: Any) -> tuple[str, tuple[str | int, ...]]:
        return f"'{MessageType(self.value).value}'", ()


def type_is(kind: str) -> Q:
    """Messages of this :class:`MessageType`, reports about messages that the portal does not know, or acknowledgements: those
    without their message, or that reject it.

    Raises ValueError for a type that there is not.
    """
    if kind == UNMATCHED:
        return type_is(MessageType.REPORT) & Q(linked_message__isnull=True)
    if kind == ACKS_UNMATCHED:
        return Q(ack__isnull=False, ack__about__isnull=True)
    if kind == ACKS_REJECTED:
        return Q(ack__answer=AckAnswer.NEGATIVE)
    return Q(Exact(F("message_type"), _Written(kind)))


def day_is(day: str) -> Q:
    """How long a sent message has waited to be collected: a key of :data:`DAY_LABELS`."""
    return ages.after_last_day() if day == AFTER_LAST_DAY else ages.on_day(int(day))


def searchable(text: str) -> None:
    """Raises ValidationError for text that the search index cannot answer for."""
    if text and sum(character.isalnum() for character in text) < MIN_SEARCH:
        raise ValidationError(TOO_SHORT)


class FilterForm(PeriodForm):
    """What people narrow by first comes first; names that a list does not have are passed over."""

    field_order = ("q", "state", "day", "mailbox", "since", "until", "workflow", "sender", "recipient", "type", "handed", "risk")


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


def _state_field(choices: Any) -> filters.ChoiceFilter:
    return filters.ChoiceFilter(
        label="State",
        choices=choices,
        method="by_state",
        empty_label="Any",
        error_messages={"invalid_choice": "There is no state %(value)s."},
    )


class _BoxFilter(filters.FilterSet):  # type: ignore[misc]
    """What messages are narrowed by, whichever way they went."""

    q = _text_field("ID, file name, local ID", "by_text", validators=[searchable])
    workflow = _text_field("Workflow ID", "by_workflow")

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
        """One state, or one of the groups of states."""
        return rows.filter(state_is(state))

    def by_workflow(self, rows: QuerySet[Message], _name: str, text: str) -> QuerySet[Message]:
        """The whole workflow ID, or its beginning with ``*`` behind."""
        return _by_name(rows, "workflow_id", text)

    def by_sender(self, rows: QuerySet[Message], _name: str, text: str) -> QuerySet[Message]:
        """The whole mailbox ID of the sender, or its beginning with ``*`` behind."""
        return _by_name(rows, "sender", text)

    def by_recipient(self, rows: QuerySet[Message], _name: str, text: str) -> QuerySet[Message]:
        """The whole mailbox ID of the recipient, or its beginning with ``*`` behind."""
        return _by_name(rows, "recipient_mailbox", text)

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


class _CaseFilter(filters.ModelChoiceFilter):  # type: ignore[misc]
    field_class = _MailboxField


def _cases(request: Any) -> QuerySet[SwitchCase]:
    return in_team(SwitchCase, request.team).select_related("organisation").order_by("-created_at")


class _MailboxFilter(filters.ModelChoiceFilter):  # type: ignore[misc]
    field_class = _MailboxField


def _mailbox_field(label: str) -> _MailboxFilter:
    return _MailboxFilter(
        label=label,
        queryset=_mailboxes,
        empty_label="Any",
        error_messages={"invalid_choice": "This team has no such mailbox."},
    )


_MORE_TYPES = [
    (UNMATCHED, "Report that matches no message"),
    (ACKS_UNMATCHED, "Acknowledgement without its message"),
    (ACKS_REJECTED, "Acknowledgement that rejects its message"),
]


class InboxFilter(_BoxFilter):
    """Filters of the messages that came into one mailbox."""

    state = _state_field(_RECEIVED_STATES)
    sender = _text_field("From mailbox", "by_sender")
    type = filters.ChoiceFilter(
        label="Type",
        method="by_type",
        choices=[*MessageType.choices, *_MORE_TYPES],
        empty_label="Any",
        error_messages={"invalid_choice": "There is no type %(value)s."},
    )
    handed = filters.ChoiceFilter(
        label="Handed on",
        method="by_handed",
        choices=[(NOT_HANDED_ON, "Not handed on yet")],
        empty_label="Any",
        error_messages={"invalid_choice": "There is no choice %(value)s."},
    )
    since = _date_field("Seen from", "by_first_day")
    until = _date_field("Seen until", "by_last_day")

    def by_handed(self, rows: QuerySet[Message], _name: str, _value: str) -> QuerySet[Message]:
        """Messages that their mailbox's consumer does not have, whether the portal still tries or gave up."""
        return rows.filter(handing.not_handed_on())

    def by_type(self, rows: QuerySet[Message], _name: str, kind: str) -> QuerySet[Message]:
        return rows.filter(type_is(kind))


class MessageFilter(InboxFilter):
    """Filters of all messages that came into a team's mailboxes."""

    mailbox = _mailbox_field("To mailbox")


class OutboxFilter(_BoxFilter):
    """Filters of the messages that one mailbox sent."""

    state = _state_field(_SENT_STATES)
    day = filters.ChoiceFilter(
        label="Not collected since",
        choices=list(DAY_LABELS.items()),
        method="by_day",
        empty_label="Any",
        error_messages={"invalid_choice": "There is no day %(value)s: a message leaves the inbox after day 5."},
    )
    recipient = _text_field("To mailbox ID", "by_recipient")
    since = _date_field("Queued from", "by_first_day")
    until = _date_field("Queued until", "by_last_day")

    def by_day(self, rows: QuerySet[Message], _name: str, day: str) -> QuerySet[Message]:
        """Not collected, on this day since MESH accepted it."""
        return rows.filter(day_is(day))


class SentFilter(OutboxFilter):
    """Filters of all messages that a team's mailboxes sent."""

    mailbox = _mailbox_field("From mailbox")
    risk = _CaseFilter(
        label="At risk in a switch",
        method="by_risk",
        # Pages of a case lead here with it; nobody chooses it from a list.
        widget=forms.HiddenInput,
        queryset=_cases,
        empty_label="Any",
        error_messages={"invalid_choice": "This team has no such switch."},
    )

    def by_risk(self, rows: QuerySet[Message], _name: str, case: SwitchCase) -> QuerySet[Message]:
        """What went to a practice's old address, and nobody collected."""
        return rows.filter(risk.at_risk(case))


class BulkRowFilter(filters.FilterSet):  # type: ignore[misc]
    """Filters of the messages of one bulk resend."""

    state = filters.ChoiceFilter(
        label="What became of it",
        choices=BulkRowState.choices,
        empty_label="Any",
        error_messages={"invalid_choice": "There is no state %(value)s."},
    )

    class Meta:
        model = BulkResendRow
        fields: tuple[str, ...] = ()
