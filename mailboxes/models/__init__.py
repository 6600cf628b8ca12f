from __future__ import annotations

from mailboxes.models.address import (
    AddressAnswer,
    AddressChange,
    AddressEntry,
    AddressPair,
    LookupPace,
    WorkflowDifference,
    WorkflowSearch,
)
from mailboxes.models.bulk import Examination, ExaminationRow, Finding, MailboxImport
from mailboxes.models.client import ClientImport, ClientMailbox
from mailboxes.models.declared_workflow import DeclaredWorkflow
from mailboxes.models.mailbox import Mailbox, Mode
from mailboxes.models.onboarding import Onboarding
from mailboxes.models.organisation import Organisation
from mailboxes.models.outlet import Channel, Outlet
from mailboxes.models.roll_over import RollOver, RollOverRow
from mailboxes.models.switch import CaseAddress, CaseEvent, CaseTick, Evidence, Release, Suppression, SwitchCase
from mailboxes.models.watched_folder import WatchedFolder

__all__ = [
    "AddressAnswer",
    "AddressChange",
    "AddressEntry",
    "AddressPair",
    "CaseAddress",
    "CaseEvent",
    "CaseTick",
    "Channel",
    "ClientImport",
    "ClientMailbox",
    "DeclaredWorkflow",
    "Evidence",
    "Examination",
    "ExaminationRow",
    "Finding",
    "LookupPace",
    "Mailbox",
    "MailboxImport",
    "Mode",
    "Onboarding",
    "Organisation",
    "Outlet",
    "Release",
    "RollOver",
    "RollOverRow",
    "Suppression",
    "SwitchCase",
    "WatchedFolder",
    "WorkflowDifference",
    "WorkflowSearch",
]
