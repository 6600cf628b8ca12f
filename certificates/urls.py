"""The pages of certificates, below ``/t/<team>/certificates/``."""

from __future__ import annotations

from django.urls import path

from certificates.views import bring_in, detail, lists

app_name = "certificates"

urlpatterns = [
    path("", lists.CertificateList.as_view(), name="list"),
    path("export/", lists.CertificateExport.as_view(), name="export"),
    path("import/", bring_in.ImportPage.as_view(), name="import"),
    path("<uuid:pk>/", detail.CertificatePage.as_view(), name="detail"),
]
