"""The pages of certificates, below ``/t/<team>/certificates/``."""

from __future__ import annotations

from django.urls import path

from certificates.views import ask, bring_in, calendar, detail, export, lists

app_name = "certificates"

urlpatterns = [
    path("", lists.CertificateList.as_view(), name="list"),
    path("export/", lists.CertificateExport.as_view(), name="export"),
    path("calendar/", calendar.CalendarPage.as_view(), name="calendar"),
    path("calendar/address/", calendar.AddressMake.as_view(), name="calendar-address"),
    path("calendar/address/end/", calendar.AddressEnd.as_view(), name="calendar-address-end"),
    path("import/", bring_in.ImportPage.as_view(), name="import"),
    path("request/", ask.RequestStart.as_view(), name="request"),
    path("requests/<uuid:pk>/", ask.RequestPage.as_view(), name="requested"),
    path("requests/<uuid:pk>/csr/", ask.RequestCsr.as_view(), name="requested-csr"),
    path("requests/<uuid:pk>/text/", ask.RequestText.as_view(), name="requested-text"),
    path("<uuid:pk>/export-key/", export.ExportKey.as_view(), name="export-key"),
    path("<uuid:pk>/", detail.CertificatePage.as_view(), name="detail"),
]
