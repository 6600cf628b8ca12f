"""Why a message was not sent, in sentences: what happened, what it means for the letter, what to do."""

from __future__ import annotations

from datetime import timedelta

from mailboxes.problems import Problem, explain
from meshportal.mesh import errors

_DESK = "the National Service Desk on 0300 303 5035"

BODY_MISSING = Problem(
    "body_missing",
    "The portal's copy of this message cannot be read any more, so nothing was sent.",
    "Send the document again from where it came from, and tell whoever runs the portal.",
)
UNCERTAIN = Problem(
    "uncertain",
    "We do not know whether MESH accepted this message: its answer never came.",
    "The portal asks MESH by the local ID. If MESH cannot say, ask the recipient whether it came, then decide here.",
)

# MESH API specification, error codes.
_CODES: dict[str, tuple[str, str]] = {
    "02": ("The message has no body.", "Send it again with the document in it."),
    "06": ("MESH could not read the message's headers.", "Check subject, local ID and file name for unusual characters."),
    "07": ("The sending mailbox does not match the sign-in.", f"Ring {_DESK}."),
    "08": ("The message has no recipient.", "Send it again with the recipient's mailbox ID."),
    "11": ("MESH does not take this kind of message.", f"Ring {_DESK}."),
    "12": (
        "No mailbox has the recipient's ID. The practice may have changed its clinical system, or closed.",
        "Look the recipient up by its ODS code, correct the address book, and send the message again.",
    ),
    "16": ("This mailbox may not send messages of this workflow.", f"Ask {_DESK} to add the workflow to the mailbox."),
    "17": (
        "The recipient's mailbox does not take messages of this workflow.",
        "Look the recipient up for this workflow: it may take them in another mailbox.",
    ),
    "18": ("This workflow is not enabled for MESH.", f"Ring {_DESK}."),
    "19": ("The recipient's workflow does not take messages in parts, or the expiry is not valid.", f"Ring {_DESK}."),
}


def explain_send(error: errors.MeshError, *, host: str, clock_skew: timedelta | None) -> Problem:
    """The problem that a failed request of a message shows."""
    if isinstance(error, errors.InvalidHeader):
        return Problem("invalid_header", f"The message cannot be sent: {error}", "Correct it and send the message again.")
    if isinstance(error, errors.InvalidRequest):
        return Problem("invalid_request", f"The message cannot be sent: {error}", "Send it again, or in smaller parts.")
    if isinstance(error, errors.Refused | errors.BadRequest):
        said = _CODES.get(error.code)
        if said is not None:
            return Problem(f"mesh_{error.code}", f"{said[0]} (MESH code {error.code}.)", said[1])
        base = explain(error, host=host, clock_skew=clock_skew)
        code = f" (MESH code {error.code}.)" if error.code else ""
        return Problem("mesh_refused", f"MESH refused the message.{code} {base.sentence}", base.advice)
    return explain(error, host=host, clock_skew=clock_skew)


def is_final(error: errors.MeshError) -> bool:
    """Whether the same message would be refused again, whatever happens to the network or the mailbox's settings."""
    if isinstance(error, errors.InvalidRequest | errors.Refused | errors.BadRequest):
        return True
    # Of a later chunk: MESH does not know the message (any more). The recipient never sees a part of it.
    return isinstance(error, errors.NotFound | errors.Gone)
