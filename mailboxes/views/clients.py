"""The mailboxes of a running MESH client: its configuration brought in, and the portal in its place and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from certificates.models import Environment
from certificates.reading import MAX_BYTES, MAX_PASSPHRASE, Source
from mailboxes import keeping, selectors
from mailboxes.client import bringing, config, taking_over, telling
from mailboxes.models import ClientImport, Mailbox, Mode
from meshportal.accounts import scoping
from meshportal.core.acts import Refused
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.forms import NhsFormMixin
from meshportal.web.pages import ActionPage, TeamPage, add_errors
from meshportal.web.upload_pages import UploadPage


class ClientForm(NhsFormMixin, forms.Form):
    """The two files of a client, and what they do not say."""

    config = forms.FileField(
        label="Configuration of the client",
        help_text="meshclient.cfg from the client’s own folder, such as C:\\MESH-APP-HOME.",
        allow_empty_file=True,
        error_messages={"required": "Choose the client’s meshclient.cfg"},
    )
    keystore = forms.FileField(
        label="Keystore of the client",
        help_text="The file that KeyStorePath in meshclient.cfg names: a Java keystore (.jks, .keystore) or PKCS #12 (.p12).",
        allow_empty_file=True,
        error_messages={"required": "Choose the client’s keystore"},
    )
    passphrase = forms.CharField(
        label="Passphrase of the keystore",
        help_text="Only when meshclient.cfg does not say it in plain text.",
        required=False,
        strip=False,
        max_length=MAX_PASSPHRASE,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        error_messages={"max_length": f"A passphrase has at most {MAX_PASSPHRASE} characters here."},
    )
    environment = forms.ChoiceField(label="Environment", choices=Environment.choices, widget=forms.RadioSelect)
    ods_code = forms.CharField(
        label="ODS code of the organisation",
        help_text="Only when the certificate does not say it, such as X26.",
        required=False,
        max_length=12,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def clean_config(self) -> Any:
        upload = self.cleaned_data["config"]
        if (upload.size or 0) > config.LIMIT:
            raise ValidationError(f"The file is larger than {config.LIMIT // 1024} KiB, which no meshclient.cfg needs to be.")
        return upload

    def clean_keystore(self) -> Any:
        upload = self.cleaned_data["keystore"]
        if (upload.size or 0) > MAX_BYTES:
            raise ValidationError("Too large to be a keystore: it holds more than 1 MB.")
        return upload


class PasswordsForm(NhsFormMixin, forms.Form):
    """The passwords that the file does not say in plain text."""

    def __init__(self, *args: Any, boxes: list[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for box in boxes:
            if box["typed"]:
                self.fields[f"password_{box['mailbox_id']}"] = forms.CharField(
                    label=f"Password of {box['mailbox_id']}",
                    strip=False,
                    max_length=200,
                    widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
                    error_messages={"required": f"Enter the password of {box['mailbox_id']}"},
                )


class CutOverForm(NhsFormMixin, forms.Form):
    """The portal in place of the client."""

    stopped = forms.BooleanField(label="The client no longer works this mailbox", required=False)
    folder = forms.CharField(
        label="Folder of the mailbox",
        help_text="The one that the client used, with IN and OUT in it: its way below the portal’s root for folders.",
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    send_waiting = forms.BooleanField(label="Send what still stands in OUT", required=False)
    reason = forms.CharField(
        label="Why does the portal take over?",
        help_text="Kept with your name in the audit.",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why the portal takes over"},
    )


class CutBackForm(NhsFormMixin, forms.Form):
    """The client in place of the portal."""

    reason = forms.CharField(
        label="Why does the client take over again?",
        help_text="Kept with your name in the audit.",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why the client takes over again"},
    )


def _imports(page: TeamPage) -> QuerySet[ClientImport]:
    return scoping.in_team(ClientImport, page.team).select_related("examination").defer("held")


class ClientImportPage(UploadPage):
    """The two files of a running client."""

    capability = "mailbox.manage"
    template_name = "mailboxes/client_import.html"
    form_class = ClientForm
    most_bytes = MAX_BYTES

    def save(self, form: ClientForm) -> ClientImport:
        found = form.cleaned_data
        keystore = found["keystore"]
        name = "".join(character for character in keystore.name or "" if character.isprintable())[:100]
        given = bringing.Given(
            environment=found["environment"],
            data=found["config"].read(),
            keystore=Source(f"the file {name}", keystore.read()),
            passphrase=found["passphrase"],
            ods_code=found["ods_code"],
            file_name=found["config"].name or "",
        )
        return bringing.prepare(actor=self.actor, team=self.team, given=given)

    def success_url(self, saved: ClientImport) -> str:
        return reverse("mailboxes:client-imported", kwargs={"team": self.team.slug, "pk": saved.pk})


class ClientImportedPage(TeamPage):
    """What of the client maps and what does not, line by line. POST adds its mailboxes, in watch mode."""

    capability = "mailbox.manage"
    template_name = "mailboxes/client_imported.html"
    imported: ClientImport

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.imported = scoping.get_or_404(_imports(self), self.team, pk=self.kwargs["pk"])
        return self.render()

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.imported = scoping.get_or_404(_imports(self), self.team, pk=self.kwargs["pk"])
        waits = self.imported.ended_at is None
        form = PasswordsForm(data=request.POST, boxes=self.imported.boxes if waits else [])
        if form.is_valid():
            passwords = {name.removeprefix("password_"): value for name, value in form.cleaned_data.items()}
            try:
                examination = bringing.apply(actor=self.actor, imported=self.imported, passwords=passwords)
            except Refused as refusal:
                self.flash_refusal(str(refusal))
                return self.redirect("mailboxes:client-imported", team=self.team.slug, pk=self.imported.pk)
            except ValidationError as error:
                add_errors(form, error)
            else:
                self.flash("The client’s mailboxes were added. They are only watched: nothing is taken from the client.")
                return self.redirect("mailboxes:examination", team=self.team.slug, pk=examination.pk)
        return self.render(status=422, form=form)

    def context(self, **extra: Any) -> dict[str, Any]:
        imported = self.imported
        waits = imported.ended_at is None and imported.expires_at > timezone.now()
        extra.setdefault("form", PasswordsForm(boxes=imported.boxes) if waits else None)
        return super().context(
            imported=imported,
            waits=waits,
            until=datetime.fromisoformat(imported.certificate["until"]),
            new=[box for box in imported.boxes if box["kind"] == "add"],
            same=[box for box in imported.boxes if box["kind"] == "same"],
            lines=[(line, *telling.KINDS[line["kind"]]) for line in imported.lines],
            environment=imported.environment,
            environment_meaning=ENVIRONMENTS[imported.environment].meaning,
            **extra,
        )


class DiscardClientImport(ActionPage):
    """Takes away what was uploaded."""

    capability = "mailbox.manage"

    def act(self, form: Any) -> str:
        imported = scoping.get_or_404(_imports(self), self.team, pk=self.kwargs["pk"])
        keeping.discard(actor=self.actor, upload=imported)
        return "Discarded. Nothing was added, and what was uploaded is gone."

    def return_url(self) -> str:
        return reverse("mailboxes:client-import", kwargs={"team": self.team.slug})


class CutOverPage(TeamPage):
    """From the client to the portal in the same folders, and back."""

    capability = "mailbox.manage"
    template_name = "mailboxes/cut_over.html"
    mailbox: Mailbox

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.mailbox = self._found()
        return self.render()

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.mailbox = self._found()
        watched = self.mailbox.mode == Mode.WATCH
        form = (CutOverForm if watched else CutBackForm)(data=request.POST)
        if form.is_valid():
            act = taking_over.cut_over if watched else taking_over.cut_back
            try:
                act(actor=self.actor, mailbox=self.mailbox, **form.cleaned_data)
            except Refused as refusal:
                self.flash_refusal(str(refusal))
                return self.redirect("mailboxes:cut-over", team=self.team.slug, pk=self.mailbox.pk)
            except ValidationError as error:
                add_errors(form, error)
            else:
                self.flash(
                    "The portal has taken over: it collects, puts messages into IN and sends what is put into OUT."
                    if watched
                    else "The portal only watches now. Start the client: it works in the same folders."
                )
                return self.redirect("mailboxes:detail", team=self.team.slug, pk=self.mailbox.pk)
        return self.render(status=422, form=form)

    def _found(self) -> Mailbox:
        return scoping.get_or_404(selectors.mailboxes_of(self.team), self.team, pk=self.kwargs["pk"])

    def context(self, **extra: Any) -> dict[str, Any]:
        mailbox = self.mailbox
        place = taking_over.place_of(mailbox)
        if "form" not in extra:
            watched = mailbox.mode == Mode.WATCH
            extra["form"] = CutOverForm(initial={"folder": place.folder}) if watched else CutBackForm()
        return super().context(
            mailbox=mailbox,
            place=place,
            client=getattr(mailbox, "client", None),
            environment=mailbox.environment,
            environment_meaning=ENVIRONMENTS[mailbox.environment].meaning,
            **extra,
        )
