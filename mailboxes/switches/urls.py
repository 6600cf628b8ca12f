"""The pages of system switches, below ``/t/<team>/switches/``."""

from __future__ import annotations

from django.urls import path

from mailboxes.switches.views import acts, case, lists

app_name = "switches"

urlpatterns = [
    path("", lists.Board.as_view(), name="board"),
    path("ended/", lists.Ended.as_view(), name="ended"),
    path("new/", lists.Notice.as_view(), name="new"),
    path("<uuid:pk>/", case.CasePage.as_view(), name="case"),
    path("<uuid:pk>/report/", case.ReportPage.as_view(), name="report"),
    path("<uuid:pk>/edit/", case.EditPage.as_view(), name="edit"),
    path("<uuid:pk>/move/", acts.Move.as_view(), name="move"),
    path("<uuid:pk>/look-up/", acts.LookUp.as_view(), name="look-up"),
    path("<uuid:pk>/address/", acts.Address.as_view(), name="address"),
    path("<uuid:pk>/release/ask/", acts.ReleaseAsk.as_view(), name="release-ask"),
    path("<uuid:pk>/release/agree/", acts.ReleaseAgree.as_view(), name="release-agree"),
    path("<uuid:pk>/release/withdraw/", acts.ReleaseWithdraw.as_view(), name="release-withdraw"),
    path("<uuid:pk>/comment/", acts.Comment.as_view(), name="comment"),
    path("<uuid:pk>/safety/", acts.SafetyTold.as_view(), name="safety"),
    path("<uuid:pk>/tick/", acts.Tick.as_view(), name="tick"),
]
