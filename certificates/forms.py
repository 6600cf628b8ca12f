"""What a person gives to bring a certificate in. Nothing secret of it ever goes back to the browser."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import RegexValidator

from certificates.models import Environment
from certificates.reading import MAX_BYTES, MAX_PASSPHRASE, Source
from certificates.requesting import KEY_SIZES, WHY
from meshportal.web.forms import NhsFormMixin


class UnshownField(forms.CharField):
    """Text that is never shown again, not even beside an error."""

    def prepare_value(self, value: Any) -> str:
        return ""


class ImportForm(NhsFormMixin, forms.Form):
    """A certificate with its key: a file, two files, or text."""

    name = forms.CharField(
        label="Name of the certificate",
        help_text="What your team calls it, such as “Pathology live 2026”.",
        max_length=150,
        error_messages={"max_length": "Keep the name within 150 characters."},
    )
    environment = forms.ChoiceField(label="Environment", choices=Environment.choices, widget=forms.RadioSelect)
    file = forms.FileField(
        label="File with the certificate",
        help_text="PEM, DER, PKCS #12 (.p12, .pfx) or a Java keystore (.jks). It may hold the key and the chain too.",
        required=False,
        allow_empty_file=True,
    )
    key_file = forms.FileField(
        label="File with the private key",
        help_text="Only when it is not in the first file.",
        required=False,
        allow_empty_file=True,
    )
    pasted = UnshownField(
        label="Or paste text in PEM form",
        help_text="From “-----BEGIN” to “-----END”, several blocks one after the other, in any order.",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "autocomplete": "off", "spellcheck": "false", "class": "portal-mono"}),
    )
    passphrase = forms.CharField(
        label="Passphrase of the key or keystore",
        required=False,
        strip=False,
        max_length=MAX_PASSPHRASE,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        error_messages={"max_length": f"A passphrase has at most {MAX_PASSPHRASE} characters here."},
    )

    def clean_file(self) -> UploadedFile[Any] | None:
        return self._small("file")

    def clean_key_file(self) -> UploadedFile[Any] | None:
        return self._small("key_file")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        given = any(cleaned.get(name) for name in ("file", "key_file")) or str(cleaned.get("pasted") or "").strip()
        if not given and not {"file", "key_file", "pasted"} & set(self.errors):
            self.add_error("file", "Choose the file with the certificate, or paste its text")
        return cleaned

    def sources(self) -> list[Source]:
        """What was given, each part with its name."""
        found = []
        for field in ("file", "key_file"):
            upload: UploadedFile[Any] | None = self.cleaned_data.get(field)
            if upload is not None:
                found.append(Source(_named(upload), upload.read()))
        pasted = str(self.cleaned_data.get("pasted") or "")
        if pasted.strip():
            found.append(Source("the pasted text", pasted.encode(errors="replace")))
        return found

    def _small(self, field: str) -> UploadedFile[Any] | None:
        upload: UploadedFile[Any] | None = self.cleaned_data.get(field)
        if upload is not None and (upload.size or 0) > MAX_BYTES:
            raise ValidationError(f"Too large to be a certificate: {_named(upload)} holds more than 1 MB.", code="too_large")
        return upload


class ReceiveForm(ImportForm):
    """The certificate that was issued for a request. Its key and its environment are known."""

    environment = None  # type: ignore[assignment]
    key_file = None  # type: ignore[assignment]
    passphrase = None  # type: ignore[assignment]
    file = forms.FileField(
        label="File with the certificate",
        help_text="PEM or DER, as it came back. It may hold the chain too.",
        required=False,
        allow_empty_file=True,
    )
    pasted = UnshownField(
        label="Or paste the certificate in PEM form",
        help_text="From “-----BEGIN CERTIFICATE” to “-----END CERTIFICATE”, with the chain if you were given it.",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "autocomplete": "off", "spellcheck": "false", "class": "portal-mono"}),
    )


class RequestForm(NhsFormMixin, forms.Form):
    """What a request for a certificate says."""

    name = forms.CharField(
        label="Name of the certificate",
        help_text="What your team will call it, such as “Pathology live 2029”.",
        max_length=150,
        error_messages={"max_length": "Keep the name within 150 characters."},
    )
    environment = forms.ChoiceField(label="Environment", choices=Environment.choices, widget=forms.RadioSelect)
    local_id = forms.CharField(
        label="Mailbox ID, or name of the server",
        help_text="The first part of the common name, such as X26HC001 or SERVER001.",
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    ods_code = forms.CharField(
        label="ODS code",
        help_text="Of your organisation, such as X26.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        validators=[RegexValidator(r"^[A-Za-z0-9]{3,12}$", "An ODS code is 3 to 12 letters and digits, such as RH8 or G81086.")],
    )
    organisation = forms.CharField(label="Name of your organisation", max_length=200)
    why = forms.ChoiceField(label="Why it is needed", choices=list(WHY.items()), widget=forms.RadioSelect)
    key_size = forms.TypedChoiceField(
        label="Size of the key",
        choices=[(size, f"RSA, {size:,} bits") for size in KEY_SIZES],
        coerce=int,
        initial=KEY_SIZES[0],
        widget=forms.RadioSelect,
    )
    once = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)


def _named(upload: UploadedFile[Any]) -> str:
    name = "".join(character for character in upload.name or "" if character.isprintable())
    return f"the file {name[:80]}" if name else "the file"
