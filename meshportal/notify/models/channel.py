"""Where a team is told of alerts, and of which."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from meshportal.accounts.models import TeamOwned
from meshportal.core.fields import SealedJSONField
from meshportal.core.models import BaseModel
from meshportal.notify.models.alert import Severity


class Transport(models.TextChoices):
    """The ways out of the portal."""

    EMAIL = "email", "Email"
    TEAMS = "teams", "Microsoft Teams"
    SLACK = "slack", "Slack"
    WEBHOOK = "webhook", "Signed webhook"


class Channel(TeamOwned):
    """One place where a team is told. Its addresses are sealed: whoever holds a webhook's address can write to it."""

    name = models.CharField(max_length=100)
    transport = models.CharField(max_length=10, choices=Transport.choices)
    config = SealedJSONField(help_text="Addresses, or URL and secret; sealed, never shown again.")
    hint = models.CharField(max_length=200, blank=True, help_text="What may be shown of the configuration.")
    enabled = models.BooleanField(default=True)
    escalation = models.BooleanField(default=False, help_text="Only told of critical alerts that nobody acknowledged in time.")
    digest = models.BooleanField(default=False, help_text="Gets the daily summary.")
    digest_day = models.DateField(null=True, blank=True, help_text="The day of the last summary.")
    quiet_from = models.TimeField(null=True, blank=True, help_text="From here on only critical alerts are told (London time).")
    quiet_until = models.TimeField(null=True, blank=True)
    told_over_at = models.DateTimeField(null=True, blank=True, help_text="When it was last told that something is over.")
    failing_since = models.DateTimeField(null=True, blank=True, help_text="When a message was first given up, since one arrived.")
    problem = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["team", "name"], name="channel_name_once"),
            models.CheckConstraint(condition=Q(transport__in=Transport.values), name="channel_transport"),
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="channel_quiet_whole",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Subscription(BaseModel):
    """What a channel is told of: one kind of alert, or every kind (empty), from a severity on."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="subscriptions")
    kind = models.CharField(max_length=60, blank=True)
    severity = models.PositiveSmallIntegerField(choices=Severity.choices, default=Severity.WARNING)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["channel", "kind"], name="subscription_once"),
            models.CheckConstraint(condition=Q(severity__in=Severity.values), name="subscription_severity"),
        )

    def __str__(self) -> str:
        return f"{self.kind or 'every kind'} from {self.get_severity_display()}"
