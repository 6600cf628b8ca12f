"""The steps of an onboarding: which are done, which wait for somebody elsewhere, and which are in trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.utils import timezone

from certificates import selectors as certificates
from certificates.models import CertificateRequest
from mailboxes.models import Onboarding
from mailboxes.working_days import add_working_days, working_days_between
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.web.time import in_london, london

DONE, TODO, WAITING, PROBLEM, LATER = "done", "todo", "waiting", "problem", "later"
WORDS: dict[str, tuple[str, str]] = {
    DONE: ("Done", "good"),
    TODO: ("To do", "info"),
    WAITING: ("Waiting", "busy"),
    PROBLEM: ("Problem", "bad"),
    LATER: ("Cannot start yet", "quiet"),
}
# MESH onboarding: registration details come within 10 working days when the form is complete.
WITHIN_WORKING_DAYS = 10


@dataclass(frozen=True)
class Step:
    """One line of the list: its state and a sentence that says what it waits for, since when."""

    key: str
    title: str
    state: str
    sentence: str = ""
    since: datetime | None = None

    @property
    def word(self) -> str:
        return WORDS[self.state][0]

    @property
    def tone(self) -> str:
        return WORDS[self.state][1]

    @property
    def can_open(self) -> bool:
        return self.state != LATER


TITLES: dict[str, str] = {
    "organisation": "Organisation and purpose",
    "details": "Contacts and workflows",
    "application": "Application to NHS England",
    "mailbox": "Mailbox ID and password",
    "certificate": "Client certificate",
    "connection": "Check of the connection",
    "mode": "Who takes the messages",
    "people": "Owner and deputy",
}


def due_on(onboarding: Onboarding) -> date | None:
    """When the answer to the application is due; None before it was sent."""
    return None if onboarding.applied_on is None else add_working_days(onboarding.applied_on, WITHIN_WORKING_DAYS)


def steps(onboarding: Onboarding, *, asked: CertificateRequest | None = None, now: datetime | None = None) -> list[Step]:
    """Every step in order. ``asked``: an open request for a certificate in its environment, where one is known of."""
    now = now or timezone.now()
    return [Step(key, title, *_STATES[key](onboarding, asked, now)) for key, title in TITLES.items()]


def missing(onboarding: Onboarding) -> list[Step]:
    """What is to be done before it can go live."""
    return [step for step in steps(onboarding) if step.state != DONE]


_State = tuple[str, str, datetime | None]


def _plain(state: str, sentence: str = "") -> _State:
    return state, sentence, None


def _organisation(onboarding: Onboarding, *_: Any) -> _State:
    # Nobody looks a code up from here: it is what the person said.
    who = f"{onboarding.organisation_name} ({onboarding.ods_code}, unverified)"
    return _plain(DONE, f"{who}, {onboarding.get_environment_display()}")


def _details(onboarding: Onboarding, *_: Any) -> _State:
    if onboarding.contact_name and onboarding.contact_email and (onboarding.sends or onboarding.receives):
        return _plain(DONE)
    return _plain(TODO, "A contact, and the workflows that are sent or received.")


def _application(onboarding: Onboarding, _asked: Any, now: datetime) -> _State:
    if onboarding.mailbox_id is not None:
        return _plain(DONE)
    if _details(onboarding)[0] != DONE:
        return _plain(LATER, "First the contacts and workflows.")
    due = due_on(onboarding)
    if onboarding.applied_on is None or due is None:
        return _plain(TODO, "The answers in the order of the form. Say here when you sent it.")
    sent = in_london(now).replace(
        year=onboarding.applied_on.year, month=onboarding.applied_on.month, day=onboarding.applied_on.day
    )
    today = in_london(now).date()
    if today > due:
        late = working_days_between(due, today)
        words = f"The answer was due on {_day(due)}, {late} working day{'' if late == 1 else 's'} ago. Ask what became of it."
        return PROBLEM, words, sent
    return WAITING, f"NHS England is to answer by {_day(due)}.", sent


def _mailbox(onboarding: Onboarding, *_: Any) -> _State:
    if onboarding.mailbox is not None:
        return _plain(DONE, str(onboarding.mailbox))
    return _plain(TODO, "They come in two e-mails.")


def _certificate(onboarding: Onboarding, asked: CertificateRequest | None, now: datetime) -> _State:
    if onboarding.mailbox is None:
        return _plain(LATER, "First the mailbox ID.")
    identity = onboarding.mailbox.identity
    if identity is not None and identity.lapses_at <= now:
        return _plain(PROBLEM, f"“{identity.name}” expired on {london(identity.lapses_at)}.")
    if identity is not None:
        return _plain(DONE, identity.name)
    if asked is not None:
        return WAITING, f"“{asked.name}” is requested and has not come.", asked.created_at
    return _plain(TODO, "One that is here, a new one, or one to request.")


def _connection(onboarding: Onboarding, _asked: Any, now: datetime) -> _State:
    mailbox = onboarding.mailbox
    if mailbox is None or mailbox.identity_id is None:
        return _plain(LATER, "First the certificate.")
    if onboarding.live_at is not None:
        return _plain(DONE)
    if onboarding.tried_at is None:
        return _plain(TODO, "One sign-in to MESH. Nothing is collected.")
    if onboarding.tried_revision != mailbox.revision:
        return _plain(TODO, "The mailbox's settings changed since it was checked.")
    if onboarding.trouble:
        return PROBLEM, onboarding.trouble, onboarding.tried_at
    return DONE, f"MESH took the sign-in on {london(onboarding.tried_at)}.", onboarding.tried_at


def _mode(onboarding: Onboarding, *_: Any) -> _State:
    if onboarding.mode:
        return _plain(DONE, onboarding.get_mode_display())
    return _plain(TODO, "The portal, or a client that runs already.")


def _people(onboarding: Onboarding, *_: Any) -> _State:
    if onboarding.owner is None:
        return _plain(TODO, "Who answers for the mailbox.")
    deputy = f", deputy {onboarding.deputy.full_name}" if onboarding.deputy else ""
    return _plain(DONE, f"{onboarding.owner.full_name}{deputy}")


_STATES: dict[str, Callable[[Onboarding, CertificateRequest | None, datetime], _State]] = {
    "organisation": _organisation,
    "details": _details,
    "application": _application,
    "mailbox": _mailbox,
    "certificate": _certificate,
    "connection": _connection,
    "mode": _mode,
    "people": _people,
}


def _day(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B %Y}"


@dataclass(frozen=True)
class Line:
    """One onboarding in the list: what it waits for, and since when."""

    onboarding: Onboarding
    next: Step | None
    done: int

    @property
    def since(self) -> datetime:
        return (self.next.since if self.next else None) or self.onboarding.moved_at


def onboardings_of(team: Team) -> Any:
    """The team's onboardings, with what their steps look at."""
    rows = in_team(Onboarding, team).select_related("mailbox__identity", "owner", "deputy", "team")
    return rows.defer("mailbox__password", "mailbox__identity__private_key", "mailbox__identity__certificate_pem")


