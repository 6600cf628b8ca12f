"""Pausing a mailbox and taking it up again, its tags and notes, and closing it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from mailboxes import health, lifecycle, selectors
from mailboxes.forms import CloseForm, NotesForm, PauseForm
from mailboxes.models import Mailbox, Mode
from mailboxes.views.settings import OfMailbox
from meshportal.accounts import scoping
from meshportal.web.pages import ActionPage


class MailboxPause(OfMailbox):
    """For how long, and why."""

    capability = "mailbox.manage"
    template_name = "mailboxes/pause.html"
    form_class = PauseForm

    def context(self, **extra: Any) -> dict[str, Any]:
        meaning = health.MODE_MOVES.get((self.mailbox.mode, Mode.PAUSED), health.MODE_MEANINGS[Mode.PAUSED])
        return super().context(meaning=meaning, **extra)

    def save(self, form: PauseForm) -> str:
        until = form.until(timezone.now())
        return lifecycle.pause(actor=self.actor, mailbox=self.mailbox, reason=form.cleaned_data["reason"], until=until)


class MailboxNotes(OfMailbox):
    """Tags and notes."""

    capability = "mailbox.manage"
    template_name = "mailboxes/notes.html"
    form_class = NotesForm

    def form_kwargs(self) -> dict[str, Any]:
        box = self.mailbox
        return {"initial": {"tags": ", ".join(box.tag_list), "notes": box.notes, "seen": lifecycle.noted(box)}}

    def save(self, form: NotesForm) -> str:
        given = form.cleaned_data
        tags = given["tags"].split(",")
        return lifecycle.note(actor=self.actor, mailbox=self.mailbox, tags=tags, notes=given["notes"], seen=given["seen"])


class MailboxClose(OfMailbox):
    """Begins the run-off."""

    capability = "mailbox.manage"
    template_name = "mailboxes/close.html"
    form_class = CloseForm

    def save(self, form: CloseForm) -> str:
        return lifecycle.close(actor=self.actor, mailbox=self.mailbox, reason=form.cleaned_data["reason"])


class _Act(ActionPage, abstract=True):
    def mailbox(self) -> Mailbox:
        return scoping.get_or_404(selectors.mailboxes_of(self.team), self.team, pk=self.kwargs["pk"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.mailbox()
        return super().post(request, *args, **kwargs)

    def return_url(self) -> str:
        return reverse("mailboxes:detail", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})


class MailboxResume(_Act):
    """Takes it up again."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        return lifecycle.resume(actor=self.actor, mailbox=self.mailbox())


class MailboxKeepOpen(_Act):
    """No longer closes it, or opens it again."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        return lifecycle.keep_open(actor=self.actor, mailbox=self.mailbox())


class MailboxArchive(_Act):
    """Closes it for good."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        return lifecycle.archive(actor=self.actor, mailbox=self.mailbox())
