from __future__ import annotations

from django.apps import AppConfig


class MailboxesConfig(AppConfig):
    name = "mailboxes"
    label = "mailboxes"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mailboxes import (
            alerts,
            checks,  # noqa: F401  registers the system check
        )
        from mailboxes.addresses import changes, overdue

        alerts.register()
        changes.register()
        overdue.register()
