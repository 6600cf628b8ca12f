from __future__ import annotations

from django.apps import AppConfig


class NotifyConfig(AppConfig):
    name = "meshportal.notify"
    label = "notify"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from meshportal.notify import rules

        rules.register()
