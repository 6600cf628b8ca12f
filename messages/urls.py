"""The pages of messages, below ``/t/<team>/``."""

from __future__ import annotations

from django.urls import path

from messages.views import acts, body, bulk, compose, declared, detail, doctor, lists, resends, restore, switch, workflows

app_name = "messages"

urlpatterns = [
    path("messages/", lists.TeamMessages.as_view(), name="list"),
    path("messages/sent/", lists.SentMessages.as_view(), name="outbox"),
    path("mailboxes/<uuid:pk>/inbox/", lists.MailboxInbox.as_view(), name="inbox"),
    path("mailboxes/<uuid:pk>/outbox/", lists.MailboxOutbox.as_view(), name="mailbox-outbox"),
    path("mailboxes/<uuid:pk>/doctor/", doctor.Doctor.as_view(), name="doctor"),
    path("mailboxes/<uuid:pk>/workflows/", declared.MailboxWorkflows.as_view(), name="mailbox-workflows"),
    path("messages/new/", compose.Compose.as_view(), name="compose"),
    path("messages/new/<uuid:pk>/", compose.ComposedPage.as_view(), name="composed"),
    path("messages/new/<uuid:pk>/details/", compose.Details.as_view(), name="composed-details"),
    path("messages/new/<uuid:pk>/file/", compose.Upload.as_view(), name="composed-file"),
    path("messages/new/<uuid:pk>/send/", compose.Send.as_view(), name="composed-send"),
    path("messages/new/<uuid:pk>/discard/", compose.Discard.as_view(), name="composed-discard"),
    path("messages/sent/cancel/", bulk.CancelMany.as_view(), name="cancel-many"),
    path("messages/sent/resend/", bulk.ResendMany.as_view(), name="resend-many"),
    path("messages/sent/resend-all/", resends.ResendFiltered.as_view(), name="resend-filtered"),
    path("messages/sent/restore/", restore.RestorePage.as_view(), name="restore"),
    path("messages/sent/restore/download/", restore.RestoreFile.as_view(), name="restore-file"),
    path("messages/resends/", resends.BulkResendList.as_view(), name="bulk-resends"),
    path("messages/resends/<uuid:pk>/", resends.BulkResendPage.as_view(), name="bulk-resend"),
    path("messages/resends/<uuid:pk>/stop/", resends.StopBulkResend.as_view(), name="bulk-resend-stop"),
    path("messages/retry/", bulk.RetryMany.as_view(), name="retry-many"),
    path("messages/<uuid:pk>/", detail.MessagePage.as_view(), name="detail"),
    path("messages/<uuid:pk>/body/", body.BodyPage.as_view(), name="body"),
    path("messages/<uuid:pk>/download/", body.Download.as_view(), name="download"),
    path("messages/<uuid:pk>/retry/", acts.Retry.as_view(), name="retry"),
    path("messages/<uuid:pk>/discard/", acts.Discard.as_view(), name="discard"),
    path("messages/<uuid:pk>/cancel/", acts.Cancel.as_view(), name="cancel"),
    path("messages/<uuid:pk>/decide/", acts.Decide.as_view(), name="decide"),
    path("messages/<uuid:pk>/resend/", acts.Resend.as_view(), name="resend"),
    path("messages/<uuid:pk>/hand-on/folder/", acts.HandOnToFolder.as_view(), name="hand-on-folder"),
    path("messages/<uuid:pk>/hand-on/webhook/", acts.HandOnToWebhook.as_view(), name="hand-on-webhook"),
    path("switches/<uuid:pk>/messages/", switch.SwitchMessages.as_view(), name="switch"),
    path("workflows/", workflows.WorkflowList.as_view(), name="workflows"),
    path("workflows/<uuid:pk>/", workflows.WorkflowPage.as_view(), name="workflow"),
]
