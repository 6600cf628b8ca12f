"""Files of mailboxes and examinations of many, as their pages show them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, IntegerField, QuerySet, Value, When
from django.utils import timezone

from mailboxes.models import Examination, ExaminationRow, Finding, MailboxImport, Mode
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.core import lease

SHOWN_FOR = timedelta(days=30)
_LATE = timedelta(minutes=1)
# Those that need a person stand first.
_ORDER = (Finding.BAD, Finding.WARN, Finding.WAITING, Finding.GOOD)
TONES = {Finding.WAITING: "busy", Finding.GOOD: "good", Finding.WARN: "warn", Finding.BAD: "bad"}
KINDS = {"add": ("New", "info"), "change": ("Changed", "warn"), "same": ("Unchanged", "quiet")}


def imports_of(team: Team) -> QuerySet[MailboxImport]:
    """The team's files of mailboxes, newest first, without their rows."""
    return in_team(MailboxImport, team).select_related("examination").defer("rows").order_by("-created_at", "-pk")


def examinations_of(team: Team) -> QuerySet[Examination]:
    """The team's examinations of many mailboxes."""
    return in_team(Examination, team).select_related("mailbox_import").defer("mailbox_import__rows")


def rows_of(examination: Examination, finding: str = "") -> QuerySet[ExaminationRow]:
    """The rows of an examination with their mailboxes, those that need a person first."""
    rank = Case(*(When(finding=one, then=Value(place)) for place, one in enumerate(_ORDER)), output_field=IntegerField())
    rows = ExaminationRow.objects.filter(examination=examination).select_related("mailbox").defer("mailbox__password")
    if finding in Finding.values:
        rows = rows.filter(finding=finding)
    return rows.order_by(rank, "mailbox__name", "mailbox__mailbox_id", "pk")


@dataclass(frozen=True)
class Import:
    """A file of mailboxes. ``word`` and ``tone`` say where it stands."""

    imported: MailboxImport
    now: datetime

    @property
    def waits(self) -> bool:
        return self.imported.ended_at is None and self.imported.expires_at > self.now

    @property
    def word(self) -> str:
        if self.imported.applied_at is not None:
            return "Imported"
        if self.waits:
            return "Not imported yet"
        ended = self.imported.ended_at
        return "Discarded" if ended is not None and ended < self.imported.expires_at else "Expired"

    @property
    def tone(self) -> str:
        if self.imported.applied_at is not None:
            return "good"
        return "warn" if self.waits else "quiet"

    @property
    def counts(self) -> Counter[str]:
        return Counter(line["kind"] for line in self.imported.plan)

    @property
    def sentence(self) -> str:
        """What it does, or did."""
        counts = self.counts
        if self.imported.applied_at is not None:
            return f"{many(counts['add'])} added, {many(counts['change'])} changed, {counts['same']:,} unchanged."
        if not self.waits:
            return "Nothing was imported, and what was uploaded is gone. What it would have done stands below."
        if not counts["add"] and not counts["change"]:
            return "This file changes nothing: every mailbox in it is as the file says."
        parts = [f"add {many(counts['add'])}"] if counts["add"] else []
        parts += [f"change {many(counts['change'])}"] if counts["change"] else []
        rest = f" {many(counts['same'])} in it {'is' if counts['same'] == 1 else 'are'} unchanged." if counts["same"] else ""
        return f"This file would {' and '.join(parts)}. Nothing was done yet.{rest}"

    @property
    def will_collect(self) -> int:
        """How many mailboxes it makes collect: their messages are taken from whoever collected them before."""
        collect = ("mode", str(Mode.COLLECT.label))
        return sum(any((name, after) == collect for name, _, after in line["changes"]) for line in self.imported.plan)


@dataclass(frozen=True)
class Progress:
    """How far an examination came."""

    examination: Examination
    counts: Counter[str]
    idle: bool = False

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def done(self) -> int:
        return self.total - self.counts[Finding.WAITING]

    @property
    def running(self) -> bool:
        return self.counts[Finding.WAITING] > 0

    @property
    def failed(self) -> int:
        return self.counts[Finding.BAD]

    @property
    def word(self) -> str:
        if self.running:
            return "Under way"
        if self.failed:
            return "Some do not connect" if self.failed < self.total else "None connects"
        return "Look at some" if self.counts[Finding.WARN] else "All connect"

    @property
    def tone(self) -> str:
        if self.running:
            return "busy"
        return "bad" if self.failed else ("warn" if self.counts[Finding.WARN] else "good")

    @property
    def sentence(self) -> str:
        """What was found so far."""
        well = self.counts[Finding.GOOD] + self.counts[Finding.WARN]
        parts = [f"{many(well)} connect{'s' if well == 1 else ''}"]
        if self.failed:
            parts.append(f"{many(self.failed)} {'does' if self.failed == 1 else 'do'} not")
        if looks := self.counts[Finding.WARN]:
            parts.append(f"{looks:,} of those that do need{'s' if looks == 1 else ''} a look")
        return f"{', '.join(parts)}."

    @property
    def spoken(self) -> str:
        """What is said aloud: each quarter and the end, not each mailbox."""
        if self.running:
            return f"{self.done * 4 // max(self.total, 1) * 25}% checked"
        return f"{self.word}: {self.sentence}"


def progress(examination: Examination) -> Progress:
    """How far ``examination`` came."""
    now = timezone.now()
    found = examination.rows.order_by().values_list("finding").annotate(Count("pk"))
    late = examination.rows.filter(due_at__lt=now - _LATE).filter(lease.free()).exists()
    held = examination.rows.filter(lease_until__gt=now).exists()
    return Progress(examination, Counter(dict(found)), idle=late and not held)


def many(number: int) -> str:
    return f"{number:,} mailbox{'' if number == 1 else 'es'}"


def kind(line: dict[str, Any]) -> tuple[str, str]:
    """The word and tone of a line of a plan."""
    return KINDS[line["kind"]]
