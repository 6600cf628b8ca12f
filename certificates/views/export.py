"""Taking the private key of a certificate out of the portal."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers
from django.utils.http import content_disposition_header

from certificates import exporting, selectors
from certificates.forms import ExportKeyForm
from certificates.models import ClientIdentity
from meshportal.accounts import scoping
from meshportal.core.acts import Refused
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import TeamPage


class ExportKey(TeamPage):
    """GET asks for the reason and a passphrase; POST records the act, then sends the file."""

    capability = "certificate.export_key"
    template_name = "certificates/export_key.html"

    def identity(self) -> ClientIdentity:
        """The certificate of the address; Http404 when this team has none such. A request without its certificate is none."""
        return scoping.get_or_404(selectors.identity_in_full(self.team), self.team, pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._form(self.identity(), ExportKeyForm())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        identity = self.identity()
        form = ExportKeyForm(data=request.POST)
        if form.is_valid():
            given = form.cleaned_data
            try:
                exported = exporting.export_key(
                    actor=self.actor, identity=identity, reason=given["reason"], passphrase=given["passphrase"]
                )
            except Refused as refusal:
                form.add_error(None, str(refusal))
            else:
                return _as_file(exported)
        return self._form(identity, form, status=422)

    def _form(self, identity: ClientIdentity, form: ExportKeyForm, *, status: int = 200) -> HttpResponse:
        meaning = ENVIRONMENTS[identity.environment].meaning
        return self.render(
            status=status, identity=identity, form=form, environment=identity.environment, environment_meaning=meaning
        )


def _as_file(exported: exporting.Exported) -> HttpResponse:
    response = HttpResponse(exported.content, content_type="application/x-pkcs12")
    response["Content-Disposition"] = content_disposition_header(True, exported.file_name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    add_never_cache_headers(response)
    return response
