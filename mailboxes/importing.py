"""Mailboxes from a file: what it would do, and doing it, all or nothing. The file itself is :mod:`mailboxes.sheet`.

The dry run is the act itself, undone: whatever refuses a mailbox when it is added or changed by hand refuses its row here.
How its rows wait for the word, and end: :mod:`mailboxes.keeping`; the plan in words stays.

| what goes wrong | what stands, and what happens then |
|---|---|
| a file that cannot be read, or a row that is refused | every fault with its row; nothing is kept |
| rows of several environments | a sentence; nothing is kept |
| a mailbox that another team has | the same sentence as for any that cannot be added |
| the process dies in the dry run | nothing |
| it dies between upload and apply | the sealed rows, until they expire |
| it dies while it is applied | one transaction: none of the rows, and the import waits as before |
| a mailbox of the file, or what the file would do, changed since the person looked | it is shown anew |
| a row is refused by then | a sentence with the row; nothing is done |
| two files that add the same mailboxes are applied in the same moment | the second is shown anew what is left |

Locks are taken in the order import, team, mailboxes by id, audit: all mailboxes before the first audit event, since everybody who
changes one mailbox locks it before the audit chain.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from certificates.models import Environment
from mailboxes import examining, keeping
from mailboxes.import_rows import Line, RowWorker
from mailboxes.models import Examination, MailboxImport
from mailboxes.sheet import TABLE
from meshportal.accounts.models import Team
from meshportal.audit import context
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.csvin import Problem, Row

CHANGED = (
    "Something in the portal changed since you looked, so nothing was imported. Below is what the file would do now: look at it "
    "again, then import it."
)
NOTHING = "The file changes nothing: every mailbox in it is as the file says."
WHY = "Say why the mode of mailboxes changes: it decides who takes the messages, and is kept in the audit."


class Faulty(Exception):
    """A file that cannot be imported as it is, with everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = list(problems)


@dataclass
class Outcome:
    """What the rows of a file do. ``touched`` are the ids of the mailboxes that are added or changed."""

    lines: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    touched: list[Any] = field(default_factory=list)
    environment: str = ""
    # Of the mailboxes that are changed: a change by somebody else in between is no change of what they looked at.
    revisions: list[tuple[int, int]] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        return Counter(line.kind for line in self.lines)

    @property
    def plan(self) -> list[dict[str, Any]]:
        """The lines, as they are kept."""
        return [asdict(line) for line in self.lines]

    @property
    def digest(self) -> str:
        """The same for two outcomes that do the same to the same mailboxes, and for no others."""
        return hashlib.sha256(json.dumps([self.plan, self.revisions]).encode()).hexdigest()


class _Undone(Exception):
    """Leaves the transaction of an apply that must not be."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def rehearse(*, actor: Actor, team: Team, data: bytes, reason: str = "") -> tuple[Outcome, list[Row], list[str]]:
    """What the file ``data`` would do, its rows, and what is to be said of it. Nothing is kept. Raises Faulty."""
    read = TABLE.read(data)
    faulty = {problem.row for problem in read.problems}
    rows = [row for row in read.rows if row.number not in faulty]
    outcome = Outcome()
    if rows:
        # Also where others of the file are faulty, so that everything is said at once.
        with audit.rehearsal():
            outcome = _carry_out(actor, team, rows, reason)
    if problems := read.problems + outcome.problems:
        raise Faulty(sorted(problems, key=lambda problem: problem.row))
    return outcome, rows, read.notes


def prepare(*, actor: Actor, team: Team, data: bytes, file_name: str = "") -> MailboxImport:
    """Keeps the rows of a file, sealed, until they are applied or expire. Raises Faulty."""
    outcome, rows, notes = rehearse(actor=actor, team=team, data=data)
    with transaction.atomic():
        made = MailboxImport.objects.create(
            team=team,
            environment=outcome.environment,
            rows=[[row.number, dict(row.values)] for row in rows],
            plan=outcome.plan,
            notes=notes,
            digest=outcome.digest,
            **keeping.beginning(actor=actor, file_name=file_name),
        )
        with context.request(made.request_id):
            audit.record(actor=actor, action="mailbox_import.prepared", target=made, team=team, after=_facts(outcome))
    return made


def needs_reason(plan: Sequence[dict[str, Any]]) -> bool:
    """Whether somebody must say why: a mode decides who takes the messages."""
    return any(line["kind"] == "change" and any(change[0] == "mode" for change in line["changes"]) for line in plan)


def apply(*, actor: Actor, imported: MailboxImport, digest: str, reason: str = "") -> Examination:
    """Adds and changes what the file says, in one transaction, and has the connection of each of them examined.

    ``digest`` is that of the plan which the person looked at. Raises Refused; then nothing was done, and where something
    had changed the import has its new plan.
    """
    try:
        with transaction.atomic(), context.request(imported.request_id):
            held = keeping.held(imported)
            if needs_reason(held.plan) and not reason.strip():
                raise Refused(WHY)
            outcome = _carry_out(actor, held.team, _rows(held), reason.strip())
            if outcome.problems or outcome.digest != digest:
                raise _Undone(outcome)
            if not outcome.touched:
                raise Refused(NOTHING)
            audit.record(
                actor=actor,
                action="mailbox_import.applied",
                target=held,
                team=held.team,
                reason=reason.strip(),
                after=_facts(outcome),
            )
            examination = examining.begin(actor=actor, team=held.team, environment=outcome.environment, mailboxes=outcome.touched)
            keeping.end(held, applied_at=timezone.now(), examination=examination, reason=reason.strip())
            return examination
    except _Undone as undone:
        outcome = undone.outcome
    if outcome.problems:
        said = " ".join(f"{problem}" for problem in outcome.problems[:3])
        raise Refused(f"Nothing was imported. {said} Put it right, and upload the file again.")
    kept = MailboxImport.objects.filter(pk=imported.pk, ended_at__isnull=True)
    kept.update(plan=outcome.plan, digest=outcome.digest, updated_at=timezone.now())
    raise Refused(CHANGED)


def _rows(held: MailboxImport) -> list[Row]:
    return [Row(number, values) for number, values in keeping.opened(held) or []]


def _facts(outcome: Outcome) -> dict[str, Any]:
    counts = outcome.counts
    return {
        "environment": outcome.environment,
        "added": counts["add"],
        "changed": counts["change"],
        "unchanged": counts["same"],
    }


def _carry_out(actor: Actor, team: Team, rows: Sequence[Row], reason: str) -> Outcome:
    """Does what the rows say, in the caller's transaction, which it must leave when there are problems."""
    environments = sorted({row.values["environment"] for row in rows})
    if len(environments) > 1:
        names = " and ".join(Environment(name).label.lower() for name in environments)
        sentence = f"The file holds mailboxes of {names}, which are never mixed in one act. Make a file for each."
        return Outcome(problems=[Problem(sentence)])
    # Two files with the same new mailboxes in another order would wait for each other.
    Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    outcome = Outcome(environment=environments[0])
    worker = RowWorker(actor, team, environments[0], rows, reason)
    for row in rows:
        done = worker.work(row)
        outcome.problems += done.problems
        if done.line is None:
            continue
        outcome.lines.append(done.line)
        if done.line.kind != "same":
            outcome.touched.append(done.mailbox_pk)
        if done.line.kind == "change":
            outcome.revisions.append((row.number, done.revision))
    return outcome
