"""How far a roll-over came, in the words and tones that its page shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q, QuerySet

from certificates.models import ClientIdentity
from mailboxes.models import Mailbox, Mode, RollOver, RollOverRow
from mailboxes.models.roll_over import TestState
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team

_SEALED = ("old__private_key", "new__private_key", "old__certificate_pem", "new__certificate_pem")
_TONES = {TestState.NONE: "quiet", TestState.WAITING: "busy", TestState.PASSED: "good", TestState.FAILED: "bad"}


@dataclass(frozen=True)
class Line:
    """One mailbox of a roll-over. ``uses`` is "old", "new" or "other"; ``in_use``: MESH has answered it with the new one."""

    row: RollOverRow
    mailbox: Mailbox
    uses: str
    in_use: bool
    word: str
    tone: str
    note: str = ""

    @property
    def test_tone(self) -> str:
        return _TONES[TestState(self.row.test)]

    @property
    def can_switch(self) -> bool:
        return self.uses == "old" and self.row.test == TestState.PASSED


@dataclass(frozen=True)
class Standing:
    """All mailboxes of a roll-over. ``not_in`` use the old certificate and were added since; a test takes them in."""

    roll_over: RollOver
    lines: list[Line]
    not_in: int
    now: datetime
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for line in self.lines:
            self.counts[line.uses] += 1
            self.counts["in_use"] += line.in_use
            if line.uses == "old":
                self.counts[line.row.test] += 1

    @property
    def to_test(self) -> int:
        return self.counts["old"] + self.not_in

    @property
    def testing(self) -> int:
        return self.counts[TestState.WAITING]

    @property
    def passed(self) -> int:
        """How many can be switched."""
        return self.counts[TestState.PASSED]

    @property
    def failed(self) -> int:
        return self.counts[TestState.FAILED]

    @property
    def tested(self) -> int:
        return self.passed + self.failed

    @property
    def switched(self) -> int:
        """How many mailboxes this roll-over gave the new certificate and that still use it."""
        return sum(1 for line in self.lines if line.uses == "new" and line.row.switched_at is not None)

    @property
    def unproven(self) -> int:
        """How many use the new certificate and have had no handshake with it yet."""
        return self.counts["new"] - self.counts["in_use"]

    @property
    def can_retire(self) -> bool:
        """Every mailbox has had a handshake with the new certificate, and none uses the old one."""
        return not self.to_test and not self.unproven and self.counts["new"] > 0

    @property
    def moving(self) -> bool:
        """Whether the page changes by itself soon."""
        return bool(self.testing) or any(
            line.uses == "new" and not line.in_use and line.mailbox.mode != Mode.PAUSED for line in self.lines
        )

    @property
    def word(self) -> tuple[str, str]:
        """The state and its tone."""
        if self.testing:
            return "Testing", "busy"
        if self.can_retire:
            return "Done", "good"
        if self.unproven:
            return "Switched, not all seen in use", "busy"
        if self.failed:
            return "Some tests failed", "warn"
        return ("Ready to switch", "info") if self.passed else ("Not tested", "quiet")

    @property
    def sentence(self) -> str:
        """What is so, and what comes next."""
        if self.testing:
            return "Each mailbox is greeted once with the new certificate. Nothing is switched, and polls go on as before."
        if self.can_retire:
            return f"Every mailbox works with the new certificate. The old one, “{self.roll_over.old.name}”, can be retired."
        parts = []
        if self.counts["in_use"]:
            parts.append(f"{many(self.counts['in_use'])} in use with the new certificate.")
        if self.unproven:
            parts.append(f"{many(self.unproven)} switched, with the first handshake still to come.")
        if self.passed:
            parts.append(f"{many(self.passed)} passed the test and can be switched.")
        if self.failed:
            parts.append(f"{many(self.failed)} did not pass: the reason stands beside it.")
        untested = self.to_test - self.tested
        if untested:
            parts.append(f"{many(untested)} to be tested first.")
        return " ".join(parts) or "No mailbox uses either certificate."


def many(number: int) -> str:
    return f"{number:,} mailbox{'' if number == 1 else 'es'}"


def roll_overs_of(team: Team) -> QuerySet[RollOver]:
    """The team's roll-overs, newest first."""
    return in_team(RollOver, team).select_related("old", "new").defer(*_SEALED).order_by("-created_at", "-pk")


