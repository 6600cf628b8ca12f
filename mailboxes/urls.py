"""The pages of mailboxes, below ``/t/<team>/mailboxes/``."""

from __future__ import annotations

from django.urls import path

from mailboxes.views import clients, detail, examinations, imports, life, lists, onboarding, roll_over, settings

app_name = "mailboxes"

urlpatterns = [
    path("", lists.MailboxList.as_view(), name="list"),
    path("add/", settings.MailboxAdd.as_view(), name="add"),
    path("onboarding/", onboarding.OnboardingList.as_view(), name="onboardings"),
    path("onboarding/start/", onboarding.OnboardingStart.as_view(), name="onboarding-start"),
    path("onboarding/<uuid:pk>/", onboarding.OnboardingPage.as_view(), name="onboarding"),
    path("onboarding/<uuid:pk>/organisation/", onboarding.OrganisationStep.as_view(), name="onboarding-organisation"),
    path("onboarding/<uuid:pk>/details/", onboarding.DetailsStep.as_view(), name="onboarding-details"),
    path("onboarding/<uuid:pk>/application/", onboarding.ApplicationStep.as_view(), name="onboarding-application"),
    path("onboarding/<uuid:pk>/mailbox/", onboarding.MailboxStep.as_view(), name="onboarding-mailbox"),
    path("onboarding/<uuid:pk>/certificate/", onboarding.CertificateStep.as_view(), name="onboarding-certificate"),
    path("onboarding/<uuid:pk>/connection/", onboarding.ConnectionStep.as_view(), name="onboarding-connection"),
    path("onboarding/<uuid:pk>/connection/try/", onboarding.ConnectionTry.as_view(), name="onboarding-try"),
    path("onboarding/<uuid:pk>/mode/", onboarding.ModeStep.as_view(), name="onboarding-mode"),
    path("onboarding/<uuid:pk>/people/", onboarding.PeopleStep.as_view(), name="onboarding-people"),
    path("onboarding/<uuid:pk>/live/", onboarding.GoLive.as_view(), name="onboarding-live"),
    path("onboarding/<uuid:pk>/stop/", onboarding.OnboardingStop.as_view(), name="onboarding-stop"),
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
    path("client-import/", clients.ClientImportPage.as_view(), name="client-import"),
    path("client-imports/<uuid:pk>/", clients.ClientImportedPage.as_view(), name="client-imported"),
    path("client-imports/<uuid:pk>/discard/", clients.DiscardClientImport.as_view(), name="client-imported-discard"),
    path("checks/<uuid:pk>/", examinations.ExaminationPage.as_view(), name="examination"),
    path("checks/<uuid:pk>/again/", examinations.RetryExamination.as_view(), name="examination-retry"),
    path("<uuid:pk>/", detail.MailboxPage.as_view(), name="detail"),
    path("<uuid:pk>/cut-over/", clients.CutOverPage.as_view(), name="cut-over"),
    path("<uuid:pk>/poll/", detail.PollNow.as_view(), name="poll"),
    path("<uuid:pk>/settings/", settings.MailboxSettings.as_view(), name="settings"),
    path("<uuid:pk>/password/", settings.MailboxPassword.as_view(), name="password"),
    path("<uuid:pk>/notes/", life.MailboxNotes.as_view(), name="notes"),
    path("<uuid:pk>/pause/", life.MailboxPause.as_view(), name="pause"),
    path("<uuid:pk>/resume/", life.MailboxResume.as_view(), name="resume"),
    path("<uuid:pk>/close/", life.MailboxClose.as_view(), name="close"),
    path("<uuid:pk>/keep-open/", life.MailboxKeepOpen.as_view(), name="keep-open"),
    path("<uuid:pk>/archive/", life.MailboxArchive.as_view(), name="archive"),
]
