"""Rules about messages. They say how many and in which mailbox: never which patient, and nothing that a sender wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Max, Min

from mailboxes import selectors as mailboxes
from mailboxes.models import Mailbox, SwitchCase
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule, register_kind, register_rule
from meshportal.web.time import london
from messages import holds, trouble
from messages.filters import ACKS_REJECTED, NOT_HANDED_ON
from messages.models import FolderPickup, Handed, HandOver, Hold, Message, MessageType
from messages.states import State

QUARANTINED, WAITING, REPORTS = "message.quarantined", "message.waiting", "message.report"
HELD = "message.held"
REJECTED, GIVEN_UP, NEVER_QUEUED = "message.rejected", "message.given_up", "message.never_queued"
_SENT_KINDS = {
    State.UNCERTAIN: "message.uncertain",
    State.RETURNED: "message.returned",
    State.EXPIRED: "message.expired",
    State.REFUSED: "message.refused",
}
_SENT_WORDS = {
    State.UNCERTAIN: "of which nobody knows whether MESH accepted {it}.",
    State.RETURNED: "that came back: the recipient does not have {it}.",
    State.EXPIRED: "that nobody collected within 5 days.",
    State.REFUSED: "that MESH did not take.",
}
# MESH API specification, Message expiration: the inbox lets go of a message after 5 days. Three warnings, and the end.
AGES = tuple(timedelta(days=days) for days in (3, 4, 4.6, 5))


def register() -> None:
    """Makes the kinds and rules of this module known."""
    for kind in KINDS:
        register_kind(kind)
    for rule in RULES:
        register_rule(rule)


def quarantined(now: datetime) -> Iterator[Condition]:
    """Messages that could not be stored."""
    for mailbox, row in _by_mailbox(trouble.quarantined(_every())):
        one = row["number"] == 1
        leaves = row["oldest"] + Message.INBOX_LIFE
        word = "left" if leaves <= now else "leaves"
        sentence = f"has {row['number']:,} message{'' if one else 's'} that could not be stored. "
        sentence += f"{'It' if one else 'The oldest'} {word} the MESH inbox on {london(leaves)}."
        yield _about(mailbox, QUARANTINED, sentence, "messages:inbox", {"state": State.QUARANTINED.value}, row["newest"])


def waiting(now: datetime) -> Iterator[Condition]:
    """Messages that grow old in the inbox, whoever should collect them."""
    for mailbox, row in _by_mailbox(trouble.waiting(_every(), now)):
        level = sum(now - row["oldest"] >= age for age in AGES)
        if not level:
            continue
        leaves = row["oldest"] + Message.INBOX_LIFE
        over = level == len(AGES)
        sentence = f"has a message that {'left' if over else 'leaves'} the MESH inbox on {london(leaves)}"
        sentence += ": only the National Service Desk can put it back." if over else " unless somebody collects it."
        yield Condition(
            kind=WAITING,
            key=str(mailbox.pk),
            subject=str(mailbox),
            sentence=sentence,
            team=mailbox.team,
            level=level,
            severity=Severity.WARNING if level == 1 else Severity.CRITICAL,
            **mailboxes.link_to(mailbox, "messages:inbox"),
        )


def sent(now: datetime) -> Iterator[Condition]:
    """Sent messages that did not arrive, or of which that is not known."""
    for mailbox, row in _by_mailbox(trouble.sent(_every(), now)):
        state, number = State(row["state"]), row["number"]
        words = _SENT_WORDS[state].format(it="it" if number == 1 else "them")
        sentence = f"sent {number:,} message{'' if number == 1 else 's'} {words}"
        query = {"state": state.value}
        yield _about(mailbox, _SENT_KINDS[state], sentence, "messages:mailbox-outbox", query, row["newest"])


def reports(now: datetime) -> Iterator[Condition]:
    """Non-delivery reports that no message of the portal's own stands for."""
    for mailbox, row in _by_mailbox(trouble.reports(_every(), now)):
        sentence = (
            "has a non-delivery report: a message that was sent did not reach its recipient."
            if row["number"] == 1
            else f"has {row['number']:,} non-delivery reports: messages that were sent did not reach their recipients."
        )
        yield _about(mailbox, REPORTS, sentence, "messages:inbox", {"type": MessageType.REPORT.value}, row["newest"])


def rejected(now: datetime) -> Iterator[Condition]:
    """Acknowledgements in which the recipient's system says no."""
    rows = trouble.rejected(_every(), now).order_by().values("mailbox_id")
    for mailbox, row in _by_mailbox(rows.annotate(number=Count("pk"), newest=Max("seen_at"))):
        sentence = f"has {_some(row['number'], 'acknowledgement')} in which the recipient’s system rejects a message."
        yield _about(mailbox, REJECTED, sentence, "messages:inbox", {"type": ACKS_REJECTED}, row["newest"])


def given_up(now: datetime) -> Iterator[Condition]:
    """Received messages that their consumer does not have, and will not get by itself."""
    rows = HandOver.objects.filter(state=Handed.FAILED).order_by().values(mailbox_id=F("outlet__mailbox_id"))
    for mailbox, row in _by_mailbox(rows.annotate(number=Count("message_id", distinct=True), newest=Max("updated_at"))):
        sentence = f"has {_some(row['number'], 'message')} that could not be handed on."
        yield _about(mailbox, GIVEN_UP, sentence, "messages:inbox", {"handed": NOT_HANDED_ON}, row["newest"])


