from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates import services
from certificates.models import Environment
from certificates.reading import Source
from meshportal.accounts.models import Team
from meshportal.audit.actors import Actor
from meshportal.core.commands import ask_secret, read_file, sentences


class Command(BaseCommand):
    help = (
        "Adds a client certificate and its private key to a team, from PEM, DER, PKCS #12 (.p12) or a Java keystore (.jks). "
        "The key is sealed and never shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="the team's name in addresses")
        parser.add_argument("--environment", required=True, choices=Environment.values)
        parser.add_argument("--name", required=True, help="what you call this certificate")
        parser.add_argument("--certificate", required=True, help="file with the certificate, any intermediates, perhaps the key")
        parser.add_argument("--key", help="file of the private key, where it is not in the same file")
        parser.add_argument("--protected", action="store_true", help="the key or keystore has a passphrase; it is asked for")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']}. Add it with: manage.py add_team")
        passphrase = ask_secret("Passphrase of the key", variable="MESHPORTAL_KEY_PASSPHRASE") if options["protected"] else ""
        paths = [options["certificate"], *([options["key"]] if options["key"] else [])]
        try:
            identity, warnings = services.import_identity(
                actor=Actor.command("add_identity"),
                team=team,
                environment=options["environment"],
                name=options["name"],
                sources=[Source(path, read_file(path)) for path in paths],
                passphrase=passphrase,
            )
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        for warned in warnings:
            self.stdout.write(f"Note: {warned.sentence}")
        self.stdout.write(
            f"Added {identity.name}: {identity.subject_cn}, can be used until {identity.lapses_at:%d %b %Y}. "
            "Delete the key file now; the portal keeps it sealed."
        )
