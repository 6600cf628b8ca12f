from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.text import slugify

from meshportal.accounts import services
from meshportal.audit.actors import Actor
from meshportal.core.commands import sentences


class Command(BaseCommand):
    help = "Adds a team: a customer of the portal, who sees its own mailboxes and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help='for example "Midshire Hospitals"')
        parser.add_argument("--slug", help="its name in addresses (made from the name when not given)")

    def handle(self, *_args: Any, **options: Any) -> None:
        slug = options["slug"] or slugify(options["name"])[:60]
        try:
            team = services.add_team(actor=Actor.command("add_team"), name=options["name"], slug=slug)
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        self.stdout.write(f"Added the team {team.name}; its address is /t/{team.slug}/.")
