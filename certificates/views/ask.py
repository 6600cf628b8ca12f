"""Asking for a certificate, and giving the one that came back."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from certificates import requesting, selectors
from certificates.forms import ReceiveForm, RequestForm
from certificates.models import CertificateRequest, ClientIdentity
from certificates.reading import MAX_BYTES, Warned
from meshportal.accounts import scoping
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import DetailPage, FormPage
from meshportal.web.upload_pages import UploadPage


class RequestStart(FormPage):
    """A key and the request for a certificate of it. ``?like=<id>`` begins with what a present certificate says."""

    capability = "certificate.manage"
    template_name = "certificates/request.html"
    form_class = RequestForm

    def form_kwargs(self) -> dict[str, Any]:
        like = self.request.GET.get("like")
        if not like:
            return {"initial": {"organisation": self.team.name}}
        identity: ClientIdentity = scoping.get_or_404(selectors.identity_in_full(self.team), self.team, pk=like)
        return {
            "initial": {
                "organisation": self.team.name,
                "environment": identity.environment,
                "local_id": identity.local_id,
                "ods_code": identity.ods_code,
                "why": "expiring",
            }
        }

    def save(self, form: RequestForm) -> CertificateRequest:
        return requesting.request_certificate(actor=self.actor, team=self.team, **form.cleaned_data)

    def success_url(self, saved: CertificateRequest) -> str:
        return reverse("certificates:requested", kwargs={"team": self.team.slug, "pk": saved.pk})


class RequestPage(UploadPage):
    """What to send to whoever issues certificates, and where to give the certificate when it has come."""

    capability = "certificate.manage"
    template_name = "certificates/requested.html"
    form_class = ReceiveForm
    most_bytes = MAX_BYTES
    object: CertificateRequest

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = self._asked()
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = self._asked()
        return super().post(request, *args, **kwargs)

    def _asked(self) -> CertificateRequest:
        return scoping.get_or_404(selectors.requests_of(self.team), self.team, pk=self.kwargs["pk"])

    def form_kwargs(self) -> dict[str, Any]:
        return {"initial": {"name": self.object.name}}

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            asked=self.object,
            why=requesting.WHY.get(self.object.why, self.object.why),
            request_text=requesting.request_text(self.object),
            environment=self.object.environment,
            environment_meaning=ENVIRONMENTS[self.object.environment].meaning,
            **extra,
        )

    def save(self, form: ReceiveForm) -> tuple[ClientIdentity, tuple[Warned, ...]]:
        identity, warnings = requesting.receive_certificate(
            actor=self.actor, request=self.object, name=form.cleaned_data["name"], sources=form.sources()
        )
        passing = " ".join(warned.sentence for warned in warnings if warned.code in ("left_out", "other_name"))
        self.flash(f"The certificate “{identity.name}” was received. It belongs to the key of the request. {passing}".strip())
        return identity, warnings

    def success_url(self, saved: tuple[ClientIdentity, tuple[Warned, ...]]) -> str:
        return reverse("certificates:detail", kwargs={"team": self.team.slug, "pk": saved[0].pk})


class _RequestFile(DetailPage, abstract=True):
    def queryset(self) -> QuerySet[CertificateRequest]:
        return selectors.requests_of(self.team)

    def file(self, content: str, content_type: str, ending: str) -> HttpResponse:
        response = HttpResponse(content, content_type=content_type)
        # A common name here has letters, digits, dots, - and _ only.
        response["Content-Disposition"] = f'attachment; filename="{self.object.common_name}.{ending}"'
        return response


class RequestCsr(_RequestFile):
    """The request (CSR) as a file. It holds no secret."""

    capability = "certificate.manage"

    def render(self, **_extra: Any) -> HttpResponse:
        return self.file(self.object.csr_pem, "application/pkcs10", "csr")


class RequestText(_RequestFile):
    """The text of the request as a file."""

    capability = "certificate.manage"

    def render(self, **_extra: Any) -> HttpResponse:
        return self.file(requesting.request_text(self.object), "text/plain; charset=utf-8", "txt")
