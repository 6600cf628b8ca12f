from __future__ import annotations

from meshportal.notify.models.alert import Act, Alert, AlertEvent, Severity
from meshportal.notify.models.channel import Channel, Subscription, Transport
from meshportal.notify.models.delivery import Attempt, Delivery, Fold, Notice, Outcome, Purpose, Status, Turn

__all__ = [
    "Act",
    "Alert",
    "AlertEvent",
    "Attempt",
    "Channel",
    "Delivery",
    "Fold",
    "Notice",
    "Outcome",
    "Purpose",
    "Severity",
    "Status",
    "Subscription",
    "Transport",
    "Turn",
]
