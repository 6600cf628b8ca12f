"""The states of a message and the ways between them: one table, mirrored by a database constraint."""

from __future__ import annotations

from django.db import models


class Direction(models.TextChoices):
    IN = "in", "Received"
    OUT = "out", "Sent"


class State(models.TextChoices):
    """Where a received message stands. No state is called "delivered" (promise P6)."""

    LISTED = "listed", "Waiting to be downloaded"
    STORED = "stored", "Stored, not yet acknowledged"
    ACKNOWLEDGED = "acknowledged", "Stored and acknowledged"
    QUARANTINED = "quarantined", "Needs a person"
    DISCARDING = "discarding", "To be acknowledged without keeping"
    DISCARDED = "discarded", "Acknowledged without keeping"
    GONE = "gone", "Gone before it could be stored"
    WATCHED = "watched", "In the inbox (watched)"
    LEFT = "left", "Left the inbox"


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
}

# In these states the portal holds, or held, the whole body.
HELD = (State.STORED, State.ACKNOWLEDGED)
# In these states MESH still lists the message.
IN_INBOX = (State.LISTED, State.STORED, State.QUARANTINED, State.DISCARDING, State.WATCHED)
