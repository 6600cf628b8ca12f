"""The platform's own pages, below ``/t/<team>/``."""

from __future__ import annotations

from django.urls import path

from meshportal.console.views import audit, overview

app_name = "console"

urlpatterns = [
    path("", overview.Overview.as_view(), name="overview"),
    path("audit/", audit.AuditList.as_view(), name="audit"),
    path("audit/export/", audit.AuditExport.as_view(), name="audit-export"),
]
