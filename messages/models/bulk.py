"""Sending many messages again at one person's word: the gesture, and one row for each message that it was for."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from certificates.models import Environment
from meshportal.accounts.models import Gesture
from meshportal.core.models import BaseModel, Leased
from messages.models.message import Message


class BulkResend(Leased, Gesture):
    """One gesture, worked row by row by one worker at a time. ``due_at`` is when a worker looks at it next; None when it
    has come to an end."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    filters = models.JSONField(default=list, help_text="Pairs of label and value, as the person saw them.")
    reason = models.TextField()
    asked_by = models.CharField(max_length=150, blank=True, help_text="Who asked for them to be sent again.")
    due_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    stopped_by = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True, due_at__isnull=False) | Q(finished_at__isnull=False, due_at__isnull=True),
                name="bulk_due_until_finished",
            ),
            models.CheckConstraint(
                condition=Q(stopped_at__isnull=True) | Q(finished_at__isnull=False), name="bulk_stopped_is_finished"
            ),
        )
        indexes = (
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="bulk_due"),
            models.Index(fields=["team", "-created_at", "-id"], name="bulk_team_time"),
        )

    def __str__(self) -> str:
        return f"bulk resend {self.short_id}"


class BulkRowState(models.TextChoices):
    WAITING = "waiting", "Waiting its turn"
    SENT = "sent", "Sent again"
    LEFT = "left", "Left as it is"


class BulkResendRow(BaseModel):
    """One message of a gesture. ``sent`` exactly when there is a new message, ``left`` exactly when it is said why."""

    gesture = models.ForeignKey(BulkResend, on_delete=models.PROTECT, related_name="rows")
    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="bulk_rows")
    state = models.CharField(max_length=10, choices=BulkRowState.choices, default=BulkRowState.WAITING)
    why_not = models.TextField(blank=True)
    new = models.OneToOneField(Message, null=True, blank=True, on_delete=models.PROTECT, related_name="bulk_row_of_new")
    tries = models.PositiveIntegerField(default=0, help_text="Counted before each try, so that one that kills is noticed.")
    try_at = models.DateTimeField(help_text="Not before this time.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["gesture", "message"], name="bulk_row_once"),
            models.CheckConstraint(
                condition=Q(state=BulkRowState.SENT, new__isnull=False, why_not="")
                | (Q(state=BulkRowState.LEFT, new__isnull=True) & ~Q(why_not=""))
                | Q(state=BulkRowState.WAITING, new__isnull=True, why_not=""),
                name="bulk_row_state",
            ),
        )
        indexes = (
            models.Index(fields=["gesture", "state", "try_at"], name="bulk_row_next"),
            models.Index(fields=["gesture", "-created_at", "-id"], name="bulk_row_time"),
        )

    def __str__(self) -> str:
        return f"row of {self.gesture_id} for {self.message_id}"
