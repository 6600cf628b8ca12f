from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates.models import Environment
from certificates.reading import Source
from mailboxes import keeping
from mailboxes.client import bringing, telling
from meshportal.accounts.models import Team
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.commands import ask_secret, read_file, sentences


class Command(BaseCommand):
    help = (
        "Brings in the mailboxes of a running MESH client from its meshclient.cfg and keystore. Says line by line what maps and "
        "what does not; with --apply it adds the certificate and all mailboxes or nothing, in watch mode."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the client's meshclient.cfg")
        parser.add_argument("--keystore", required=True, help="its keystore: a Java keystore or PKCS #12")
        parser.add_argument("--team", required=True, help="the team's name in addresses")
        parser.add_argument("--environment", required=True, choices=Environment.values)
        parser.add_argument("--ods-code", default="", help="of the organisation, where the certificate does not say it")
        parser.add_argument("--name", default="", help="what the team calls the certificate")
        parser.add_argument(
            "--passphrase",
            action="store_true",
            help="ask for the passphrase of the keystore (or MESHPORTAL_KEYSTORE_PASSPHRASE) instead of reading it from the file",
        )
        parser.add_argument(
            "--apply",
            action="store_true",
            help="do it; passwords that the file does not say are asked for, or in MESHPORTAL_PASSWORD_<ID>",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']}. Add it with: manage.py add_team")
        actor = Actor.command("import_client")
        passphrase = ""
        if options["passphrase"]:
            passphrase = ask_secret("Passphrase of the keystore", variable="MESHPORTAL_KEYSTORE_PASSPHRASE")
        given = bringing.Given(
            environment=options["environment"],
            data=read_file(options["file"]),
            keystore=Source(f"the file {options['keystore'].rpartition('/')[2]}", read_file(options["keystore"])),
            passphrase=passphrase,
            ods_code=options["ods_code"],
            name=options["name"],
            file_name=options["file"].rpartition("/")[2],
        )
        try:
            imported = bringing.prepare(actor=actor, team=team, given=given)
        except ValidationError as error:
            raise CommandError(f"Nothing was done.\n{sentences(error)}") from None
        try:
            self._tell(imported.lines, imported.notes)
            if not options["apply"]:
                return
            typed = [box["mailbox_id"] for box in imported.boxes if box["typed"]]
            passwords = {
                name: ask_secret(f"Password of mailbox {name}", variable=f"MESHPORTAL_PASSWORD_{name}") for name in typed
            }
            bringing.apply(actor=actor, imported=imported, passwords=passwords)
        except ValidationError as error:
            raise CommandError(f"Nothing was done.\n{sentences(error)}") from None
        except Refused as refusal:
            raise CommandError(str(refusal)) from None
        finally:
            imported.refresh_from_db(fields=["ended_at"])
            if imported.ended_at is None:
                keeping.discard(actor=actor, upload=imported)
        number = sum(box["kind"] == "add" for box in imported.boxes)
        self.stdout.write(f"Added {number} mailbox{'' if number == 1 else 'es'} in watch mode: nothing is taken from the client.")

    def _tell(self, lines: list[dict[str, Any]], notes: list[str]) -> None:
        for line in lines:
            word = telling.KINDS[line["kind"]][0].lower()
            whose = f" of {line['mailbox_id']}" if line["mailbox_id"] else ""
            self.stdout.write(f"Line {line['line']}: {line['name']}{whose}: {word}. {line['sentence']}")
        for note in notes:
            self.stdout.write(note)
