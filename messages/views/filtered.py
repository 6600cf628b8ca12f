"""Pages for all sent messages that fit a filter, which stands in their address as in the list's."""

from __future__ import annotations

from datetime import date
from functools import cached_property
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.choices import flatten_choices

from mailboxes.models import Mailbox
from meshportal.web.pages import TeamPage
from messages import selectors, words
from messages.filters import SentFilter
from messages.models import Message
from messages.states import Direction
from messages.views import tabs


class FilteredPage(TeamPage, abstract=True):
    """Base of them. A filter that makes no sense is not left out, since more would be acted on than was asked for: the list
    says what is wrong with it."""

    @cached_property
    def filters(self) -> SentFilter:
        """The filters of the address."""
        return SentFilter(self.request.GET, queryset=selectors.listed(self.team, Direction.OUT), request=self.request)

    @property
    def chosen(self) -> dict[str, str]:
        """The filters of the address that are set, as they stand there."""
        return {name: self.request.GET[name] for name in self.filters.form.fields if self.request.GET.get(name)}

    def address(self, route: str) -> str:
        """Another page of the same messages."""
        return tabs.address(reverse(f"messages:{route}", kwargs={"team": self.team.slug}), self.chosen)

    def rows(self) -> QuerySet[Message]:
        """The messages that fit."""
        rows: QuerySet[Message] = self.filters.qs
        return rows

    def chosen_words(self) -> list[tuple[str, str]]:
        """The filters that are set, as the person sees them."""
        form = self.filters.form
        said = [(field, form.cleaned_data.get(name)) for name, field in form.fields.items()]
        return [(str(field.label), _word(field, value)) for field, value in said if value]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.answer() if self.filters.form.is_valid() else self.redirect(self.address("outbox"))

    def answer(self) -> HttpResponseBase:
        """What a GET gets."""
        return self.render()

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(chosen=self.chosen_words(), list_url=self.address("outbox"), **extra)


def _word(field: forms.Field, value: Any) -> str:
    if isinstance(value, Mailbox):
        return f"{value.name} ({value.mailbox_id})"
    if isinstance(value, date):
        return f"{value:%-d %B %Y}"
    if isinstance(field, forms.ChoiceField):
        choices: Any = field.choices
        return str(dict(flatten_choices(choices)).get(value, value))
    return words.plain(str(value))