def never_queued(now: datetime) -> Iterator[Condition]:
    """Documents of watched folders that became no message: no other page knows of them."""
    failed = FolderPickup.objects.filter(sent=False, message__isnull=True, ended_at__gt=now - trouble.CAME_BACK)
    rows = failed.order_by().values("mailbox_id").annotate(number=Count("pk"), newest=Max("ended_at"))
    for mailbox, row in _by_mailbox(rows):
        were = "was" if row["number"] == 1 else "were"
        sentence = f"has {_some(row['number'], 'document')} in FAILED of its folder that {were} not sent."
        yield _about(mailbox, NEVER_QUEUED, sentence, "mailboxes:detail", {}, row["newest"])


def held(now: datetime) -> Iterator[Condition]:
    """Messages that a switch has held for longer than a day: nothing is held for ever."""
    open_ones = Hold.objects.filter(ended_at__isnull=True, message__state=State.ON_HOLD).order_by()
    found = {row["case_id"]: row for row in open_ones.values("case_id").annotate(number=Count("pk"), oldest=Min("since"))}
    for case in SwitchCase.objects.filter(pk__in=found).select_related("team", "organisation"):
        row = found[case.pk]
        age = now - row["oldest"]
        if age < holds.TOLD_AFTER:
            continue
        yield Condition(
            kind=HELD,
            key=str(case.pk),
            subject=f"The switch of {case.ods_code}",
            sentence=f"holds {_some(row['number'], 'message')}, the oldest since {london(row['oldest'])}.",
            team=case.team,
            # Told again every day.
            level=age // holds.TOLD_AFTER,
            url_name="switches:case",
            url_args={"team": case.team.slug, "pk": str(case.pk)},
            since=row["oldest"],
        )


def _some(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def _every() -> Any:
    return Message.objects.filter(mailbox__in=Mailbox.objects.order_by().values("pk"))


def _by_mailbox(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mailbox, Mapping[str, Any]]]:
    found = list(rows)
    boxes = {mailbox.pk: mailbox for mailbox in mailboxes.every_mailbox()} if found else {}
    for row in found:
        if row["mailbox_id"] in boxes:
            yield boxes[row["mailbox_id"]], row


def _about(mailbox: Mailbox, kind: str, sentence: str, url_name: str, query: dict[str, str], newest: datetime) -> Condition:
    return Condition(
        kind=kind,
        key=str(mailbox.pk),
        subject=str(mailbox),
        sentence=sentence,
        team=mailbox.team,
        # One more is news, however many there are already.
        level=int(newest.timestamp()),
        url_query=query,
        **mailboxes.link_to(mailbox, url_name),
    )


KINDS = (
    Kind(
        QUARANTINED,
        "Message could not be stored",
        "mailbox has messages that could not be stored",
        "mailboxes have messages that could not be stored",
        Severity.WARNING,
        "Open the message to see why, then retry it.",
    ),
    Kind(
        WAITING,
        "Message waits too long",
        "mailbox has a message that waits too long",
        "mailboxes have messages that wait too long",
        Severity.WARNING,
        "Find out why it is not collected. Until 30 days after the sending the National Service Desk can put it back.",
    ),
    Kind(
        _SENT_KINDS[State.UNCERTAIN],
        "Sent message needs a decision",
        "mailbox sent messages that need a decision",
        "mailboxes sent messages that need a decision",
        Severity.WARNING,
        "The portal does not send it again by itself. Find out from the recipient, then decide.",
    ),
    Kind(
        _SENT_KINDS[State.RETURNED],
        "Sent message returned",
        "mailbox has messages that came back",
        "mailboxes have messages that came back",
        Severity.WARNING,
        "See why MESH returned it, and what to do about it.",
    ),
    Kind(
        _SENT_KINDS[State.EXPIRED],
        "Sent message not collected",
        "mailbox sent messages that nobody collected",
        "mailboxes sent messages that nobody collected",
        Severity.WARNING,
        "Ask the recipient why. The service desk can put it back until 30 days after the sending.",
    ),
    Kind(
        _SENT_KINDS[State.REFUSED],
        "Sent message refused",
        "mailbox sent messages that MESH did not take",
        "mailboxes sent messages that MESH did not take",
        Severity.WARNING,
        "See why, and send it again when the cause is mended.",
    ),
    Kind(
        REPORTS,
        "Non-delivery report",
        "mailbox has non-delivery reports",
        "mailboxes have non-delivery reports",
        Severity.WARNING,
        "The report says why and what to do.",
    ),
    Kind(
        REJECTED,
        "Message rejected by the recipient’s system",
        "mailbox has messages that the recipient’s system rejected",
        "mailboxes have messages that recipients’ systems rejected",
        Severity.WARNING,
        "See why, and reach the recipient another way if it matters.",
    ),
    Kind(
        GIVEN_UP,
        "Message not handed on",
        "mailbox has messages that could not be handed on",
        "mailboxes have messages that could not be handed on",
        Severity.WARNING,
        "Open the message to see why, then hand it on again.",
    ),
    Kind(
        NEVER_QUEUED,
        "Document of a folder not sent",
        "mailbox has documents in its folder that were not sent",
        "mailboxes have documents in their folders that were not sent",
        Severity.WARNING,
        "The control file beside it says why.",
    ),
    Kind(
        HELD,
        "Messages held for long",
        "switch has held messages for more than a day",
        "switches have held messages for more than a day",
        Severity.WARNING,
        "Open the case. Release them once the new address is known, or send what is urgent another way.",
    ),
)
RULES = (
    Rule("messages that could not be stored", (QUARANTINED,), quarantined),
    Rule("messages that wait", (WAITING,), waiting),
    Rule("sent messages", tuple(_SENT_KINDS.values()), sent),
    Rule("reports", (REPORTS,), reports),
    Rule("rejections", (REJECTED,), rejected),
    Rule("messages that were not handed on", (GIVEN_UP,), given_up),
    Rule("documents of folders", (NEVER_QUEUED,), never_queued),
    Rule("messages that a switch holds", (HELD,), held),
)
