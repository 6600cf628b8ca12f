from __future__ import annotations

from argparse import BooleanOptionalAction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates.models import ClientIdentity, Environment
from mailboxes import selectors, setting
from mailboxes.models import Mode
from meshportal.accounts.scoping import in_team
from meshportal.audit.actors import Actor
from meshportal.core.commands import ask_secret, sentences


class Command(BaseCommand):
    help = (
        "Changes a mailbox: its mode, name, password, certificate, workflow filter, poll interval, folder, or where its messages "
        "are handed on to."
    )

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
        parser.add_argument(
            "--hand-on-to-folder", action=BooleanOptionalAction, help="whether received messages are put into IN of its folder"
        )
        parser.add_argument("--webhook", help="the https address that received messages are handed on to; '' for none")
        parser.add_argument(
            "--webhook-secret",
            action="store_true",
            help="ask for the secret that requests are signed with (or MESHPORTAL_WEBHOOK_SECRET)",
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
        handing = [name for name in ("hand_on_to_folder", "webhook", "webhook_secret") if options[name] not in (None, False)]
        if options["hand_on_to_folder"] is False:
            handing.append("hand_on_to_folder")
        if not changes and not handing:
            raise CommandError("Say what to change; see --help.")
        secret = None
        if options["webhook_secret"]:
            secret = ask_secret("Secret of the webhook", variable="MESHPORTAL_WEBHOOK_SECRET")
        try:
            setting.change_settings(
                actor=Actor.command("set_mailbox"),
                mailbox=mailbox,
                reason=options["reason"],
                hand_on_to_folder=options["hand_on_to_folder"],
                webhook_url=options["webhook"],
                webhook_secret=secret,
                **changes,
            )
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        self.stdout.write(f"Changed {', '.join(sorted([*changes, *handing])).replace('_', ' ')} of {mailbox}.")
