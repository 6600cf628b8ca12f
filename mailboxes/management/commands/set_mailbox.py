from __future__ import annotations

from argparse import BooleanOptionalAction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates.models import ClientIdentity, Environment
from mailboxes import selectors, services
from mailboxes.models import Mode
from meshportal.accounts.scoping import in_team
from meshportal.audit.actors import Actor
from meshportal.core.commands import ask_secret, sentences


class Command(BaseCommand):
    help = "Changes a mailbox: its mode, name, password, certificate, workflow filter, poll interval or folder."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mailbox_id")
        parser.add_argument("--environment", choices=Environment.values)
        parser.add_argument("--mode", choices=Mode.values)
        parser.add_argument("--name")
        parser.add_argument("--identity", help="the name of the client certificate")
        parser.add_argument("--workflow-filter")
        parser.add_argument("--poll-seconds", type=int)
        parser.add_argument("--folder", help="its folder in the MESH client's layout, below MESHPORTAL_FOLDER_ROOT; '' for none")
        parser.add_argument(
            "--send-from-folder", action=BooleanOptionalAction, help="whether documents put into OUT of its folder are sent"
        )
        parser.add_argument("--password", action="store_true", help="ask for a new password")
        parser.add_argument("--reason", default="", help="why; kept in the audit trail")

    def handle(self, *_args: Any, **options: Any) -> None:
        mailbox = selectors.named(options["mailbox_id"], environment=options["environment"])
        if mailbox is None:
            raise CommandError(selectors.not_named(options["mailbox_id"]))
        changes: dict[str, Any] = {
            name: options[option]
            for name, option in (
                ("mode", "mode"),
                ("name", "name"),
                ("workflow_filter", "workflow_filter"),
                ("poll_interval_seconds", "poll_seconds"),
                ("folder", "folder"),
                ("send_from_folder", "send_from_folder"),
            )
            if options[option] is not None
        }
        if options["identity"]:
            changes["identity"] = (
                in_team(ClientIdentity, mailbox.team).filter(environment=mailbox.environment, name=options["identity"]).first()
            )
            if changes["identity"] is None:
                raise CommandError(f"The team has no certificate {options['identity']} for {mailbox.environment}.")
        if options["password"]:
            changes["password"] = ask_secret("New password of the mailbox", variable="MESHPORTAL_MAILBOX_PASSWORD")
        if "mode" in changes and not options["reason"].strip():
            raise CommandError(
                "Say why with --reason: a change of mode decides who takes the messages, and is kept in the audit."
            )
        if not changes:
            raise CommandError("Say what to change; see --help.")
        try:
            services.change_mailbox(actor=Actor.command("set_mailbox"), mailbox=mailbox, reason=options["reason"], **changes)
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        self.stdout.write(f"Changed {', '.join(sorted(changes)).replace('_', ' ')} of {mailbox}.")
