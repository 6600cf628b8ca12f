"""One handshake with MESH, to see whether something works before it is kept.

A handshake is no listing: it takes nothing and acknowledges nothing, and may happen beside a poll (promise P5). MESH API
specification, Validate a mailbox. It waits as long as a person would, and is not repeated by itself.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import DatabaseError

from certificates.models import ClientIdentity
from mailboxes import connections
from mailboxes.models import Mailbox
from mailboxes.problems import UNREADABLE_SECRET, NotConfigured, Problem, explain
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import errors

log = structlog.get_logger("mailboxes.trying")

BROKE = Problem(
    "internal",
    "Something unforeseen went wrong with the test of this mailbox.",
    "Ask whoever runs the portal to look in the log for this mailbox ID. Leave it out meanwhile.",
)


def handshake(mailbox: Mailbox, *, identity: ClientIdentity | None = None, password: str | None = None) -> Problem | None:
    """What stands in the way of a handshake, with another certificate or password where one is given; None when it passed.

    They are set in memory only: the row goes on with what it has.
    """
    client = None
    try:
        if identity is not None:
            mailbox.identity = identity
        if password is not None:
            mailbox.password = password
        client = connections.client_for(mailbox, somebody_waits=True)
        connections.handshake(client, environment=mailbox.environment)
    except NotConfigured as error:
        return error.problem
    except CannotUnseal:
        return UNREADABLE_SECRET
    except errors.MeshError as error:
        host = urlsplit(settings.MESH_URLS[mailbox.environment]).hostname or ""
        return explain(error, host=host, clock_skew=client.clock_skew if client is not None else None)
    except DatabaseError:
        raise
    except Exception:
        log.exception("test_broke", mailbox=mailbox.mailbox_id)
        return BROKE
    return None
