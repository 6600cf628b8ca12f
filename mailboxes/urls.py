"""The pages of mailboxes, below ``/t/<team>/mailboxes/``."""

from __future__ import annotations

from django.urls import path

from mailboxes.views import detail, lists

app_name = "mailboxes"

urlpatterns = [
    path("", lists.MailboxList.as_view(), name="list"),
    path("<uuid:pk>/", detail.MailboxPage.as_view(), name="detail"),
    path("<uuid:pk>/poll/", detail.PollNow.as_view(), name="poll"),
]
