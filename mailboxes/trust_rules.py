"""Rules about whom the portal trusts: authorities in a trust bundle that end, and a server whose certificate changed.

A trust bundle belongs to an environment and not to a team; each team that works mailboxes there has an alert of its own, so that
each can acknowledge it. No name out of a certificate stands in a sentence: it leaves the portal by mail.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from certificates import selectors as certificates
from certificates.models import Environment
from mailboxes import selectors
from mailboxes.models import Mode
from meshportal.accounts.models import Role, Team
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule
from meshportal.web.time import london

BUNDLE, SERVER = "trust.bundle", "trust.server_changed"
_ENDS = ("authority_expired", "authority_ends_soon", "authority_not_yet_valid")


def find(now: datetime) -> Iterator[Condition]:
    """What holds of each environment, for each team that works mailboxes in it."""
    boxes = selectors.every_mailbox().exclude(mode=Mode.PAUSED)
    teams: dict[str, dict[Any, Team]] = {}
    for mailbox in boxes:
        teams.setdefault(mailbox.environment, {})[mailbox.team_id] = mailbox.team
    for environment, found in teams.items():
        trusted = certificates.trusted(environment, now)
        for team in found.values():
            yield from _about(trusted, team)


def _about(trusted: certificates.Trusted, team: Team) -> Iterator[Condition]:
    label = Environment(trusted.environment).label.lower()
    where: dict[str, Any] = {
        "key": trusted.environment,
        "team": team,
        "url_name": "certificates:trust",
        "url_args": {"team": team.slug},
    }
    codes = [warned.code for warned in trusted.warnings]
    ends = sum(code in _ENDS for code in codes)
    if trusted.authorities is not None and trusted.bundle is not None and ("none_valid" in codes or ends):
        critical = "none_valid" in codes
        number = f"{ends} of its {len(trusted.authorities)} authorities"
        verb = "is" if ends == 1 else "are"
        sentence = f"should be looked at: {number} {verb} out of {'its' if ends == 1 else 'their'} time or near the end of it."
        if critical:
            sentence = "holds no authority that is valid now: no server is trusted."
        yield Condition(
            kind=BUNDLE,
            subject=f"The trust bundle of the {label} environment",
            sentence=sentence,
            level=1000 if critical else ends,
            severity=Severity.CRITICAL if critical else Severity.WARNING,
            **where,
        )
    if trusted.changes:
        newest = trusted.changes[0]
        alike = certificates.issued_as_before(newest, trusted.shown)
        issuer = "the same issuer as the one before" if alike else "another issuer than the one before"
        yield Condition(
            kind=SERVER,
            subject=f"The server of the {label} environment",
            sentence=f"shows a new certificate since {london(newest.first_seen)}, from {issuer}, valid until "
            f"{london(newest.not_after)}. The trust bundle vouches for it.",
            level=int(newest.first_seen.timestamp()),
            severity=Severity.INFO if alike else Severity.WARNING,
            since=newest.first_seen,
            **where,
        )


KINDS = (
    Kind(
        BUNDLE,
        "Trust bundle ends",
        "trust bundle has authorities that end",
        "trust bundles have authorities that end",
        Severity.WARNING,
        "Ask whoever runs the portal to bring in the present CA bundle of MESH (see the README, Going live). Authorities that "
        "nobody needs any more can go with it; if they must stay, close this alert with that reason.",
        Role.MANAGER,
    ),
    Kind(
        SERVER,
        "Server certificate changed",
        "server of MESH shows another certificate",
        "servers of MESH show another certificate",
        Severity.WARNING,
        "MESH renews its certificates about once a year. Compare what the page of trust bundles shows with what NHS England "
        "announced; if nobody announced another issuer, ask the National Service Desk on 0300 303 5035. This closes by itself "
        "when the certificate has been shown for a week.",
        Role.MANAGER,
    ),
)
RULE = Rule("trust", (BUNDLE, SERVER), find)
