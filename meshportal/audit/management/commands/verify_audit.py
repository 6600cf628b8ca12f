from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from meshportal.audit.services import verify


class Command(BaseCommand):
    help = "Verifies the hash chain of the audit events; exits 1 at the first event that does not fit."

    def handle(self, *_args: Any, **_options: Any) -> None:
        state = verify()
        if state.broken is not None:
            raise CommandError(
                f"Event {state.broken.pk} of {state.broken.at:%Y-%m-%d %H:%M:%S %Z} does not fit the chain; "
                f"the {state.checked} events before it do."
            )
        self.stdout.write(f"{state.checked} events, every one in its place.")
