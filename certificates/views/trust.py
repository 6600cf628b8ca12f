"""Whom the portal trusts: the trust bundle of each environment, and what its server showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from certificates import selectors, servers
from certificates.models import Environment, ServerCertificate
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import TeamPage

_MOST_SHOWN = 10


@dataclass(frozen=True)
class Shown:
    """A certificate that the server showed, as the page tells of it."""

    certificate: ServerCertificate
    word: str
    tone: str


@dataclass(frozen=True)
class Section:
    """One environment on the page."""

    trusted: selectors.Trusted
    name: str
    host: str
    shown: list[Shown]


class TrustPage(TeamPage):
    """Which authorities vouch for MESH, until when, and is its server the one that it was?

    To look at only: a bundle holds for every team of its environment, so no role of one team may replace it.
    """

    capability = "certificate.view"
    template_name = "certificates/trust.html"
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        now = timezone.now()
        sections = [_section(selectors.trusted(environment, now)) for environment in Environment.values]
        sections.sort(key=lambda section: section.trusted.bundle is None)
        return super().context(sections=sections, **extra)


def _section(trusted: selectors.Trusted) -> Section:
    shown = []
    for number, one in enumerate(trusted.shown[:_MOST_SHOWN]):
        word, tone = ("Seen last", "good") if number == 0 else ("Earlier", "quiet")
        if one in trusted.changes:
            word, tone = "New", "warn"
        shown.append(Shown(one, word, tone))
    return Section(trusted, ENVIRONMENTS[trusted.environment].name, servers.host_of(trusted.environment), shown)
