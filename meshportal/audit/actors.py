"""Who acts: a person, a part of the portal, or the command line."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Actor:
    """The doer of an audited act. ``label`` is kept as it reads today, since people and names change."""

    kind: str
    id: str
    label: str

    @classmethod
    def user(cls, user: Any) -> Actor:
        """A signed-in person."""
        return cls(kind="user", id=str(user.pk), label=str(user))

    @classmethod
    def system(cls, part: str) -> Actor:
        """A part of the portal that acts by itself, such as the poller."""
        return cls(kind="system", id=part, label=f"meshportal {part}")

    @classmethod
    def command(cls, name: str) -> Actor:
        """A management command, run by somebody on the server: the account there is the best name there is."""
        try:
            person = os.environ.get("SUDO_USER") or getpass.getuser()
        except (KeyError, OSError):  # An account without a name, as containers have.
            person = f"account {os.getuid()}"
        return cls(kind="command", id=name, label=f"command line ({name}) by {person} on {socket.gethostname()}")

    @classmethod
    def visitor(cls, address: str) -> Actor:
        """Somebody who is not signed in."""
        return cls(kind="visitor", id=address, label=f"visitor at {address}")
