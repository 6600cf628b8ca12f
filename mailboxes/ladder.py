"""The ladder of a certificate's last days: 90, 60, 30, 14 and 7 days before it lapses, then every day, until its replacement was
seen in use. A rung is crossed, not met on its day: a portal that was down for a week tells of the rung that it woke on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models.functions import Coalesce

from certificates.life import RUNGS
from certificates.models import ClientIdentity
from mailboxes import selectors
from mailboxes.models import Mailbox, Mode
from meshportal.accounts.models import Role
from meshportal.notify import selectors as alerts
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule
from meshportal.web.time import london

NAME = "certificate.expiry"
DAY = timedelta(days=1)

KIND = Kind(
    NAME,
    "Certificate lapses",
    "certificate lapses",
    "certificates lapse",
    Severity.WARNING,
    "Request a new certificate, add it, and choose it for each mailbox that uses this one. This goes on until each mailbox has "
    "signed in with its new one.",
    Role.MANAGER,
)


def rung(left: timedelta) -> int:
    """How far down the ladder: 0 above it, 1 from 90 days on, 5 from 7 days on, and one more with every day after that."""
    passed = sum(left <= height for height in RUNGS)
    return passed + max((RUNGS[-1] - left) // DAY, 0) if passed == len(RUNGS) else passed


def find(now: datetime) -> Iterator[Condition]:
    """Every certificate on the ladder that a mailbox still depends on.

    A mailbox depends on the certificate that it is set to, and on the one before until it has signed in with the new one: a
    certificate that was chosen and does not work is no replacement. Which it was, the open alert remembers.
    """
    users: dict[Any, list[Mailbox]] = defaultdict(list)
    boxes = {str(mailbox.pk): mailbox for mailbox in selectors.every_mailbox().exclude(mode=Mode.PAUSED)}
    for mailbox in boxes.values():
        if mailbox.identity_id is not None:
            users[mailbox.identity_id].append(mailbox)
    remembered = alerts.open_data(NAME)
    # An authority above it may end before it does.
    rows = ClientIdentity.objects.alias(lapses=Coalesce("effective_expiry", "not_after")).filter(lapses__lte=now + RUNGS[0])
    for identity in rows.select_related("team").defer("private_key", "certificate_pem"):
        using = users.get(identity.pk, [])
        waiting = [mailbox for mailbox in _earlier(remembered, identity, boxes) if not _in_use(mailbox)]
        if using or waiting:
            yield _condition(identity, using, waiting, now)


def _earlier(
    remembered: Mapping[str, Mapping[str, Any]], identity: ClientIdentity, boxes: Mapping[str, Mailbox]
) -> list[Mailbox]:
    known = remembered.get(str(identity.pk), {}).get("mailboxes", [])
    return [boxes[key] for key in known if key in boxes and boxes[key].identity_id != identity.pk]


def _in_use(mailbox: Mailbox) -> bool:
    """True when the mailbox has signed in with the settings that it has now."""
    return mailbox.last_handshake_at is not None and mailbox.handshake_revision == mailbox.revision


def _condition(identity: ClientIdentity, using: list[Mailbox], waiting: list[Mailbox], now: datetime) -> Condition:
    number = len(using) or len(waiting)
    boxes = f"{number:,} mailbox{'' if number == 1 else 'es'}"
    when = "lapsed" if identity.lapses_at <= now else "lapses"
    if using:
        sentence = f"{when} on {london(identity.lapses_at)}; {boxes} depend{'s' if number == 1 else ''} on it."
    else:
        sentence = f"{when} on {london(identity.lapses_at)}; {boxes} did not sign in with the new one yet."
    level = rung(identity.lapses_at - now)
    return Condition(
        kind=NAME,
        key=str(identity.pk),
        subject=f"Certificate “{identity.name}”",
        sentence=sentence,
        team=identity.team,
        level=level,
        severity=Severity.CRITICAL if level >= len(RUNGS) else Severity.WARNING,
        url_name="mailboxes:list",
        url_args={"team": identity.team.slug},
        url_query={"certificate": str(identity.pk)} if using else {},
        data={"mailboxes": sorted(str(mailbox.pk) for mailbox in (*using, *waiting))},
    )


RULE = Rule("certificate ladder", (NAME,), find)
