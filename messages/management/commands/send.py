from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates.models import Environment
from mailboxes import selectors
from mailboxes.models import Mailbox
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.commands import sentences
from meshportal.core.payloads import StorageFailed
from messages import outbox, recipients

_BLOCK = 1024 * 1024


class Command(BaseCommand):
    help = "Puts a file into the outbox of a mailbox. The sender sends it; its page says what becomes of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mailbox_id", help="the mailbox that sends")
        parser.add_argument("file")
        to = parser.add_mutually_exclusive_group(required=True)
        to.add_argument("--to", help="the recipient's mailbox ID")
        to.add_argument("--ods", metavar="CODE", help="the recipient's ODS code: MESH is asked, and must name one mailbox")
        parser.add_argument("--workflow", required=True, help="workflow ID")
        parser.add_argument("--subject", default="")
        parser.add_argument("--local-id", default="", help="yours; without it the portal makes a unique one, which is safer")
        parser.add_argument("--file-name", help="as the recipient sees it (the file's own name when not given)")
        parser.add_argument("--content-type", default="")
        parser.add_argument("--compress", action="store_true", help="compress it for the way")
        parser.add_argument("--again", metavar="REASON", help="why it is sent although the same went there within 30 days")
        parser.add_argument(
            "--asked-by", default="", help="who asked for it to be sent again, where the workflow's rule wants that"
        )
        parser.add_argument("--environment", choices=Environment.values)

    def handle(self, *_args: Any, **options: Any) -> None:
        mailbox = selectors.named(options["mailbox_id"], environment=options["environment"])
        if mailbox is None:
            raise CommandError(selectors.not_named(options["mailbox_id"]))
        path = Path(options["file"])
        draft = outbox.Draft(
            recipient=self._recipient(mailbox, options).upper(),
            workflow_id=options["workflow"],
            subject=options["subject"],
            local_id=options["local_id"],
            file_name=path.name if options["file_name"] is None else options["file_name"],
            content_type=options["content_type"],
            compress=options["compress"],
            ods_code=options["ods"] or "",
        )
        again = None if options["again"] is None else outbox.Again(reason=options["again"], asked_by=options["asked_by"])
        try:
            with path.open("rb") as file:
                message = outbox.put(
                    actor=Actor.command("send"),
                    mailbox=mailbox,
                    draft=draft,
                    body=iter(lambda: file.read(_BLOCK), b""),
                    again=again,
                )
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        except Refused as refusal:
            raise CommandError(f"{refusal} (--again, --asked-by)") from None
        except StorageFailed as error:
            raise CommandError(f"The portal could not keep the file: {error}") from None
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
        self.stdout.write(
            f"Queued {message.size} bytes from {mailbox.mailbox_id} to {draft.recipient} in "
            f"{mailbox.get_environment_display().lower()}, local ID {message.local_id}."
        )

    @staticmethod
    def _recipient(mailbox: Mailbox, options: dict[str, Any]) -> str:
        if options["ods"] is None:
            return str(options["to"])
        try:
            return recipients.the_one(mailbox, options["ods"], options["workflow"]).mailbox_id
        except ValidationError as error:
            raise CommandError(f"{sentences(error)} (--to)") from None
        except recipients.CouldNotAsk as error:
            raise CommandError(f"{error.problem.sentence} {error.problem.advice}") from None
