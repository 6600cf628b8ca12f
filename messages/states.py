"""The states of a message and the ways between them: one table, mirrored by a database constraint."""

from __future__ import annotations

from django.db import models


class Direction(models.TextChoices):
    IN = "in", "Received"
    OUT = "out", "Sent"


class State(models.TextChoices):
    """Where a message stands: received ones first, then sent ones. No state is called "delivered" (promise P6)."""

    LISTED = "listed", "Waiting to be downloaded"
    STORED = "stored", "Stored, not yet acknowledged"
    ACKNOWLEDGED = "acknowledged", "Stored and acknowledged"
    QUARANTINED = "quarantined", "Needs a person"
    DISCARDING = "discarding", "To be acknowledged without keeping"
    DISCARDED = "discarded", "Acknowledged without keeping"
    GONE = "gone", "Gone before it could be stored"
    WATCHED = "watched", "In the inbox (watched)"
    LEFT = "left", "Left the inbox"

    QUEUED = "queued", "Waiting to be sent"
    ON_HOLD = "on_hold", "Held for a system switch"
    SENDING = "sending", "Being sent"
    UPLOADING = "uploading", "Partly sent"
    ACCEPTED = "accepted", "Accepted by MESH, not yet collected"
    COLLECTED = "collected", "Collected by a client"
    RETURNED = "returned", "Returned by MESH"
    EXPIRED = "expired", "Not collected within 5 days"
    REFUSED = "refused", "Refused, not sent"
    UNCERTAIN = "uncertain", "Needs a decision"
    CANCELLED = "cancelled", "Cancelled before it was sent"
    CONFIRMED = "confirmed", "Arrived, as was confirmed"


# What each state means, in the words of the "What does this mean?" disclosure.
MEANINGS: dict[str, str] = {
    State.LISTED: "MESH lists this message. The portal has not downloaded it yet, or will try again.",
    State.STORED: "The portal holds the whole message. It has not yet told MESH, which still lists it.",
    State.ACKNOWLEDGED: "The portal holds the whole message and has told MESH so. MESH has removed it from the inbox.",
    State.QUARANTINED: (
        "The portal tried several times and could not store this message. It is still in the MESH inbox; other "
        "messages are not held up by it."
    ),
    State.DISCARDING: "A person decided to acknowledge this message without keeping it. That happens at the next poll.",
    State.DISCARDED: "A person decided to acknowledge this message without keeping it, and MESH has removed it.",
    State.GONE: "MESH no longer offers this message, and the portal never held its body.",
    State.WATCHED: "The message is in the inbox of a watched mailbox. Its own client is expected to collect it.",
    State.LEFT: (
        "The message is no longer in the inbox of a watched mailbox: some client collected it, or MESH withdrew it after 5 days."
    ),
    State.QUEUED: "The portal holds the message and will send it as soon as it can. Nothing has reached MESH yet.",
    State.ON_HOLD: (
        "The recipient’s practice is changing its address. The portal holds the message until two people have agreed where it is "
        "to go. Nothing has reached MESH."
    ),
    State.SENDING: "The first request is on its way to MESH, or its answer is awaited.",
    State.UPLOADING: "MESH has accepted the message, and parts of it are still to be sent. The recipient does not see it yet.",
    State.ACCEPTED: "MESH has the whole message. No client of the recipient's mailbox has collected it yet.",
    State.COLLECTED: (
        "A client of the recipient's mailbox acknowledged the message. That does not say that a person has read it."
    ),
    State.RETURNED: "MESH could not hand the message over and says why.",
    State.EXPIRED: (
        "Nobody collected the message within 5 days, so it left the recipient's inbox. MESH keeps it for 30 days and can put "
        "it back."
    ),
    State.REFUSED: "MESH, or the portal before it asked MESH, refused the message. The recipient does not have it.",
    State.UNCERTAIN: (
        "We do not know whether MESH accepted this message. The portal sends it again by itself only when MESH says, several "
        "times, that it has no such message; otherwise the recipient might get it twice."
    ),
    State.CANCELLED: "A person cancelled the message before anything of it was sent.",
    State.CONFIRMED: (
        "MESH's answer never came. A person found out from the recipient that the message arrived, or the recipient's system "
        "acknowledged it."
    ),
}

