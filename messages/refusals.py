"""Why a message was not sent, or came back, in sentences: what happened, what it means for the letter, what to do."""

from __future__ import annotations

from datetime import timedelta

from mailboxes.problems import Problem, explain
from meshportal.mesh import errors

DESK = "the National Service Desk on 0300 303 5035"

# 413, which web servers and proxies answer.
_TOO_LARGE = 413

BODY_MISSING = Problem(
    "body_missing",
    "The portal's copy of this message cannot be read any more, so nothing was sent.",
    "Send the document again from where it came from, and tell whoever runs the portal.",
)
BODY_UNREADABLE = Problem(
    "body_unreadable",
    "The portal cannot read its copy of this message at the moment, so it was not sent.",
    "Ask whoever runs the portal whether its storage is there, and the key that the copy was encrypted with "
    "(MESHPORTAL_PAYLOAD_KEYS). The portal tries again by itself.",
)
UNCERTAIN = Problem(
    "uncertain",
    "We do not know whether MESH accepted this message: its answer never came.",
    "The portal asks MESH by the local ID. If MESH cannot say, ask the recipient whether it came, then decide here.",
)

_ADDRESS = (
    "Find the recipient's present address by its ODS code before sending again: the organisation may have closed or changed "
    "its clinical system."
)
_PATIENT = "Check the patient's NHS number, date of birth and surname in the system that sent it, then send it again."
_OURS = "MESH did not understand how the message was split or compressed."
_REPORT_IT = "Tell whoever runs the portal, and send the document another way until it is mended."
# MESH API specification, error codes and report messages: the same codes answer a request and come in a report.
_CODES: dict[str, tuple[str, str]] = {
    "02": ("The message has no body.", "Send it again with the document in it."),
    "06": ("MESH could not read the message's headers.", "Check subject, local ID and file name for unusual characters."),
    "07": ("The sending mailbox does not match the sign-in.", f"Ring {DESK}."),
    "08": ("The message has no recipient.", "Send it again with the recipient's mailbox ID."),
    "09": ("MESH could not read the control file of the message.", "Correct the settings of the system that sent it."),
    "11": ("MESH does not take this kind of message.", f"Ring {DESK}."),
    "12": ("No mailbox has the recipient's ID, or none that can be sent to.", _ADDRESS),
    "15": ("MESH could not use the file: it is no valid child protection file.", "Correct the file, then send it again."),
    "16": ("This mailbox may not send messages of this workflow.", f"Ask {DESK} to add the workflow to the mailbox."),
    "17": (
        "The recipient's mailbox does not take messages of this workflow.",
        f"{_ADDRESS} It may take this workflow in another mailbox.",
    ),
    "18": ("This workflow is not enabled for MESH.", f"Ring {DESK}."),
    "19": ("The recipient's workflow does not take messages in parts, or the expiry is not valid.", f"Ring {DESK}."),
    "20": ("MESH does not know the message.", f"Ring {DESK} with the message ID, then send it again."),
    "100": ("The recipient's mailbox is not enabled for this.", _ADDRESS),
    "EPL-150": ("More than one mailbox fits the recipient.", _ADDRESS),
    "EPL-151": ("No mailbox fits the recipient.", _ADDRESS),
    "EPL-152": ("The NHS number in the address is not valid.", _PATIENT),
    "EPL-153": ("The NHS number in the address is not known.", _PATIENT),
    "EPL-154": ("The NHS number in the address does not fit the other details of the patient.", _PATIENT),
    # These are words where the others are numbers.
    "INVALIDHEADERCHUNKS": (_OURS, _REPORT_IT),
    "UNSUPPORTEDCONTENTENCODING": (_OURS, _REPORT_IT),
    "INVALID CHECKSUM": ("MESH could not read the checksum that was sent along.", "Send it again without one."),
    "INVALID FILE FORMAT": ("The file is not in the format that the workflow needs.", "Correct the file, then send it again."),
    "MESSAGE ALREADY ACCEPTED": ("The message cannot be collected any more.", "Ask the recipient whether it came."),
}
# Code 14 is told apart by its text alone.
_DEACTIVATED = ("The recipient's mailbox is deactivated.", _ADDRESS)
_NOT_COLLECTED = (
    "Nobody collected the message within 5 days.",
    f"Ask the recipient why it was not collected, then send it again; or have {DESK} restore it within 30 days.",
)


def said_of(code: str, description: str) -> tuple[str, str] | None:
    """What a code of MESH says, and what to do; None for a code that nobody has words for. ``description`` is MESH's text."""
    code = code.strip().upper()
    if code == "14":
        return _DEACTIVATED if "deactivat" in description.lower() else _NOT_COLLECTED
    return _CODES.get(code)


def restorable(code: str, description: str) -> bool:
    """Whether the service desk can put back a message that was returned with this code."""
    return said_of(code, description) is _NOT_COLLECTED


def explain_send(error: errors.MeshError, *, host: str, clock_skew: timedelta | None) -> Problem:
    """The problem that a failed request of a message shows."""
    if isinstance(error, errors.InvalidHeader):
        return Problem("invalid_header", f"The message cannot be sent: {error}", "Correct it and send the message again.")
    if isinstance(error, errors.InvalidRequest):
        return Problem("invalid_request", f"The message cannot be sent: {error}", "Send it again, or in smaller parts.")
    if error.status == _TOO_LARGE:
        return Problem(
            "too_large",
            "What stands before MESH does not take requests as large as the parts of this message.",
            "Ask whoever runs the portal to send in smaller parts (MESHPORTAL_SEND_CHUNK_MB), then send it again.",
        )
    if isinstance(error, errors.Refused | errors.BadRequest):
        said = said_of(error.code, error.description)
        if said is not None:
            return Problem(f"mesh_{error.code}", f"{said[0]} (MESH code {error.code}.)", said[1])
        base = explain(error, host=host, clock_skew=clock_skew)
        code = f" (MESH code {error.code}.)" if error.code else ""
        return Problem("mesh_refused", f"MESH refused the message.{code} {base.sentence}", base.advice)
    return explain(error, host=host, clock_skew=clock_skew)


def is_final(error: errors.MeshError, *, first: bool) -> bool:
    """Whether the same message would be refused again, whatever happens to the network or the mailbox's settings.
    ``first``: it was the first request."""
    if isinstance(error, errors.InvalidRequest | errors.Refused | errors.BadRequest) or error.status == _TOO_LARGE:
        return True
    # Of a later chunk: MESH does not know the message (any more). The recipient never sees a part of it. Of the first
    # request: the address is wrong, which is not the message's fault.
    return not first and isinstance(error, errors.NotFound | errors.Gone)
