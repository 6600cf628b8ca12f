"""One certificate: what it is, how long it can be used, and who depends on it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from certificates import selectors
from certificates.life import certificate_life
from certificates.models import ClientIdentity
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import DetailPage


class CertificatePage(DetailPage):
    """Can this certificate be used, until when, and which mailboxes depend on it?"""

    capability = "certificate.view"
    template_name = "certificates/detail.html"
    context_name = "identity"

    def queryset(self) -> QuerySet[ClientIdentity]:
        return selectors.identity_in_full(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        now = timezone.now()
        identity: ClientIdentity = self.object
        pairs = [identity.fingerprint[at : at + 2].upper() for at in range(0, len(identity.fingerprint), 2)]
        return super().context(
            life=certificate_life(identity, now),
            examined=selectors.examined(identity, now),
            users=list(selectors.users_of(identity)),
            fingerprint=":".join(pairs),
            environment=identity.environment,
            environment_meaning=ENVIRONMENTS[identity.environment].meaning,
            **extra,
        )
