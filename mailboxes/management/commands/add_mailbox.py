from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates.models import ClientIdentity, Environment
from mailboxes import services
from mailboxes.models import Mode
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.audit.actors import Actor
from meshportal.core.commands import ask_secret, sentences


class Command(BaseCommand):
    help = (
        "Adds a mailbox to a team. Its mode is watch unless you say collect: in watch mode nothing is downloaded or "
        "acknowledged. The password is asked for, or read from standard input or MESHPORTAL_MAILBOX_PASSWORD."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mailbox_id")
        parser.add_argument("--team", required=True, help="the team's name in addresses")
        parser.add_argument("--environment", required=True, choices=Environment.values)
        parser.add_argument("--ods-code", required=True)
        parser.add_argument("--name", required=True, help="what your staff call it")
        parser.add_argument("--identity", required=True, help="the name of the client certificate")
        parser.add_argument("--mode", choices=[Mode.COLLECT.value, Mode.WATCH.value], default=Mode.WATCH.value)
        parser.add_argument("--workflow-filter", default="")
        parser.add_argument("--poll-seconds", type=int)

    def handle(self, *_args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']}. Add it with: manage.py add_team")
        identity = in_team(ClientIdentity, team).filter(environment=options["environment"], name=options["identity"]).first()
        if identity is None:
            raise CommandError(
                f"The team has no certificate {options['identity']} for {options['environment']}. "
                "Add it with: manage.py add_identity"
            )
        try:
            mailbox = services.add_mailbox(
                actor=Actor.command("add_mailbox"),
                team=team,
                environment=options["environment"],
                mailbox_id=options["mailbox_id"],
                name=options["name"],
                ods_code=options["ods_code"],
                password=ask_secret("Password of the mailbox", variable="MESHPORTAL_MAILBOX_PASSWORD"),
                identity=identity,
                mode=options["mode"],
                workflow_filter=options["workflow_filter"],
                poll_interval_seconds=options["poll_seconds"],
            )
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        self.stdout.write(
            f"Added {mailbox} in {mailbox.get_mode_display().lower()} mode. Try it with: manage.py poll {mailbox.mailbox_id}"
        )
