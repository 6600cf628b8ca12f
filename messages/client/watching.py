"""One look at the folders of a running MESH client: what is new in IN, SENT and FAILED goes into the history.

Nothing is renamed, removed or written. What was seen is remembered in the same transaction in which it is logged.

| what goes wrong | what stands, and what happens then |
|---|---|
| the process dies at any instant | whole records or none; the next look takes the rest, once |
| two look at the same time, or the poller adds the message in the same moment | one wins; the other finds it at its next look |
| a file is half written, or changes while it is read | it is left until it stands still |
| it stays half for ten minutes, is no control file, or must not be read | a sentence, once; read again when it changes |
| the client moves or removes a file in between | nothing; it is found where it is next time |
| a file is copied back, or touched | known by its content |
| the mailbox is not watched (the portal works it) | nothing is read: its folders hold what the portal writes |
| a folder cannot be opened | a sentence; the other folders and mailboxes go on |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from mailboxes.folders import FolderTrouble
from mailboxes.models import Mailbox
from messages import ctl
from messages.client import folder as disk
from messages.client import history
from messages.models import ClientPlace, ClientRecord, Message

# So long a file may stay half before somebody is told.
HALF_SECONDS = 600
_NOT_READ = "The portal is not allowed to read it."

Report = Callable[[str], None]


@dataclass
class Tally:
    """What one look did: how many records were logged, are left for later, and could not be used."""

    logged: int = 0
    waiting: int = 0
    unusable: int = 0
    troubles: list[str] = field(default_factory=list)


def look(mailbox: Mailbox, home: Path, report: Report) -> Tally:
    """Logs what is new in the folders of ``home``. ``report`` is told, once, of each file that cannot be used."""
    tally = Tally()
    for place in ClientPlace:
        try:
            with disk.opened(home, place.label) as at:
                if at is not None:
                    _place(mailbox, place, at, report, tally)
        except FolderTrouble as error:
            tally.troubles.append(f"{place.label}: {error.problem.sentence}")
    return tally


def _place(mailbox: Mailbox, place: ClientPlace, at: int, report: Report, tally: Tally) -> None:
    rows = ClientRecord.objects.filter(mailbox=mailbox, place=place)
    known = set(rows.values_list("name", "stamp"))
    for name, found in disk.control_files(at):
        stamp = disk.stamp_of(found)
        kept = _kept_name(name)
        if (kept, stamp) in known:
            continue
        age = disk.age_of(found, time.time())
        if age < settings.FOLDER_SETTLE_SECONDS:
            tally.waiting += 1
            continue
        try:
            _one(_File(mailbox, place, kept, stamp, age), at, name, report, tally)
        except (disk.Moving, IntegrityError):
            tally.waiting += 1


@dataclass(frozen=True)
class _File:
    mailbox: Mailbox
    place: ClientPlace
    name: str
    stamp: str
    age: float

    def remember(self, digest: str, *, problem: str = "", message: Message | None = None) -> None:
        ClientRecord.objects.create(
            team_id=self.mailbox.team_id,
            mailbox=self.mailbox,
            place=self.place,
            name=self.name,
            digest=digest,
            stamp=self.stamp,
            problem=problem,
            message=message,
        )

    def seen(self, digest: str) -> bool:
        """Whether this content is known under this name; then its new stamp is."""
        rows = ClientRecord.objects.filter(mailbox=self.mailbox, place=self.place, name=self.name, digest=digest)
        return bool(rows.update(stamp=self.stamp))


def _one(file: _File, at: int, name: str, report: Report, tally: Tally) -> None:
    digest = ""
    try:
        content = disk.read(at, name, file.stamp)
        digest = content.digest
        if file.seen(digest):
            return
        control = ctl.parse(content.data)
        with transaction.atomic():
            message = history.log(file.mailbox, file.place, control)
            file.remember(digest, message=message)
    except ctl.ControlError as error:
        if error.incomplete and file.age < HALF_SECONDS:
            tally.waiting += 1
            return
        problem = str(error)
    except history.Refusal as refusal:
        problem = str(refusal)
    except OSError:
        if file.seen(""):
            return
        problem = _NOT_READ
    else:
        tally.logged += 1
        return
    tally.unusable += 1
    # Told first: killed in between, it is told again rather than never.
    report(f"{file.place.label}, {file.name}: {problem}")
    with transaction.atomic():
        file.remember(digest, problem=problem)


def _kept_name(name: str) -> str:
    """As it can be kept and printed: names of Windows and of other encodings can hold anything."""
    readable = name.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "\ufffd" for character in readable)[:300]
