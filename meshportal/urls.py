"""Every URL of the site."""

from __future__ import annotations

from django.urls import include, path

from certificates.views import feed
from meshportal import health
from meshportal.console.views import session

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("healthz", health.healthz, name="healthz"),
    path("sign-in/", session.SignIn.as_view(), name="sign-in"),
    path("sign-out/", session.SignOut.as_view(), name="sign-out"),
    path("", session.Home.as_view(), name="home"),
    path("calendar/<str:secret>/certificates.ics", feed.ExpiryFeed.as_view(), name="certificates-feed"),
    path("t/<slug:team>/", include("meshportal.console.urls")),
    path("t/<slug:team>/certificates/", include("certificates.urls")),
    path("t/<slug:team>/mailboxes/", include("mailboxes.urls")),
    path("t/<slug:team>/addresses/", include("mailboxes.addresses.urls")),
    path("t/<slug:team>/switches/", include("mailboxes.switches.urls")),
    path("t/<slug:team>/", include("messages.urls")),
]
