"""The platform's own pages, below ``/t/<team>/``."""

from __future__ import annotations

from django.urls import path

from meshportal.console.views import alerts, audit, channels, overview

app_name = "console"

urlpatterns = [
    path("", overview.Overview.as_view(), name="overview"),
    path("alerts/", alerts.AlertList.as_view(), name="alerts"),
    path("alerts/acknowledge/", alerts.AcknowledgeMany.as_view(), name="alerts-acknowledge"),
    path("alerts/<uuid:pk>/", alerts.AlertPage.as_view(), name="alert"),
    path("alerts/<uuid:pk>/acknowledge/", alerts.Acknowledge.as_view(), name="alert-acknowledge"),
    path("alerts/<uuid:pk>/snooze/", alerts.Snooze.as_view(), name="alert-snooze"),
    path("alerts/<uuid:pk>/assign/", alerts.Assign.as_view(), name="alert-assign"),
    path("alerts/<uuid:pk>/comment/", alerts.Comment.as_view(), name="alert-comment"),
    path("alerts/<uuid:pk>/close/", alerts.Close.as_view(), name="alert-close"),
    path("channels/", channels.ChannelList.as_view(), name="channels"),
    path("channels/add/", channels.ChannelAdd.as_view(), name="channel-add"),
    path("channels/<uuid:pk>/", channels.ChannelPage.as_view(), name="channel"),
    path("channels/<uuid:pk>/change/", channels.ChannelChange.as_view(), name="channel-change"),
    path("channels/<uuid:pk>/test/", channels.ChannelTest.as_view(), name="channel-test"),
    path("channels/<uuid:pk>/remove/", channels.ChannelRemove.as_view(), name="channel-remove"),
    path("channels/<uuid:pk>/subscribe/", channels.Subscribe.as_view(), name="channel-subscribe"),
    path("channels/<uuid:pk>/unsubscribe/", channels.Unsubscribe.as_view(), name="channel-unsubscribe"),
    path("audit/", audit.AuditList.as_view(), name="audit"),
    path("audit/export/", audit.AuditExport.as_view(), name="audit-export"),
]
