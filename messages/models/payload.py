"""Where a message's body is kept."""

from __future__ import annotations

from django.db import models

from meshportal.core.models import BaseModel
from messages.models.message import Message


class Payload(BaseModel):
    """The encrypted body of one message. ``sha256`` and ``size`` are of the clear bytes."""

    message = models.OneToOneField(Message, on_delete=models.PROTECT, related_name="payload")
    storage_key = models.CharField(max_length=300, unique=True)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    stored_size = models.BigIntegerField()
    purged_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"payload of {self.message_id}"
