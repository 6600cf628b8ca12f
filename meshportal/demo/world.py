"""The demonstration's teams, people and mailboxes. All of them are made up, ODS codes included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meshportal.demo import sandbox

POLL_SECONDS = 5  # The live service allows a poll every five minutes; the sandbox minds nothing.


@dataclass(frozen=True)
class Team:
    """A team of the portal; its client certificate is issued to ``certificate_for``, a mailbox of it."""

    slug: str
    name: str
    certificate_for: str


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in; ``roles`` are (team, role)."""

    name: str
    email: str
    roles: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Mailbox:
    """A mailbox of the portal. A wrong ``password`` shows what a refused sign-in looks like."""

    mailbox_id: str
    name: str
    ods_code: str
    team: str
    mode: Literal["collect", "watch", "paused"] = "collect"
    password: str = sandbox.PASSWORD

    @property
    def collects(self) -> bool:
        """Whether the portal takes its messages out: the mode says so, and the password is right."""
        return self.mode == "collect" and self.password == sandbox.PASSWORD


TEAMS = (
    Team("midshire", "Midshire Hospitals NHS Trust", "RZ9HC001"),
    Team("dales", "Dales and Coast GP Federation", "Z99010OT001"),
)

ORGANISATIONS = {
    "RZ9": "Midshire Hospitals NHS Trust",
    "Z99010": "Dales and Coast GP Federation",
    "Z99011": "Fellside Surgery",
    "Z99012": "Harbour Medical Practice",
}

MAILBOXES = (
    Mailbox("RZ9HC001", "Discharge letters", "RZ9", "midshire"),
    Mailbox("RZ9HC002", "Pathology", "RZ9", "midshire"),
    Mailbox("RZ9HC003", "Breast screening", "RZ9", "midshire", password="changed-last-tuesday"),
    Mailbox("RZ9OT004", "Radiology (old system)", "RZ9", "midshire", mode="paused"),
    Mailbox("Z99010OT001", "Federation hub", "Z99010", "dales"),
    Mailbox("Z99011GP001", "Fellside letters and results", "Z99011", "dales"),
    Mailbox("Z99012GP001", "Harbour letters and results", "Z99012", "dales"),
    Mailbox("Z99012GP002", "Harbour clinical system", "Z99012", "dales", mode="watch"),
)

# Correspondents who are no customers of this portal.
NORTHMOOR, NOTIFY = "RZ8HC001", "X99OT010"
OUTSIDE = (NORTHMOOR, NOTIFY)
SENDER = (NORTHMOOR, "RZ8")  # whose certificate sends the demonstration's messages; the sandbox accepts one for all

PEOPLE = (
    Person("Margaret Ashdown", "margaret.ashdown@midshire.example", (("midshire", "manager"),)),
    Person("Tom Okafor", "tom.okafor@midshire.example", (("midshire", "operator"),)),
    Person("Ellen Price", "ellen.price@midshire.example", (("midshire", "viewer"),)),
    Person("Samir Haddad", "samir.haddad@midshire.example", (("midshire", "auditor"),)),
    Person("Rhiannon Vaughan", "rhiannon.vaughan@dales.example", (("dales", "manager"),)),
    Person("Luke Petrov", "luke.petrov@dales.example", (("dales", "operator"),)),
    Person("Nadia Iqbal", "nadia.iqbal@dales.example", (("dales", "auditor"), ("midshire", "viewer"))),
)


BY_ID = {mailbox.mailbox_id: mailbox for mailbox in MAILBOXES}
