from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates.models import Environment
from meshportal.audit import context
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.commands import sentences
from meshportal.core.payloads import StorageFailed
from messages import resend, selectors


class Command(BaseCommand):
    help = "Sends the documents of messages again, as new messages. The rules of their workflows hold here as on the pages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("message", nargs="+", help="message ID or local ID of a message that was sent")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--asked-by", default="", help="who asked for it, where the workflow's rule wants that")
        parser.add_argument("--to", default="", help="another mailbox ID, when the recipient has moved")
        parser.add_argument("--environment", choices=Environment.values)

    def handle(self, *_args: Any, **options: Any) -> None:
        left = 0
        # One id on what is recorded of all of them.
        with context.request():
            for name in dict.fromkeys(options["message"]):
                try:
                    new = self._again(name, options)
                except Refused as refusal:
                    left += 1
                    self.stderr.write(f"{name}: {refusal}")
                else:
                    self.stdout.write(f"{name}: sent again, local ID {new}.")
        if left:
            raise CommandError(f"{left} of {len(set(options['message']))} left as they are.")

    def _again(self, name: str, options: dict[str, Any]) -> str:
        found = list(selectors.sent_named(name, environment=options["environment"])[:2])
        if not found:
            raise Refused("No sent message has this message ID or local ID.")
        if len(found) > 1:
            raise Refused("Several sent messages have this ID. Use the message ID that MESH gave, or --environment.")
        try:
            new = resend.resend(
                actor=Actor.command("resend"),
                message=found[0],
                reason=options["reason"],
                asked_by=options["asked_by"],
                recipient=options["to"].upper(),
            )
        except ValidationError as error:
            raise Refused(sentences(error)) from None
        except StorageFailed as error:
            raise Refused(f"The portal could not keep a copy to send: {error}") from None
        return new.local_id
