"""What the sender's and the receiver's side have to see to in a switch (domain notes c4, c8)."""

from __future__ import annotations

SENDER: tuple[tuple[str, str], ...] = (
    ("sender-dates", "The dates are confirmed with the practice and its ICB, in writing."),
    (
        "sender-systems",
        "Every workflow and every system that holds the address is listed: LIMS and EDI tables, ICE, PAS or EPR, "
        "Docman, Rhapsody or Mirth.",
    ),
    ("sender-gap", "It is decided whether to hold or to send in the gap between links off and links on."),
    ("sender-tables", "All tables are changed: the mailbox ID, and the 15-digit partner code where EDIFACT is sent."),
    ("sender-first", "The first live message was watched up to the practice’s own acknowledgement."),
    ("sender-risk", "Messages sent to the old address in the last 5 and 30 days were swept."),
    ("sender-resent", "What nobody collected was sent again."),
    ("sender-restore", "The National Service Desk was asked to restore what the portal no longer holds."),
    ("sender-counts", "The numbers before and after the switch were compared."),
    ("sender-sign-off", "A second person has signed it off."),
)
RECEIVER: tuple[tuple[str, str], ...] = (
    ("receiver-told", "Trusts, laboratories, PCSE, 111 and out of hours, screening and document tools are told."),
    ("receiver-form", "PCSE has its form with links off, links on and the new MESH address, two weeks before."),
    ("receiver-drained", "The old inbox is empty before links go off."),
    ("receiver-watched", "The old mailbox stays watched for 30 days."),
    ("receiver-result", "One result from each main sender has arrived."),
    ("receiver-letter", "One letter from each main sender has arrived."),
)
POINTS: dict[str, str] = dict((*SENDER, *RECEIVER))
