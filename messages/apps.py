from __future__ import annotations

from django.apps import AppConfig


class MessagesConfig(AppConfig):
    name = "messages"
    label = "mesh_messages"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mailboxes.switches import asking
        from messages import alerts, switches

        alerts.register()
        asking.answered_by(switches.Answers())
