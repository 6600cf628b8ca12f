"""Bringing a certificate in from a file or pasted text."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from certificates import services
from certificates.forms import ImportForm
from certificates.models import ClientIdentity
from certificates.reading import MAX_BYTES
from meshportal.web.pages import FormPage
from meshportal.web.small_uploads import MemoryOnly


# Exempt from the middleware only: it would read the upload, with handlers that write to a disk, before this page can choose
# its own. The same check is made below, once it is known who asks and they are chosen.
@method_decorator(csrf_exempt, name="dispatch")
class UploadPage(FormPage, abstract=True):
    """A form whose files may hold a secret: they stay in memory, and nothing of them goes back."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.upload_handlers = [MemoryOnly(request, most=MAX_BYTES)]
        return self._post_checked(request, *args, **kwargs)

    @method_decorator(csrf_protect)
    def _post_checked(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().post(request, *args, **kwargs)


class ImportPage(UploadPage):
    """A certificate with its key, checked and sealed."""

    capability = "certificate.manage"
    template_name = "certificates/import.html"
    form_class = ImportForm

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
