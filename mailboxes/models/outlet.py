"""Where a mailbox hands its received messages on to, as whoever hands them on keeps it."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailboxes.models.mailbox import Mailbox
from meshportal.accounts.models import TeamOwned
from meshportal.core.fields import SealedTextField
from meshportal.core.models import Leased, lease_whole


class Channel(models.TextChoices):
    FOLDER = "folder", "Folder"
    WEBHOOK = "webhook", "Webhook"


class Outlet(Leased, TeamOwned):
    """One way out of one mailbox, worked by one worker at a time, so that messages leave in the order in which they came.

    A row of its own rather than the mailbox's: a consumer that hangs keeps nobody from polling, and the secret is read by
    nobody but whoever signs. ``resume_at`` is when the consumer is tried again after a failure that was not one message's.
    """

    mailbox = models.ForeignKey(Mailbox, on_delete=models.PROTECT, related_name="outlets")
    channel = models.CharField(max_length=10, choices=Channel.choices)
    enabled = models.BooleanField(default=False)
    url = models.CharField(max_length=500, blank=True)
    secret = SealedTextField(null=True, blank=True)

    resume_at = models.DateTimeField(default=timezone.now)
    handed_at = models.DateTimeField(null=True, blank=True, help_text="When a message was last handed on.")
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    slow = models.BooleanField(default=False, help_text="Took too long last time; worked in the slow lane.")
    problem_code = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)
    problem_advice = models.TextField(blank=True)
    problem_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["mailbox", "channel"], name="outlet_once"),
            models.CheckConstraint(condition=Q(channel__in=Channel.values), name="outlet_channel"),
            models.CheckConstraint(
                condition=Q(channel=Channel.FOLDER) | Q(enabled=False) | (~Q(url="") & Q(secret__isnull=False)),
                name="outlet_webhook_whole",
            ),
            lease_whole("outlet_lease_whole"),
        )

    def __str__(self) -> str:
        return f"{self.get_channel_display().lower()} of mailbox {self.mailbox_id}"

    def waits_until(self, now: datetime) -> datetime | None:
        """When it is tried again, while it waits for that."""
        return self.resume_at if self.resume_at > now else None
