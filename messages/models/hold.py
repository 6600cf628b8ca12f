"""That a message was held because its recipient's practice changes its address, and what became of that."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailboxes.models import Release, SwitchCase
from meshportal.core.models import BaseModel
from messages.models.message import Message


class Hold(BaseModel):
    """One for each message that was ever held. A message that was released is not held a second time.

    ``since`` starts a clock of its own: nothing is held for ever without somebody being told.
    """

    message = models.OneToOneField(Message, on_delete=models.PROTECT, related_name="hold")
    case = models.ForeignKey(SwitchCase, on_delete=models.PROTECT, related_name="holds")
    since = models.DateTimeField(default=timezone.now)
    recipient = models.CharField(max_length=100, help_text="The mailbox that it was addressed to at first.")
    release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="holds")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When it was released, or cancelled.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(release__isnull=True) | Q(ended_at__isnull=False), name="hold_released_has_time"),
        )
        indexes = (models.Index(fields=["case", "since"], condition=Q(ended_at__isnull=True), name="hold_open"),)

    def __str__(self) -> str:
        return f"hold of {self.message_id}"
