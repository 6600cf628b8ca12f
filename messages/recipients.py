"""Who takes messages of a workflow: asked of MESH while a person or a command waits for the answer.

Several answers are all shown and never chosen among: several practices on one mailbox, and one practice with several
mailboxes, are both ordinary (MESH API specification, Look up MESH address).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from django.conf import settings
from django.core.exceptions import ValidationError

from mailboxes import connections
from mailboxes.addresses import services as book
from mailboxes.models import Mailbox
from mailboxes.problems import UNREADABLE_SECRET, NotConfigured, Problem, explain
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import EndpointMatch, MeshClient, errors
from messages.models import Composed, Message
from messages.states import Direction, State

_ODS_CODE = re.compile(r"[A-Za-z0-9]{1,10}")
# MESH took a message for it: the answer came from MESH, whatever became of the message later.
_TAKEN = (State.ACCEPTED, State.COLLECTED, State.EXPIRED)


class CouldNotAsk(Exception):
    """MESH gave no answer; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


def at(mailbox: Mailbox, ods_code: str, workflow_id: str) -> tuple[EndpointMatch, ...]:
    """The mailboxes of the organisation that take the workflow. Raises CouldNotAsk, ValidationError for no ODS code."""
    if not _ODS_CODE.fullmatch(ods_code):
        raise ValidationError({"ods_code": "An ODS code is letters and digits without spaces, such as X26."})
    return _ask(mailbox, lambda client: client.lookup(ods_code, workflow_id))


class ToChoose(ValidationError):
    """The organisation has several mailboxes for the workflow, ``found``, or another one than was entered."""

    def __init__(self, sentence: str, found: Sequence[EndpointMatch]) -> None:
        super().__init__({"recipient": sentence})
        self.found = found


def the_one(mailbox: Mailbox, ods_code: str, workflow_id: str, *, chosen: str = "") -> EndpointMatch:
    """The one mailbox of the organisation that takes the workflow, or the ``chosen`` one of those that do.

    Raises ValidationError for none, ToChoose for several that nobody chose among or another one than those; CouldNotAsk.
    """
    found = at(mailbox, ods_code, workflow_id)
    match = next((one for one in found if one.mailbox_id.upper() == chosen), None)
    if match is None and len(found) == 1 and not chosen:
        match = found[0]
    book.note_lookup(
        team_id=mailbox.team_id,
        environment=mailbox.environment,
        ods_code=ods_code,
        workflow_id=workflow_id,
        found=found,
        chosen=match.mailbox_id if match else "",
    )
    if match is not None:
        return match
    if not found:
        raise ValidationError(
            {
                "ods_code": f"MESH names no mailbox of {ods_code.upper()} that takes {workflow_id}. Check both, or ask the "
                "organisation for its mailbox ID."
            }
        )
    named = " and ".join(described(found))
    if chosen:
        raise ToChoose(f"MESH does not name {chosen} for {ods_code.upper()} and this workflow. It names {named}.", found)
    raise ToChoose(f"MESH names {len(found)} mailboxes of {ods_code.upper()}: {named}. Choose the right one.", found)


def described(found: Sequence[EndpointMatch]) -> list[str]:
    """``X26HC005 (Name of it)`` for each."""
    return [f"{one.mailbox_id} ({one.mailbox_name})" if one.mailbox_name else one.mailbox_id for one in found]


def known(mailbox: Mailbox, recipient: str, workflow_id: str) -> tuple[Composed.Known, str]:
    """How it is known that ``recipient`` takes the workflow, and the name that MESH says of it or ''."""
    before = Message.objects.filter(
        mailbox=mailbox, direction=Direction.OUT, recipient_mailbox=recipient, workflow_id=workflow_id, state__in=_TAKEN
    )
    if before.exists():
        return Composed.Known.TRAFFIC, ""
    try:
        found = _ask(mailbox, lambda client: client.search(workflow_id))
    except CouldNotAsk:
        return Composed.Known.NOT_ASKED, ""
    name = next((one.mailbox_name for one in found if one.mailbox_id.upper() == recipient), None)
    return (Composed.Known.NOT_FOUND, "") if name is None else (Composed.Known.SEARCH, name[:300])


def _ask(mailbox: Mailbox, call: Callable[[MeshClient], tuple[EndpointMatch, ...]]) -> tuple[EndpointMatch, ...]:
    try:
        found = call(connections.client_for(mailbox, somebody_waits=True))
        return tuple(
            EndpointMatch(mailbox_id=_printable(one.mailbox_id), mailbox_name=_printable(one.mailbox_name)) for one in found
        )
    except NotConfigured as error:
        raise CouldNotAsk(error.problem) from None
    except CannotUnseal:
        raise CouldNotAsk(UNREADABLE_SECRET) from None
    except errors.MeshError as error:
        host = settings.MESH_URLS[mailbox.environment].removeprefix("https://")
        raise CouldNotAsk(explain(error, host=host)) from None


def _printable(text: str) -> str:
    """What pages show and columns hold: whatever else MESH says becomes a space."""
    return "".join(one if one.isprintable() else " " for one in text).strip()