TRANSITIONS: dict[str, frozenset[str]] = {
    State.LISTED: frozenset({State.STORED, State.QUARANTINED, State.GONE, State.DISCARDING, State.WATCHED, State.LEFT}),
    State.STORED: frozenset({State.ACKNOWLEDGED}),
    State.ACKNOWLEDGED: frozenset(),
    State.QUARANTINED: frozenset({State.LISTED, State.DISCARDING, State.STORED, State.GONE}),
    State.DISCARDING: frozenset({State.DISCARDED, State.GONE}),
    State.DISCARDED: frozenset(),
    State.GONE: frozenset({State.LISTED, State.WATCHED}),
    State.WATCHED: frozenset({State.LEFT, State.LISTED}),
    State.LEFT: frozenset({State.WATCHED, State.LISTED}),
    # To uploading and accepted, here and below, by an answer of MESH that came after others had gone on without it.
    State.QUEUED: frozenset({State.SENDING, State.REFUSED, State.CANCELLED, State.UPLOADING, State.ACCEPTED, State.ON_HOLD}),
    # To queued when two people have agreed where it is to go.
    State.ON_HOLD: frozenset({State.QUEUED, State.CANCELLED, State.UPLOADING, State.ACCEPTED}),
    # Back to queued only when no byte left, or when MESH said that it took nothing.
    State.SENDING: frozenset({State.QUEUED, State.UPLOADING, State.ACCEPTED, State.REFUSED, State.UNCERTAIN}),
    # To queued when MESH knows of no such message, or by a person's decision; the rest when MESH turns out to know it.
    State.UNCERTAIN: frozenset(
        {State.QUEUED, State.UPLOADING, State.ACCEPTED, State.COLLECTED, State.RETURNED, State.EXPIRED, State.CONFIRMED}
    ),
    State.UPLOADING: frozenset({State.ACCEPTED, State.COLLECTED, State.RETURNED, State.REFUSED, State.EXPIRED}),
    State.ACCEPTED: frozenset({State.COLLECTED, State.RETURNED, State.EXPIRED}),
    # The service desk can put a message back for 30 days.
    State.EXPIRED: frozenset({State.ACCEPTED, State.COLLECTED, State.RETURNED}),
    State.RETURNED: frozenset({State.ACCEPTED, State.COLLECTED}),
    State.COLLECTED: frozenset(),
    State.REFUSED: frozenset({State.ACCEPTED}),
    State.CANCELLED: frozenset({State.ACCEPTED}),
    State.CONFIRMED: frozenset({State.UPLOADING, State.ACCEPTED, State.RETURNED}),
}

# In these states the portal holds, or held, the whole body.
HELD = (State.STORED, State.ACKNOWLEDGED)
# In these states MESH still lists the message.
IN_INBOX = (State.LISTED, State.STORED, State.QUARANTINED, State.DISCARDING, State.WATCHED)

# A sent message is in one of these, a received one in one of the others; the database checks it.
OUT = (
    State.QUEUED,
    State.ON_HOLD,
    State.SENDING,
    State.UPLOADING,
    State.ACCEPTED,
    State.COLLECTED,
    State.RETURNED,
    State.EXPIRED,
    State.REFUSED,
    State.UNCERTAIN,
    State.CANCELLED,
    State.CONFIRMED,
)
IN = tuple(state for state in State if state not in OUT)
# In these the sender still has something to do.
TO_SEND = (State.QUEUED, State.SENDING, State.UPLOADING)
# In these MESH has the message, and no client of the recipient's mailbox has collected it.
UNCOLLECTED = (State.ACCEPTED, State.EXPIRED)
# In these MESH is asked now and then what became of the message; a returned one may have been put back.
TO_TRACK = (State.UNCERTAIN, State.ACCEPTED, State.EXPIRED, State.RETURNED)
