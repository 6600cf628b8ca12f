"""The expiry calendar for calendar programs, at a secret address: they can subscribe to an address, and cannot sign in.

| what goes wrong | what stands, and what happens then |
|---|---|
| two people make an address at once, or a form is sent twice | one address; the second is told to look again |
| an address gets into wrong hands | a manager replaces or ends it; the old one is 404 from then on |
| the database gets into wrong hands | it holds a hash; the secret part is 256 random bits |
| somebody guesses | 404, whether there ever was such an address or not; one look at an index |
| a program asks all the time | the same few queries each time; one row is written once an hour at most |
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import Http404
from django.urls import reverse
from django.utils import timezone

from certificates import lapsing
from certificates.life import DAILY_RUNGS, RUNGS
from certificates.models import CalendarAddress
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core import icalendar
from meshportal.core.acts import Refused
from meshportal.web.time import london

EVERY = timedelta(hours=6)
_NOTED_EVERY = timedelta(hours=1)
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST_NAMED = 10
_MOVED_ON = "Somebody else changed the address meanwhile. Look at where it stands now."


def make_address(*, actor: Actor, team: Team, standing: str) -> str:
    """A new secret address for ``team``, in place of the one that it has; its secret part, which is not kept.

    ``standing`` is the id of the address that the person saw, '' for none. Raises Refused when it is another one by now.
    """
    secret = secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            before = _locked(team, standing)
            if before is not None:
                before.delete()
            made = CalendarAddress.objects.create(team=team, token_hash=_hash(secret), made_by=_name(actor))
            action = "calendar_address.made" if before is None else "calendar_address.replaced"
            audit.record(actor=actor, action=action, target=made, team=team)
    except IntegrityError:
        raise Refused(_MOVED_ON) from None
    return secret


def end_address(*, actor: Actor, team: Team, standing: str) -> None:
    """Ends the address ``standing``: whoever has it gets nothing from now on. Raises Refused when it is another one by now."""
    with transaction.atomic():
        found = _locked(team, standing)
        if found is None:
            raise Refused("There is no address to end.")
        audit.record(actor=actor, action="calendar_address.ended", target=found, team=team)
        found.delete()


def address_of(team: Team) -> CalendarAddress | None:
    """The team's address, without its secret part."""
    return CalendarAddress.objects.filter(team=team).first()


def team_or_404(secret: str) -> Team:
    """The team whose address has this secret part. Raises Http404 for every other text."""
    if not _SECRET.fullmatch(secret):
        raise Http404
    # Found by the hash: how long that takes says nothing about the secret.
    found = CalendarAddress.objects.select_related("team").filter(token_hash=_hash(secret)).first()
    if found is None:
        raise Http404
    now = timezone.now()
    if found.fetched_at is None or found.fetched_at <= now - _NOTED_EVERY:
        unnoted = Q(fetched_at__isnull=True) | Q(fetched_at__lte=now - _NOTED_EVERY)
        CalendarAddress.objects.filter(unnoted, pk=found.pk).update(fetched_at=now)
    return found.team


def lines(team: Team, now: datetime) -> Iterator[str]:
    """The calendar as a file: what the page shows, without anything that the portal keeps sealed."""
    found = lapsing.calendar(team, now)
    return icalendar.lines(
        name=f"MESH certificates of {team.name}",
        description="When the client certificates of the team’s mailboxes lapse. From meshportal.",
        events=[_event(team, lapse) for lapse in (*found.lapsed, *found.coming)],
        now=now,
        every=EVERY,
    )


def _event(team: Team, lapse: lapsing.Lapse) -> icalendar.Event:
    identity = lapse.identity
    page = reverse("certificates:detail", kwargs={"team": team.slug, "pk": identity.pk})
    named = ", ".join(str(user) for user in lapse.users[:_MOST_NAMED])
    more = len(lapse.users) - _MOST_NAMED
    return icalendar.Event(
        uid=f"certificate-{identity.pk}@meshportal",
        at=lapse.at,
        summary=f"Certificate “{identity.name}” lapses ({identity.get_environment_display()})",
        description="\n".join(
            [
                f"It can be used until {london(lapse.at)}.",
                f"Common name: {identity.subject_cn}",
                f"Mailboxes that use it: {f'{named} and {more} more' if more > 0 else named or 'none'}",
                f"Replacement: {_successor(lapse.successor)}",
            ]
        ),
        # Like the portal's own warnings: of a certificate that a mailbox depends on.
        reminders=(*RUNGS, *DAILY_RUNGS) if lapse.users else (),
        url=f"{settings.PUBLIC_URL}{page}" if settings.PUBLIC_URL else "",
    )


def _successor(successor: lapsing.Successor) -> str:
    if successor.identity is not None:
        return f"“{successor.identity.name}”, {successor.word.lower()}"
    if successor.asked is not None:
        return f"requested on {london(successor.asked.created_at)}, not received yet"
    return successor.word.lower()


def _locked(team: Team, standing: str) -> CalendarAddress | None:
    found = CalendarAddress.objects.select_for_update(of=("self",)).select_related("team").filter(team=team).first()
    if standing != ("" if found is None else str(found.pk)):
        raise Refused(_MOVED_ON)
    return found


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _name(actor: Actor) -> str:
    return actor.label.partition(" <")[0][:150]
