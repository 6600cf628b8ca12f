from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections

from certificates.models import Environment
from mailboxes import selectors
from mailboxes.models import Mailbox, Mode
from meshportal.web.masking import mask_numbers
from messages.client import watching
from messages.models import ClientPlace


class Command(BaseCommand):
    help = (
        "Reads the control files in IN, SENT and FAILED of a running MESH client and logs them in the history of its mailboxes, "
        "which must be watched. Reads only. DIR is the folder of one mailbox, or one that holds a folder for each, named by its "
        "mailbox ID. The client's log is not read: its format is not documented."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dir", metavar="DIR")
        parser.add_argument("--mailbox", help="the mailbox ID, when the folder of one mailbox is not called so")
        parser.add_argument("--environment", choices=Environment.values)
        parser.add_argument("--every", type=int, metavar="SECONDS", help="look again and again, until it is stopped")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["every"] is not None and options["every"] < 1:
            raise CommandError("--every takes a number of seconds, at least 1.")
        self._told: set[str] = set()
        while True:
            self._look(Path(options["dir"]), options)
            if options["every"] is None:
                return
            time.sleep(options["every"])
            close_old_connections()

    def _look(self, home: Path, options: dict[str, Any]) -> None:
        for folder, mailbox in self._mailboxes(home, options):
            tally = watching.look(mailbox, folder, partial(self._of, mailbox))
            for trouble in tally.troubles:
                self._once(f"{mailbox.mailbox_id}: {trouble}")
            if tally.logged or tally.waiting or tally.unusable or options["every"] is None:
                self._say(
                    f"{mailbox.mailbox_id}: {tally.logged} logged, {tally.waiting} left for the next look, "
                    f"{tally.unusable} unusable."
                )

    def _mailboxes(self, home: Path, options: dict[str, Any]) -> list[tuple[Path, Mailbox]]:
        try:
            inside = sorted(path for path in home.iterdir() if path.is_dir() and not path.is_symlink())
        except OSError as error:
            raise CommandError(f"{home} cannot be read: {error.strerror}.") from None
        names = {place.label for place in ClientPlace}
        if any(path.name.upper() in names for path in inside):
            pairs = [(home, options["mailbox"] or home.resolve().name)]
        else:
            pairs = [(path, path.name) for path in inside if not path.name.startswith((".", "_"))]
        found = []
        for folder, name in pairs:
            mailbox = selectors.named(name.upper(), environment=options["environment"])
            if mailbox is None:
                self._once(f"{folder.name}: {selectors.not_named(name)}")
            elif mailbox.mode != Mode.WATCH:
                self._once(f"{folder.name}: left alone, because the portal does not merely watch {mailbox}.")
            else:
                found.append((folder, mailbox))
        if not found and options["every"] is None:
            raise CommandError(f"{home} holds the folders of no watched mailbox. Name it with --mailbox. {' '.join(self._told)}")
        return found

    def _of(self, mailbox: Mailbox, sentence: str) -> None:
        self._say(f"{mailbox.mailbox_id}: {sentence}")

    def _once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._say(sentence)

    def _say(self, sentence: str) -> None:
        # A supplier may name files after patients.
        self.stdout.write(mask_numbers(sentence))