def roll_overs_with(team: Team, identity: ClientIdentity) -> QuerySet[RollOver]:
    """Those from or to ``identity``."""
    return roll_overs_of(team).filter(Q(old=identity.pk) | Q(new=identity.pk))


@dataclass(frozen=True)
class Replaced:
    """How far an old certificate is from being needed no more, by its roll-overs, the newest first."""

    roll_overs: list[RollOver]
    using: int
    unproven: int
    proven: int

    @property
    def can_retire(self) -> bool:
        """No mailbox uses it, and each that was given another has had a handshake with that one."""
        return not self.using and not self.unproven and self.proven > 0

    @property
    def word(self) -> str:
        return "Can be retired" if self.can_retire else "Still needed" if self.using else "Not to be retired yet"

    @property
    def tone(self) -> str:
        return "good" if self.can_retire else "busy"

    @property
    def sentence(self) -> str:
        """What is so."""
        if self.can_retire:
            return "None uses it any more, and each mailbox has had a handshake with the certificate that replaced it."
        parts = []
        if self.using:
            parts.append(f"{many(self.using)} still use{'s' if self.using == 1 else ''} it.")
        if self.unproven:
            parts.append(f"{many(self.unproven)} switched, with the first handshake still to come.")
        return " ".join(parts) or "No mailbox uses it, and none was given another by a roll-over."


def replaced(team: Team, identity: ClientIdentity, now: datetime) -> Replaced | None:
    """How far the roll-overs from ``identity`` came; None when there is none."""
    rolls = list(roll_overs_of(team).filter(old=identity.pk))
    if not rolls:
        return None
    # A mailbox can have been rolled over twice: what it uses now counts.
    lines = {line.mailbox.pk: line for one in rolls for line in standing(one, now).lines if line.uses == "new"}
    using = Mailbox.objects.filter(team=team, identity=identity).count()
    proven = sum(line.in_use for line in lines.values())
    return Replaced(rolls, using, len(lines) - proven, proven)


def standing(roll_over: RollOver, now: datetime) -> Standing:
    """How far ``roll_over`` came at ``now``; those that need a person stand first."""
    rows = RollOverRow.objects.filter(roll_over=roll_over).select_related("mailbox").defer("mailbox__password")
    users = Mailbox.objects.filter(team=roll_over.team_id, identity=roll_over.old_id)
    lines = [_line(roll_over, row) for row in rows.order_by("mailbox__name", "mailbox__mailbox_id")]
    lines.sort(key=lambda line: line.uses != "old" or line.row.test != TestState.FAILED)
    return Standing(roll_over, lines, users.exclude(roll_over_rows__roll_over=roll_over).count(), now)


def _line(roll_over: RollOver, row: RollOverRow) -> Line:
    mailbox = row.mailbox
    if mailbox.identity_id == roll_over.old_id:
        return Line(row, mailbox, "old", False, "Old", "quiet")
    if mailbox.identity_id != roll_over.new_id:
        return Line(row, mailbox, "other", False, "Another certificate", "quiet", "It was changed elsewhere and is left alone.")
    greeted = mailbox.last_handshake_at is not None and mailbox.handshake_revision == mailbox.revision
    if greeted and (row.switched_at is None or (mailbox.last_handshake_at or row.switched_at) > row.switched_at):
        return Line(row, mailbox, "new", True, "New, in use", "good")
    if mailbox.mode == Mode.PAUSED:
        return Line(row, mailbox, "new", False, "New, paused", "warn", "It has its first handshake when it is taken up again.")
    if mailbox.problem_code:
        return Line(row, mailbox, "new", False, "New, in trouble", "bad", mailbox.problem)
    return Line(row, mailbox, "new", False, "New, not yet used", "busy", "Its next poll begins with a handshake.")
