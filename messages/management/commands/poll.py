from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates.models import Environment
from mailboxes import polling, selectors
from mailboxes.models import Mode
from meshportal.audit import context
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from messages import turn


class Command(BaseCommand):
    help = "Polls one mailbox now, in the foreground, and prints what it did. Exits 1 when the mailbox has a problem."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mailbox_id")
        parser.add_argument("--environment", choices=Environment.values)

    def handle(self, *_args: Any, **options: Any) -> None:
        mailbox = selectors.named(options["mailbox_id"], environment=options["environment"])
        if mailbox is None:
            raise CommandError(selectors.not_named(options["mailbox_id"]))
        if mailbox.mode == Mode.PAUSED:
            raise CommandError(f"{mailbox} is paused. Take it up again with: manage.py set_mailbox --mode")
        claimed = polling.claim_now(mailbox)
        if claimed is None:
            raise CommandError(f"{mailbox} is being polled by a worker right now. Try again in a moment.")
        audit.record(actor=Actor.command("poll"), action="mailbox.poll_asked", target=claimed, team=mailbox.team)
        self.stdout.write(f"Polling {claimed} in {claimed.get_environment_display().lower()}, mode {claimed.mode}.")
        with context.request():
            tally = turn.work(claimed, report=self.stdout.write)
        if tally.problem is not None:
            raise CommandError("The poll did not come to its end; see above.")
        self.stdout.write(
            f"Done: {tally.stored} stored, {tally.acknowledged} acknowledged, {tally.failed} failed, "
            f"{tally.discarded} acknowledged without keeping."
        )
