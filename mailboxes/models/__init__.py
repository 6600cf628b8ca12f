from __future__ import annotations

from mailboxes.models.bulk import Examination, ExaminationRow, Finding, MailboxImport
from mailboxes.models.mailbox import Mailbox, Mode
from mailboxes.models.organisation import Organisation
from mailboxes.models.outlet import Channel, Outlet
from mailboxes.models.roll_over import RollOver, RollOverRow
from mailboxes.models.switch import CaseAddress, CaseEvent, CaseTick, Evidence, Release, Suppression, SwitchCase
from mailboxes.models.watched_folder import WatchedFolder

__all__ = [
    "CaseAddress",
    "CaseEvent",
    "CaseTick",
    "Channel",
    "Evidence",
    "Examination",
    "ExaminationRow",
    "Finding",
    "Mailbox",
    "MailboxImport",
    "Mode",
    "Organisation",
    "Outlet",
    "Release",
    "RollOver",
    "RollOverRow",
    "Suppression",
    "SwitchCase",
    "WatchedFolder",
]
