"""What people give to bring a certificate in, to ask for one, or to take a key out. Nothing secret goes back to the browser."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import RegexValidator

from certificates.exporting import SHORTEST_PASSPHRASE
from certificates.models import Environment
from certificates.reading import MAX_BYTES, MAX_PASSPHRASE, Source
from certificates.requesting import KEY_SIZES, WHY
from meshportal.web.forms import NhsFormMixin
from meshportal.web.masking import mask_numbers


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


class StandingForm(forms.Form):
    """The id of the calendar's address that somebody saw; '' for none."""

    standing = forms.CharField(max_length=36, required=False)


class ExportKeyForm(NhsFormMixin, forms.Form):
    """Why a private key is taken out of the portal, and the passphrase that guards it from then on."""

    reason = forms.CharField(
        label="Why is the key taken out?",
        help_text="For example: the Java client on SERVER001 needs it until the cut-over. This becomes part of the record.",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why the key is taken out", "max_length": "Keep it within 500 characters."},
    )
    passphrase = forms.CharField(
        label="Passphrase of the file",
        help_text=f"At least {SHORTEST_PASSPHRASE} characters. Longer is better: it alone guards the key outside of the portal.",
        strip=False,
        min_length=SHORTEST_PASSPHRASE,
        max_length=MAX_PASSPHRASE,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        validators=[
            # OpenSSL, Windows and Java read others each in a way of its own.
            RegexValidator(
                r"^[ -~]*\Z", "Use unaccented letters, digits, spaces and plain signs only (no £): programs differ in others."
            )
        ],
        error_messages={
            "required": "Enter a passphrase for the file",
            "min_length": f"Use at least {SHORTEST_PASSPHRASE} characters.",
            "max_length": f"A passphrase has at most {MAX_PASSPHRASE} characters here.",
        },
    )
    again = forms.CharField(
        label="The same passphrase again",
        strip=False,
        max_length=MAX_PASSPHRASE,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={
            "required": "Enter the passphrase a second time",
            "max_length": f"A passphrase has at most {MAX_PASSPHRASE} characters here.",
        },
    )

    def clean_reason(self) -> str:
        reason = " ".join(str(self.cleaned_data["reason"]).split())
        if not any(character.isalnum() for character in reason):
            raise ValidationError("Write it in words: this becomes part of the record.")
        if mask_numbers(reason) != reason:
            raise ValidationError("Take the number out: it looks like an NHS number, and auditors read this.")
        return reason

    def clean_passphrase(self) -> str:
        passphrase = str(self.cleaned_data["passphrase"])
        if len(set(passphrase)) < 5:
            raise ValidationError("Use at least five different characters.")
        return passphrase

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, second = cleaned.get("passphrase"), cleaned.get("again")
        if first and second and first != second:
            self.add_error("again", "The two passphrases differ: enter the same one twice")
        if first and first in str(cleaned.get("reason", "")):
            self.add_error("reason", "The reason holds the passphrase: auditors read the reason")
        return cleaned


def _named(upload: UploadedFile[Any]) -> str:
    name = "".join(character for character in upload.name or "" if character.isprintable())
    return f"the file {name[:80]}" if name else "the file"
