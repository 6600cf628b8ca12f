"""The dead-man's ping: while the portal works it calls an address elsewhere, which warns when the calls stop."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.conf import settings

from meshportal.notify import turns
from meshportal.notify.transports import Failed, web

log = structlog.get_logger("notify.deadman")

EVERY = timedelta(minutes=1)


def run_due() -> bool:
    """Calls MESHPORTAL_DEADMAN_URL, when it is set and a call is due. True when one was made and taken."""
    if not settings.DEADMAN_URL:
        return False
    with turns.taken("deadman", every=EVERY) as mine:
        if not mine:
            return False
        try:
            web.post(settings.DEADMAN_URL, b"")
        except Failed as failed:
            # Who waits for the call will say so; the address is a secret.
            log.warning("deadman_not_reached", problem=str(failed))
            return False
    return True
