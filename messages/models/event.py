"""What happened to a message, step by step. A database trigger refuses UPDATE and DELETE."""

from __future__ import annotations

from django.db import models

from messages.models.message import Message
from messages.states import State


class MessageEvent(models.Model):
    """One step. ``detail`` holds plain facts for the timeline, never body, subject or secret."""

    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=40)
    from_state = models.CharField(max_length=20, blank=True)
    to_state = models.CharField(max_length=20, choices=State.choices, blank=True)
    actor_label = models.CharField(max_length=300)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = (models.Index(fields=["message", "at", "id"], name="event_message_time"),)

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M:%S}"
