from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates import services
from certificates.models import Environment
from meshportal.accounts.models import Team
from meshportal.audit.actors import Actor
from meshportal.core.commands import ask_secret, read_file, sentences


class Command(BaseCommand):
    help = "Adds a client certificate and its private key (PEM files) to a team. The key is sealed and never shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="the team's name in addresses")
        parser.add_argument("--environment", required=True, choices=Environment.values)
        parser.add_argument("--name", required=True, help="what you call this certificate")
        parser.add_argument("--certificate", required=True, help="PEM file: the certificate, then any intermediates")
        parser.add_argument("--key", required=True, help="PEM file of the private key")
        parser.add_argument("--protected", action="store_true", help="the key file has a passphrase; it is asked for")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']}. Add it with: manage.py add_team")
        passphrase = ask_secret("Passphrase of the key", variable="MESHPORTAL_KEY_PASSPHRASE") if options["protected"] else ""
        try:
            identity = services.add_identity(
                actor=Actor.command("add_identity"),
                team=team,
                environment=options["environment"],
                name=options["name"],
                certificate_pem=read_file(options["certificate"]),
                private_key_pem=read_file(options["key"]),
                passphrase=passphrase,
            )
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        self.stdout.write(
            f"Added {identity.name}: {identity.subject_cn}, valid until {identity.not_after:%d %b %Y}. "
            "Delete the key file now; the portal keeps it sealed."
        )
