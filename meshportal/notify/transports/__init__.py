"""The ways out: each takes a channel's configuration and a message's content, and returns or raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshportal.notify.models import Transport
from meshportal.notify.transports import mail, slack, teams, webhook
from meshportal.notify.transports.failure import Failed

__all__ = ["Failed", "send"]

Send = Callable[[Mapping[str, Any], Mapping[str, Any], str], None]
_WAYS: dict[str, Send] = {
    Transport.EMAIL: mail.send,
    Transport.TEAMS: teams.send,
    Transport.SLACK: slack.send,
    Transport.WEBHOOK: webhook.send,
}


def send(transport: str, config: Mapping[str, Any], content: Mapping[str, Any], key: str) -> None:
    """Sends ``content``; ``key`` is the same for every try of a message. Raises :class:`Failed`."""
    _WAYS[transport](config, content, key)
