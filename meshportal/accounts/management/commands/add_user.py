from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from meshportal.accounts import services
from meshportal.accounts.models import Role, Team, User
from meshportal.audit.actors import Actor
from meshportal.core.commands import ask_secret, sentences


class Command(BaseCommand):
    help = (
        "Adds a person to a team, or changes the role of one who is there. The password of a new person is asked for, "
        "or read from standard input or MESHPORTAL_NEW_PASSWORD."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="", help="full name (needed for a new person)")
        parser.add_argument("--team", required=True, help="the team's name in addresses")
        parser.add_argument("--role", required=True, choices=Role.values)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = Actor.command("add_user")
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']}. Add it with: manage.py add_team")
        try:
            person = User.objects.filter(email__iexact=options["email"]).first()
            if person is None:
                password = ask_secret("Password for the new person", variable="MESHPORTAL_NEW_PASSWORD")
                person = services.add_person(actor=actor, email=options["email"], full_name=options["name"], password=password)
            services.set_role(actor=actor, team=team, person=person, role=options["role"])
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        self.stdout.write(f"{person} is {options['role']} of {team.name}.")
