"""Messages on their way to a channel, and what each channel was told."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from meshportal.accounts.models import TeamOwned
from meshportal.core.models import BaseModel, Leased
from meshportal.notify.models.alert import Alert
from meshportal.notify.models.channel import Channel


class Purpose(models.TextChoices):
    NOTICE = "notice", "Alerts"
    DIGEST = "digest", "Daily summary"
    TEST = "test", "Test"


class Status(models.TextChoices):
    WAITING = "waiting", "Waiting to be sent"
    SENT = "sent", "Sent"
    DEAD = "dead", "Given up"


class Delivery(Leased, TeamOwned):
    """One message to one channel, sent by one worker at a time. ``content`` is what it says, the same for every transport."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    purpose = models.CharField(max_length=10, choices=Purpose.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    content = models.JSONField()
    due_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveIntegerField(default=0)
    ended_at = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (
            models.CheckConstraint(condition=Q(status__in=Status.values), name="delivery_status"),
            models.CheckConstraint(
                condition=Q(lease_token__isnull=True, lease_until__isnull=True)
                | Q(lease_token__isnull=False, lease_until__isnull=False),
                name="delivery_lease_whole",
            ),
        )
        indexes = (
            models.Index(fields=["due_at"], condition=Q(status="waiting"), name="delivery_due"),
            models.Index(fields=["channel", "-created_at"], name="delivery_channel"),
        )

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} to {self.channel_id}"


class Outcome(models.TextChoices):
    """How one try ended. Without one it is under way, or the process died in it."""

    SENT = "sent", "Taken"
    FAILED = "failed", "Failed, to be tried again"
    REFUSED = "refused", "Refused for good"


class Attempt(models.Model):
    """One try, written before it is made."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    problem = models.TextField(blank=True)

    class Meta:
        indexes = (models.Index(fields=["delivery", "id"], name="attempt_delivery"),)

    def __str__(self) -> str:
        return f"try of {self.delivery_id}"


class Fold(BaseModel):
    """Many alerts of one kind that came close together: a channel hears of them once, and once when they are over."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="folds")
    kind = models.CharField(max_length=60)
    joined_at = models.DateTimeField(help_text="When the last of them came.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["channel", "kind"], condition=Q(ended_at__isnull=True), name="fold_one_going_on"),
        )

    def __str__(self) -> str:
        return f"fold of {self.kind}"


class Notice(models.Model):
    """What a channel was last told of an alert: that it is there, at which level, or that it is over."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="notices")
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="notices")
    open = models.BooleanField()
    level = models.BigIntegerField()
    told_at = models.DateTimeField()
    fold = models.ForeignKey(Fold, null=True, blank=True, on_delete=models.SET_NULL, related_name="notices")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["channel", "alert"], name="notice_once"),)
        indexes = (models.Index(fields=["channel"], condition=Q(open=True), name="notice_open"),)

    def __str__(self) -> str:
        return f"notice of {self.alert_id} to {self.channel_id}"


class Turn(Leased):
    """Work of the portal as a whole that one worker at a time does, when it is due."""

    name = models.CharField(max_length=40, unique=True)
    due_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"turn of {self.name}"
