"""Quiet hours, on London clocks."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from meshportal.notify.models import Channel

_LONDON = ZoneInfo("Europe/London")


def london(moment: datetime) -> datetime:
    """``moment`` as London clocks show it."""
    return moment.astimezone(_LONDON)


def at(channel: Channel, now: datetime) -> bool:
    """True while the channel is told of critical alerts alone. From 20:00 until 07:00 goes over midnight."""
    first, last = channel.quiet_from, channel.quiet_until
    if first is None or last is None:
        return False
    clock = london(now).time().replace(tzinfo=None)
    return first <= clock < last if first <= last else clock >= first or clock < last
