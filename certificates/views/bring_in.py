"""Bringing a certificate in from a file or pasted text."""

from __future__ import annotations

from django.urls import reverse

from certificates import services
from certificates.forms import ImportForm
from certificates.models import ClientIdentity
from certificates.reading import MAX_BYTES
from meshportal.web.upload_pages import UploadPage


class ImportPage(UploadPage):
    """A certificate with its key, checked and sealed."""

    capability = "certificate.manage"
    template_name = "certificates/import.html"
    form_class = ImportForm
    most_bytes = MAX_BYTES

    def save(self, form: ImportForm) -> ClientIdentity:
        identity, warnings = services.import_identity(
            actor=self.actor,
            team=self.team,
            environment=form.cleaned_data["environment"],
            name=form.cleaned_data["name"],
            sources=form.sources(),
            passphrase=form.cleaned_data["passphrase"],
        )
        # The others stand on the certificate's page as long as they hold.
        left_out = " ".join(warned.sentence for warned in warnings if warned.code == "left_out")
        self.flash(f"The certificate “{identity.name}” was added. Its key is sealed and is not shown again. {left_out}".strip())
        return identity

    def success_url(self, saved: ClientIdentity) -> str:
        return reverse("certificates:detail", kwargs={"team": self.team.slug, "pk": saved.pk})