def open_lines(team: Team) -> list[Line]:
    """Those that are under way, the one that has stood still for longest first."""
    now = timezone.now()
    rows = onboardings_of(team).filter(live_at__isnull=True, stopped_at__isnull=True)
    asked: dict[str, CertificateRequest] = {}
    for request in certificates.open_requests(team):
        asked.setdefault(request.environment, request)
    lines = []
    for row in rows:
        found = steps(row, asked=asked.get(row.environment), now=now)
        # A problem is named before what merely has not been done.
        rest = [step for step in found if step.state not in (DONE, LATER)]
        first = next((step for step in rest if step.state == PROBLEM), rest[0] if rest else None)
        lines.append(Line(row, first, len(found) - sum(step.state != DONE for step in found)))
    return sorted(lines, key=lambda line: line.since)


def request_for(onboarding: Onboarding) -> CertificateRequest | None:
    """The latest open request for a certificate in its environment."""
    return certificates.open_requests(onboarding.team).filter(environment=onboarding.environment).first()


def application(onboarding: Onboarding) -> list[tuple[str, str]]:
    """The questions of the national form in its order, with the answers as they are known."""
    row, none = onboarding, "–"
    third = " · ".join(part for part in (row.third_party_ods, row.third_party_contact) if part)
    live = "Live" if row.environment == "live" else f"Path to Live ({row.get_environment_display()})"
    return [
        ("Live or Path to Live", live),
        ("Organisation type", row.get_organisation_type_display()),
        ("Organisation", f"{row.organisation_name}, ODS code {row.ods_code}"),
        ("Contact: name", row.contact_name or none),
        ("Contact: email address", row.contact_email or none),
        ("Contact: phone", row.contact_phone or none),
        ("Managed by a third party", f"Yes: {third}" if third else "No"),
        ("NEMS messages", "Yes" if row.nems else "No"),
        ("User interface, client or API", row.get_access_display()),
        ("Purpose", row.purpose),
        ("Workflow IDs to send", ", ".join(row.sends.split()) or none),
        ("Workflow IDs to receive", ", ".join(row.receives.split()) or none),
        ("Size and number of files", row.file_size or none),
    ]


def application_text(onboarding: Onboarding) -> str:
    """The same as text, to be copied."""
    return "\n".join(f"{question}: {given}" for question, given in application(onboarding))
