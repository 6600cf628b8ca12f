"""The pages of mailboxes, below ``/t/<team>/mailboxes/``."""

from __future__ import annotations

from django.urls import path

from mailboxes.views import detail, examinations, imports, lists, roll_over

app_name = "mailboxes"

urlpatterns = [
    path("", lists.MailboxList.as_view(), name="list"),
    path("roll-over-to/<uuid:pk>/", roll_over.RollOverStart.as_view(), name="roll-over-start"),
    path("replaced/<uuid:pk>/", roll_over.ReplacedPage.as_view(), name="replaced"),
    path("roll-overs/<uuid:pk>/", roll_over.RollOverPage.as_view(), name="roll-over"),
    path("roll-overs/<uuid:pk>/test/", roll_over.RollOverTest.as_view(), name="roll-over-test"),
    path("roll-overs/<uuid:pk>/switch/", roll_over.RollOverSwitch.as_view(), name="roll-over-switch"),
    path("roll-overs/<uuid:pk>/undo/", roll_over.RollOverUndo.as_view(), name="roll-over-undo"),
    path("import/", imports.ImportPage.as_view(), name="import"),
    path("import/template/", imports.ImportTemplate.as_view(), name="import-template"),
    path("export/", imports.MailboxExport.as_view(), name="export"),
    path("imports/<uuid:pk>/", imports.ImportedPage.as_view(), name="imported"),
    path("imports/<uuid:pk>/discard/", imports.DiscardImport.as_view(), name="imported-discard"),
    path("checks/<uuid:pk>/", examinations.ExaminationPage.as_view(), name="examination"),
    path("checks/<uuid:pk>/again/", examinations.RetryExamination.as_view(), name="examination-retry"),
    path("<uuid:pk>/", detail.MailboxPage.as_view(), name="detail"),
    path("<uuid:pk>/poll/", detail.PollNow.as_view(), name="poll"),
]
