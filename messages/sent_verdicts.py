"""What became of a message that one of our mailboxes sent. :mod:`messages.verdicts` has the received ones.

Each says how far the letter came: with us, on its way, with MESH, with a client of the recipient, or back.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from mailboxes.models import Mode
from messages.models import Message, MessageEvent
from messages.states import State
from messages.words import DESK, Said, moment, plain, recoverable, returned_because

_WITH_NOBODY = "The recipient does not have the letter or result in it."
# Longer than this in the recipient's inbox is worth a question.
_LONG = timedelta(days=1)


def _queued(message: Message, _since: MessageEvent | None) -> Said:
    means = f"Nothing of it has reached MESH. {_WITH_NOBODY}"
    if message.mailbox.mode == Mode.PAUSED:
        do = "Ask a manager of your team to take the mailbox up again; or cancel the message, and send it another way."
        return (
            "Waiting to be sent, and nothing will send it: the mailbox is paused.",
            [("What it means", means), ("What to do", do)],
        )
    if not message.problem:
        return "Waiting to be sent. The portal sends it as soon as it can; nothing of it has reached MESH yet.", []
    again = f" The portal tries again at {moment(message.outgoing.due_at)}." if message.outgoing.due_at else ""
    tries = "1 try has" if message.outgoing.tries == 1 else f"{message.outgoing.tries} tries have"
    return (
        f"Waiting to be sent. {tries} not succeeded.{again}",
        [("What happened", message.problem), ("What it means", means), ("What to do", message.problem_advice)],
    )


def _on_hold(_message: Message, since: MessageEvent | None) -> Said:
    when = f" since {moment(since.at)}" if since else ""
    return (
        f"Held in the portal{when}: the recipient’s practice is changing its MESH address.",
        [
            ("What it means", f"Nothing of it has reached MESH. {_WITH_NOBODY}"),
            (
                "What to do",
                "Open the practice’s case under Switches and see what it waits for. The message goes on when one person asked "
                "for its release and another agreed. If it is urgent, send it another way and cancel it here.",
            ),
        ],
    )


def _sending(_message: Message, _since: MessageEvent | None) -> Said:
    return "On its way to MESH now: the portal waits for the answer of MESH.", []


def _uploading(message: Message, _since: MessageEvent | None) -> Said:
    done, total = message.outgoing.next_chunk - 1, message.outgoing.chunk_total
    paused = message.mailbox.mode == Mode.PAUSED
    return (
        f"Partly sent: MESH has {done} of {total} chunks. "
        + ("Nothing sends the rest: the mailbox is paused." if paused else "The portal sends the rest by itself."),
        [
            ("What happened", message.problem),
            ("What it means", "The recipient sees nothing of the message until MESH has all of it."),
            (
                "What to do",
                "Ask a manager of your team to take the mailbox up again." if paused else message.problem_advice,
            ),
        ],
    )


def _accepted(message: Message, _since: MessageEvent | None) -> Said:
    when = f" on {moment(message.sent_at)}" if message.sent_at else ""
    late = timezone.now() - message.arrived_at > _LONG
    looked = message.outgoing.looked_at
    if message.mailbox.mode == Mode.PAUSED:
        asked = "The portal does not ask MESH what became of it: the mailbox is paused."
    else:
        asked = f"The portal last asked MESH on {moment(looked)}." if looked else "The portal has not asked MESH about it yet."
    return (
        f"Accepted by MESH{when}. No client of {_recipient(message)} has collected it yet.",
        [
            ("What it means", f"The letter or result waits in the recipient’s inbox; nobody has it yet. {asked}"),
            (
                "What to do",
                f"Ask whoever runs {_recipient(message)} why it has not been collected. It leaves the inbox on "
                f"{moment(message.leaves_inbox_at)}."
                if late
                else "",
            ),
        ],
    )


def _collected(message: Message, _since: MessageEvent | None) -> Said:
    when = f" on {moment(message.acknowledged_at)}" if message.acknowledged_at else ""
    return (
        f"Collected by a client of {_recipient(message)}{when}. That does not say that a person has read it.",
        [],
    )


def _returned(message: Message, since: MessageEvent | None) -> Said:
    at = message.status_at or (since.at if since else None)
    when = f" on {moment(at)}" if at else ""
    why, advice = returned_because(message)
    return (
        f"Returned by MESH{when}: {_recipient(message)} does not have it.",
        [
            ("What happened", why),
            ("What it means", "The letter or result in it has not reached its recipient."),
            ("What to do", advice),
            ("Who can help", _who(message, restorable=recoverable(message))),
        ],
    )


def _expired(message: Message, _since: MessageEvent | None) -> Said:
    restorable = message.deleted_at > timezone.now()
    return (
        f"Not collected within 5 days. It left the inbox of {_recipient(message)} on {moment(message.leaves_inbox_at)}.",
        [
            ("What it means", "The letter or result in it has not reached its recipient."),
            (
                "What to do",
                f"Ask whoever runs {_recipient(message)} why it was not collected. MESH keeps the message until "
                f"{moment(message.deleted_at)}: until then it can be put back into the inbox."
                if restorable
                else "MESH has deleted it by now. Ask the recipient why it was not collected, then send the document again.",
            ),
            ("Who can help", _who(message, restorable=restorable)),
        ],
    )


def _refused(message: Message, _since: MessageEvent | None) -> Said:
    return (
        "Refused: it was not sent, and the portal does not try again.",
        [
            ("What happened", message.problem or "MESH refused the message."),
            ("What it means", _WITH_NOBODY),
            ("What to do", message.problem_advice),
        ],
    )


def _uncertain(message: Message, since: MessageEvent | None) -> Said:
    why = str(since.detail.get("why", "")) if since else ""
    when = f" on {moment(since.at)}" if since else ""
    outgoing = message.outgoing
    asking = outgoing.own_local_id and outgoing.due_at is not None and message.mailbox.mode != Mode.PAUSED
    do = (
        f"The portal asks MESH by the local ID and will ask again on {moment(outgoing.due_at)}. If that is too late, ask the "
        "recipient, and decide below."
        if asking and outgoing.due_at
        else "MESH cannot be asked, or could not say. Ask the recipient whether it came, then decide below."
    )
    return (
        f"We do not know whether MESH accepted this message: the portal tried to send it{when}, and no answer came.",
        [
            ("What happened", why),
            (
                "What it means",
                "The recipient may have the letter or result, or may not. The portal sends it again by itself only when MESH "
                "says, several times, that it has no such message: they might otherwise have it twice.",
            ),
            ("What to do", do),
            ("Who can help", f"Whoever runs {_recipient(message)}; or {DESK}: quote the local ID and the time."),
        ],
    )


def _cancelled(_message: Message, since: MessageEvent | None) -> Said:
    who = f"{since.actor_label} cancelled it on {moment(since.at)}" if since else "A person cancelled it"
    return (
        f"{who}, before anything of it was sent.",
        [("Reason", _reason(since)), ("What it means", _WITH_NOBODY)],
    )


def _confirmed(_message: Message, since: MessageEvent | None) -> Said:
    if since is not None and since.kind in ("ack_received", "ack_rejected"):
        return (
            f"The answer of MESH never came, but the recipient’s system answered: that was seen on {moment(since.at)}.",
            [("What it means", "The message arrived. The portal has no message ID for it, so MESH cannot be asked about it.")],
        )
    who = f"{since.actor_label} decided on {moment(since.at)}" if since else "A person decided"
    return (
        f"The answer of MESH never came. {who} that it arrived.",
        [
            ("Reason", _reason(since)),
            ("What it means", "The portal has no message ID for it, so MESH cannot be asked what became of it."),
        ],
    )


def _recipient(message: Message) -> str:
    return f"mailbox {plain(message.recipient_mailbox)}" if message.recipient_mailbox else "the recipient’s mailbox"


def _who(message: Message, *, restorable: bool) -> str:
    put_back = " can put it back into the inbox" if restorable else ""
    return f"{DESK[:1].upper()}{DESK[1:]}{put_back}: quote the message ID, {plain(message.mesh_id)}."


def _reason(since: MessageEvent | None) -> str:
    return str(since.detail.get("reason", "")) if since else ""


VERDICTS: dict[str, Callable[[Message, MessageEvent | None], Said]] = {
    State.QUEUED: _queued,
    State.ON_HOLD: _on_hold,
    State.SENDING: _sending,
    State.UPLOADING: _uploading,
    State.ACCEPTED: _accepted,
    State.COLLECTED: _collected,
    State.RETURNED: _returned,
    State.EXPIRED: _expired,
    State.REFUSED: _refused,
    State.UNCERTAIN: _uncertain,
    State.CANCELLED: _cancelled,
    State.CONFIRMED: _confirmed,
}
