from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from mailboxes import importing, keeping, sheet
from mailboxes.import_rows import Line
from meshportal.accounts.models import Team
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.commands import read_file

_WORDS = {"add": "add", "change": "change", "same": "unchanged"}


class Command(BaseCommand):
    help = (
        "Adds and changes many mailboxes of a team from a CSV file. Says what it would do; with --apply it does all of it or "
        "nothing, and has the connection of each of them checked. The file's columns: "
        f"{', '.join(sheet.TABLE.header)}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a CSV file, such as an export of the mailboxes")
        parser.add_argument("--team", required=True, help="the team's name in addresses")
        parser.add_argument("--apply", action="store_true", help="do it")
        parser.add_argument("--reason", default="", help="why; kept in the audit trail, needed when a mode changes")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']}. Add it with: manage.py add_team")
        act: dict[str, Any] = {"actor": Actor.command("import_mailboxes"), "team": team}
        data = read_file(options["file"])
        try:
            if not options["apply"]:
                self._dry_run(data, act)
                return
            imported = importing.prepare(**act, data=data, file_name=options["file"].rpartition("/")[2])
        except importing.Faulty as error:
            number = len(error.problems)
            said = "\n".join(str(problem) for problem in error.problems)
            raise CommandError(
                f"Nothing was imported. The file has {number} problem{'' if number == 1 else 's'}:\n{said}"
            ) from None
        try:
            examination = importing.apply(actor=act["actor"], imported=imported, digest=imported.digest, reason=options["reason"])
        except Refused as refusal:
            keeping.discard(actor=act["actor"], upload=imported)
            raise CommandError(str(refusal)) from None
        self._tell([Line(**line) for line in imported.plan])
        page = reverse("mailboxes:examination", kwargs={"team": team.slug, "pk": examination.pk})
        self.stdout.write(f"Imported. Workers check the connection of each that was added or changed: see {page}")

    def _dry_run(self, data: bytes, act: dict[str, Any]) -> None:
        outcome, _, notes = importing.rehearse(**act, data=data)
        for note in notes:
            self.stdout.write(note)
        self._tell(outcome.lines)
        self.stdout.write("Nothing was done yet: --apply does it.")

    def _tell(self, lines: list[Line]) -> None:
        for line in lines:
            said = "; ".join(_change(line.kind, *change) for change in line.changes)
            self.stdout.write(f"Row {line.row}: {_WORDS[line.kind]} {line.name} ({line.mailbox_id}) {said}".rstrip())
        counts = Counter(line.kind for line in lines)
        self.stdout.write(f"{counts['add']} to add, {counts['change']} to change, {counts['same']} unchanged.")


def _change(kind: str, column: str, before: str, after: str) -> str:
    if kind == "add":
        return f"{column} {after}"
    if column in sheet.SECRETS:
        return f"{column} changed"
    return f"{column} from {before or 'nothing'} to {after or 'nothing'}"
