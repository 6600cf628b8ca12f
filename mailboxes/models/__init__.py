from __future__ import annotations

from mailboxes.models.mailbox import Mailbox, Mode
from mailboxes.models.organisation import Organisation

__all__ = ["Mailbox", "Mode", "Organisation"]
