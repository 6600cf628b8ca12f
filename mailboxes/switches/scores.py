"""How much each sign of a changed address weighs (domain notes c7).

A strong sign opens a case by itself. Medium ones add up, each kind once within :data:`WINDOW`: an outage brings many
reports of one kind, a switch brings several kinds. Weak ones never open a case without a medium one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

THRESHOLD = 100
CERTAIN, STRONG, MEDIUM, WEAK = 200, 100, 40, 10
WINDOW = timedelta(days=14)


@dataclass(frozen=True)
class Sign:
    """A kind of sign: what it weighs, and what it says of a practice."""

    score: int
    sentence: str

    @property
    def word(self) -> str:
        """How strong it is, in a word."""
        return {CERTAIN: "Certain", STRONG: "Strong", MEDIUM: "Medium"}.get(self.score, "Weak")


NOTICE = "notice"
LOOKUP_CHANGED, LOOKUP_EMPTY, LOOKUP_SEVERAL = "lookup_changed", "lookup_empty", "lookup_several"
REPORT_UNKNOWN, REPORT_DEACTIVATED = "report_12", "report_14_deactivated"
REPORT_WORKFLOW, REPORT_WORKFLOW_FIRST = "report_17", "report_17_first"
REPORT_SEVERAL, REPORT_NONE = "report_epl_150", "report_epl_151"

SIGNS: dict[str, Sign] = {
    NOTICE: Sign(CERTAIN, "Somebody was told of the switch."),
    LOOKUP_CHANGED: Sign(STRONG, "Endpoint lookup answers another mailbox than the address book has."),
    LOOKUP_EMPTY: Sign(STRONG, "Endpoint lookup answers no mailbox any more."),
    REPORT_UNKNOWN: Sign(STRONG, "A message came back: no such mailbox (code 12)."),
    REPORT_DEACTIVATED: Sign(STRONG, "A message came back: the mailbox is deactivated (code 14)."),
    REPORT_WORKFLOW: Sign(STRONG, "A message came back: a workflow that it took before is not taken any more (code 17)."),
    REPORT_NONE: Sign(STRONG, "A message came back: no mailbox fits (code EPL-151)."),
    "supplier_changed": Sign(STRONG, "The Spine directory names another supplier of the practice’s system."),
    LOOKUP_SEVERAL: Sign(MEDIUM, "Endpoint lookup answers several mailboxes where the address book has one."),
    REPORT_SEVERAL: Sign(MEDIUM, "A message came back: several mailboxes fit (code EPL-150)."),
    "ack_from_elsewhere": Sign(MEDIUM, "An acknowledgement came from another mailbox than the one that was addressed."),
    "workflow_list": Sign(MEDIUM, "The mailbox left, or joined, the daily list of a workflow."),
    "recipient_renamed": Sign(MEDIUM, "Tracking names another organisation for the same mailbox."),
    "slower_than_usual": Sign(MEDIUM, "Messages wait for longer than is usual for this mailbox."),
    "report_14": Sign(MEDIUM, "Several messages came back uncollected (code 14)."),
    "rejections": Sign(MEDIUM, "The practice’s system rejects more messages than before."),
    "ods_changed": Sign(MEDIUM, "The practice’s ODS record changed: closed, succeeded, or a role ended."),
    REPORT_WORKFLOW_FIRST: Sign(WEAK, "A message came back: a workflow that was never taken is not taken (code 17)."),
}


def enough(kinds: set[str]) -> bool:
    """Whether signs of these kinds open a case together."""
    scores = [SIGNS[kind].score for kind in kinds]
    return max(scores, default=0) > WEAK and sum(scores) >= THRESHOLD
