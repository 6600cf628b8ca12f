from __future__ import annotations

from django.apps import AppConfig


class MessagesConfig(AppConfig):
    name = "messages"
    label = "mesh_messages"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from messages import alerts

        alerts.register()
