"""What was done to mailboxes on their way in and out, as words before their names."""

from __future__ import annotations

ACTIONS: dict[str, str] = {
    "mailbox.password_tried": "New password of a mailbox tried",
    "mailbox.closing": "Mailbox is being closed",
    "mailbox.kept_open": "Mailbox kept open",
    "mailbox.archived": "Mailbox closed for good",
    "onboarding.begun": "Onboarding begun",
    "onboarding.answered": "Step of an onboarding saved",
    "onboarding.went_live": "Onboarded mailbox went live",
    "onboarding.stopped": "Onboarding stopped",
}

BEFORE: dict[str, str] = {
    "mailbox.password_tried": "tried a new password that MESH did not take, for mailbox",
    "mailbox.closing": "began to close mailbox",
    "mailbox.kept_open": "decided to keep open mailbox",
    "mailbox.archived": "closed for good mailbox",
    "onboarding.begun": "began the",
    "onboarding.answered": "saved a step of the",
    "onboarding.went_live": "let the mailbox go live of the",
    "onboarding.stopped": "stopped the",
}
