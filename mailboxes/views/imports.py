"""Many mailboxes at once: the template, the export, the file that comes back, its dry run, and the word that carries it out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from certificates.models import Environment
from mailboxes import bulk_standing, importing, keeping, selectors, sheet
from mailboxes.models import MailboxImport
from meshportal.accounts import scoping
from meshportal.audit import services as audit
from meshportal.core import csvout
from meshportal.core.acts import Refused
from meshportal.core.csvin import Problem
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.forms import NhsFormMixin
from meshportal.web.pages import ActionPage, TeamPage
from meshportal.web.time import in_london
from meshportal.web.upload_pages import UploadPage

_PROBLEMS_SHOWN = 100
_LINES_SHOWN = 50


class UploadForm(NhsFormMixin, forms.Form):
    """A file of mailboxes."""

    file = forms.FileField(
        label="CSV file",
        help_text=f"At most {sheet.TABLE.most_rows:,} mailboxes of one environment. You see what it would do before it is done.",
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
        error_messages={"required": "Choose the CSV file"},
    )

    def clean_file(self) -> Any:
        upload = self.cleaned_data["file"]
        if (upload.size or 0) > sheet.TABLE.most_bytes:
            raise ValidationError(
                f"The file holds more than {sheet.TABLE.most_bytes // 1000:,} KB, which is the most that is taken."
            )
        return upload


class ApplyForm(NhsFormMixin, forms.Form):
    """The word that imports what was looked at."""

    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)
    reason = forms.CharField(
        label="Why is this imported?",
        help_text="Kept with your name in the audit.",
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, why: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = why
        self.fields["reason"].error_messages["required"] = importing.WHY


class ImportPage(UploadPage):
    """How many mailboxes are added or changed at once, and the file that does it."""

    capability = "mailbox.manage"
    template_name = "mailboxes/import.html"
    form_class = UploadForm
    most_bytes = sheet.TABLE.most_bytes
    problems: list[Problem]

    def save(self, form: UploadForm) -> MailboxImport:
        upload = form.cleaned_data["file"]
        try:
            return importing.prepare(actor=self.actor, team=self.team, data=upload.read(), file_name=upload.name or "")
        except importing.Faulty as error:
            self.problems = error.problems
            number = len(error.problems)
            said = f"The file has {number:,} problem{'' if number == 1 else 's'}. Nothing was imported"
            raise ValidationError({"file": said}) from None

    def success_url(self, saved: MailboxImport) -> str:
        return reverse("mailboxes:imported", kwargs={"team": self.team.slug, "pk": saved.pk})

    def context(self, **extra: Any) -> dict[str, Any]:
        now = timezone.now()
        problems = getattr(self, "problems", [])
        recent = bulk_standing.imports_of(self.team).filter(created_at__gt=now - bulk_standing.SHOWN_FOR)[:10]
        return super().context(
            problems=problems[:_PROBLEMS_SHOWN],
            more=max(len(problems) - _PROBLEMS_SHOWN, 0),
            columns=sheet.TABLE.columns,
            exports=selectors.counts_by_environment(self.team),
            recent=[bulk_standing.Import(one, now) for one in recent],
            environment=selectors.only_environment(self.team),
            **extra,
        )


class ImportTemplate(TeamPage):
    """A file with the head alone."""

    capability = "mailbox.manage"
    http_method_names = ["get", "options"]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return csvout.response("mailboxes-template.csv", sheet.TABLE.header, [])


class MailboxExport(TeamPage):
    """The mailboxes of one environment (``?environment=``), in the form in which they are imported. It is recorded."""

    capability = "mailbox.manage"
    http_method_names = ["get", "options"]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        environment = request.GET.get("environment") or selectors.only_environment(self.team)
        if environment not in Environment.values:
            return self.redirect("mailboxes:import", team=self.team.slug)
        rows = list(sheet.exported(self.team, environment))
        audit.record(
            actor=self.actor,
            action="mailboxes.exported",
            target=("mailbox_list", str(self.team.pk), "list of mailboxes"),
            team=self.team,
            after={"environment": environment, "mailboxes": len(rows)},
        )
        day = f"{in_london(timezone.now()):%Y-%m-%d}"
        return csvout.response(f"mailboxes-{self.team.slug}-{environment}-{day}.csv", sheet.TABLE.header, rows)


class ImportedPage(TeamPage):
    """What would this file do, and what did it? POST imports it."""

    capability = "mailbox.manage"
    template_name = "mailboxes/imported.html"
    fragments = ("rows",)
    imported: MailboxImport

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.imported = self._found()
        return self.render()

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.imported = self._found()
        form = ApplyForm(data=request.POST, why=importing.needs_reason(self.imported.plan))
        if not form.is_valid():
            return self.render(status=422, form=form)
        try:
            examination = importing.apply(
                actor=self.actor,
                imported=self.imported,
                digest=form.cleaned_data["digest"],
                reason=form.cleaned_data["reason"],
            )
        except Refused as refusal:
            self.flash_refusal(str(refusal))
            return self.redirect("mailboxes:imported", team=self.team.slug, pk=self.imported.pk)
        self.imported = self._found()
        standing = bulk_standing.Import(self.imported, timezone.now())
        self.flash(f"{standing.sentence} The connection of each that was added or changed is being checked.")
        return self.redirect("mailboxes:examination", team=self.team.slug, pk=examination.pk)

    def _found(self) -> MailboxImport:
        return scoping.get_or_404(bulk_standing.imports_of(self.team), self.team, pk=self.kwargs["pk"])

    def context(self, **extra: Any) -> dict[str, Any]:
        imported = self.imported
        standing = bulk_standing.Import(imported, timezone.now())
        chosen = self.request.GET.get("kind", "")
        lines = [line for line in imported.plan if chosen not in bulk_standing.KINDS or line["kind"] == chosen]
        page = Paginator(lines, _LINES_SHOWN).get_page(self.request.GET.get("page"))
        counts = standing.counts
        views = [("All", "", counts.total())]
        views += [(word, kind, counts[kind]) for kind, (word, _) in bulk_standing.KINDS.items()]
        if "form" not in extra and standing.waits:
            extra["form"] = ApplyForm(why=importing.needs_reason(imported.plan), initial={"digest": imported.digest})
        return super().context(
            imported=imported,
            standing=standing,
            counts=counts,
            page=page,
            lines=[(line, *bulk_standing.kind(line)) for line in page.object_list],
            views=views,
            chosen=chosen,
            environment=imported.environment,
            environment_meaning=ENVIRONMENTS[imported.environment].meaning,
            **extra,
        )


class DiscardImport(ActionPage):
    """Takes away what was uploaded."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        imported = scoping.get_or_404(bulk_standing.imports_of(self.team), self.team, pk=self.kwargs["pk"])
        keeping.discard(actor=self.actor, upload=imported)
        return "Discarded. Nothing was imported, and what was uploaded is gone."

    def return_url(self) -> str:
        return reverse("mailboxes:import", kwargs={"team": self.team.slug})
