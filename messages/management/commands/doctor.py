from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from certificates.models import Environment
from mailboxes import doctor, selectors, services
from meshportal.audit import context
from meshportal.audit.actors import Actor
from messages.selectors import workflows_received


class Command(BaseCommand):
    help = (
        "Checks the connection of one mailbox, step by step, and says what is wrong and what to do. Downloads, acknowledges and "
        "sends nothing. Exits 1 when a step failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mailbox_id")
        parser.add_argument("--environment", choices=Environment.values)
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end instead of the steps")

    def handle(self, *_args: Any, **options: Any) -> None:
        mailbox = selectors.named(options["mailbox_id"], environment=options["environment"])
        if mailbox is None:
            raise CommandError(selectors.not_named(options["mailbox_id"]))
        began = timezone.now()
        results = []
        with context.request():
            services.note_check(actor=Actor.command("doctor"), mailbox=mailbox)
            for result in doctor.examine(mailbox, workflows=workflows_received(mailbox)):
                results.append(result)
                if not options["json"]:
                    self._tell(result)
        state, sentence = doctor.verdict(results)
        if options["json"]:
            self.stdout.write(json.dumps(doctor.as_json(mailbox, results, began=began), ensure_ascii=False, indent=2))
        else:
            self.stdout.write(sentence)
        if state == doctor.State.BAD:
            sys.exit(1)

    def _tell(self, result: doctor.Result) -> None:
        took = f" ({result.took})" if result.took else ""
        self.stdout.write(f"{result.word:<13}{result.name}{took}: {result.found}")
        if result.remedy:
            self.stdout.write(f"{'':13}What to do: {result.remedy}")
        for label, text in result.facts:
            self.stdout.write(f"{'':13}- {label}: {text}")
        self.stdout.flush()
