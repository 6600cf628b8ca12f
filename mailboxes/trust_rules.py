"""Rules about whom the portal trusts: authorities in a trust bundle that end, and a server whose certificate changed.

A trust bundle belongs to an environment and not to a team; each team that works mailboxes there has an alert of its own, so that
each can acknowledge it. No name out of a certificate stands in a sentence: it leaves the portal by mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    found = _of_bundle([warned.code for warned in trusted.warnings])
    if found is not None:
        sentence, severity, level = found
        subject = f"The trust bundle of the {label} environment"
        yield Condition(kind=BUNDLE, subject=subject, sentence=sentence, level=level, severity=severity, **where)
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


def _of_bundle(codes: Sequence[str]) -> tuple[str, Severity, int] | None:
    """What is said of a bundle, how bad it is, and its level; None for nothing."""
    if "none_valid" in codes:
        return "holds no authority that is valid now: no server is trusted.", Severity.CRITICAL, 1000
    expired = sum(code.endswith("_expired") for code in codes)
    soon = sum(code.endswith("_ends_soon") for code in codes)
    needed = any(code.startswith("server_issuer_") for code in codes)
    if not expired and not soon and not needed:
        return None
    parts = [f"{expired} that expired"] if expired else []
    parts += [f"{soon} that end{'s' if soon == 1 else ''} within 30 days"] if soon else []
    words = " and ".join(parts) or "some that are not valid yet"
    # The CA bundle of MESH itself holds its old generation: what expired and is not needed is for information.
    severity = Severity.WARNING if soon or needed else Severity.INFO
    more = " The server’s present certificate depends on one of them." if needed else ""
    return f"holds authorities to look at: {words}.{more}", severity, soon + 2 * expired + 500 * needed


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
        "Servers’ certificates are renewed from time to time, mostly by the same issuer. Compare what the page of trust bundles "
        "shows with what NHS England announced; if nobody announced another issuer, ask the National Service Desk on "
        "0300 303 5035. This closes by itself when the certificate has been shown for a week.",
        Role.MANAGER,
    ),
)
RULE = Rule("trust", (BUNDLE, SERVER), find)
