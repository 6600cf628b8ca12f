"""One received message on its way to a consumer of its mailbox."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailboxes.models import Outlet
from meshportal.accounts.models import TeamOwned
from messages.models.message import Message


class Handed(models.TextChoices):
    PENDING = "pending", "Waiting to be handed on"
    DONE = "done", "Handed on"
    FAILED = "failed", "Given up: needs a person"


class HandOver(TeamOwned):
    """Made in the transaction that stores the message, for each outlet that its mailbox has then. Whoever holds the outlet's
    lease may write to it.

    ``delivery_id`` is the same for every try, so that a receiver knows a repetition; handing on again by a person is a
    delivery of its own. ``staged`` and ``folder`` are written before anything of a message shows in a folder: the name under
    which its files were prepared, and where, whatever the mailbox's folder is by then. ``refusals`` are tries that failed by
    the message's own fault.
    """

    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="hand_overs")
    outlet = models.ForeignKey(Outlet, on_delete=models.PROTECT, related_name="hand_overs")
    state = models.CharField(max_length=10, choices=Handed.choices, default=Handed.PENDING)
    delivery_id = models.UUIDField(default=uuid.uuid4)
    staged = models.CharField(max_length=100, blank=True)
    folder = models.CharField(max_length=200, blank=True, help_text="Where they were prepared.")
    began_at = models.DateTimeField(default=timezone.now, help_text="When it was stored, or a person had it handed on again.")
    due_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveIntegerField(default=0)
    refusals = models.PositiveIntegerField(default=0)
    problem_code = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)
    problem_advice = models.TextField(blank=True)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["message", "outlet"], name="hand_over_once"),
            models.CheckConstraint(condition=Q(state__in=Handed.values), name="hand_over_state"),
            models.CheckConstraint(condition=~Q(state="done") | Q(done_at__isnull=False), name="hand_over_done_has_time"),
        )
        indexes = (
            models.Index(fields=["outlet", "began_at"], condition=Q(state="pending"), name="hand_over_pending"),
            models.Index(fields=["outlet", "state"], condition=~Q(state="done"), name="hand_over_open"),
        )

    def __str__(self) -> str:
        return f"hand-over of {self.message_id}"
