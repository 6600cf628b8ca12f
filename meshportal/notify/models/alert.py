"""An alert, and everything that happened to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db import models
from django.db.models import Q
from django.urls import NoReverseMatch, reverse

from meshportal.accounts.models import Team, TeamOwned, User


class Severity(models.IntegerChoices):
    """How much an alert needs a person."""

    INFO = 10, "Information"
    WARNING = 20, "Warning"
    CRITICAL = 30, "Critical"


class Alert(TeamOwned):
    """A condition that needs a person, from when it was first seen until it is over. Without a team it is the portal's own.

    One is open for each (team, kind, key): what goes on is the same alert, and so is what comes back soon after it went.
    """

    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.PROTECT, related_name="+")  # type: ignore[assignment]
    kind = models.CharField(max_length=60)
    key = models.CharField(max_length=200)
    severity = models.PositiveSmallIntegerField(choices=Severity.choices)
    level = models.BigIntegerField(default=0, help_text="How bad or how new it is; a rise is told again.")
    level_at = models.DateTimeField(help_text="When it began, came back or last rose.")
    subject = models.CharField(max_length=250)
    sentence = models.TextField()
    url_name = models.CharField(max_length=100, blank=True)
    url_args = models.JSONField(default=dict, blank=True)
    url_query = models.JSONField(default=dict, blank=True)
    data = models.JSONField(default=dict, blank=True, help_text="What the rule wants to know at its next turn.")

    first_seen = models.DateTimeField()
    opened_at = models.DateTimeField(help_text="When it was first seen, or last came back.")
    last_seen = models.DateTimeField()
    count = models.PositiveIntegerField(default=1, help_text="How often it was seen.")
    returns = models.PositiveIntegerField(default=0, help_text="How often it came back soon after it was over.")

    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=300, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    assigned_to = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    escalated_at = models.DateTimeField(null=True, blank=True)

    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=300, blank=True, help_text="Empty: it was over by itself.")
    closed_reason = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["team", "kind", "key"], condition=Q(closed_at__isnull=True, team__isnull=False), name="alert_one_open"
            ),
            models.UniqueConstraint(
                fields=["kind", "key"], condition=Q(closed_at__isnull=True, team__isnull=True), name="alert_one_open_of_portal"
            ),
            models.CheckConstraint(condition=Q(severity__in=Severity.values), name="alert_severity"),
        )
        indexes = (
            models.Index(fields=["team", "-opened_at", "-id"], name="alert_team_time"),
            models.Index(fields=["team", "kind"], condition=Q(closed_at__isnull=True), name="alert_open"),
            models.Index(fields=["kind", "key", "-closed_at"], name="alert_of_key"),
        )

    def __str__(self) -> str:
        return f"{self.subject} {self.sentence}"

    @property
    def open(self) -> bool:
        return self.closed_at is None

    def snoozed_at(self, now: datetime) -> bool:
        """True while nobody wants to be told of it."""
        return self.snoozed_until is not None and self.snoozed_until > now

    def address(self) -> str:
        """The page that deals with it, or '' where there is none (any more)."""
        if not self.url_name:
            return ""
        try:
            found = reverse(self.url_name, kwargs=self.url_args)
        except NoReverseMatch:
            return ""
        return f"{found}?{urlencode(self.url_query)}" if self.url_query else found


class Act(models.TextChoices):
    """What can happen to an alert."""

    RAISED = "raised", "Raised"
    ROSE = "rose", "Became worse, or there is more"
    RETURNED = "returned", "Came back"
    ESCALATED = "escalated", "Passed on, because nobody had acknowledged it"
    TOLD = "told", "Put into a message"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    SNOOZED = "snoozed", "Snoozed"
    WOKEN = "woken", "No longer snoozed"
    ASSIGNED = "assigned", "Assigned"
    COMMENTED = "commented", "Comment"
    CLOSED = "closed", "Closed"
    OVER = "over", "Over by itself"


class AlertEvent(models.Model):
    """One step of an alert. The table is append-only."""

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    act = models.CharField(max_length=20, choices=Act.choices)
    by = models.CharField(max_length=300, blank=True, help_text="Who; empty for the portal itself.")
    words = models.TextField(blank=True)

    class Meta:
        indexes = (models.Index(fields=["alert", "id"], name="alert_event"),)

    def __str__(self) -> str:
        return f"{self.get_act_display()} {self.at:%Y-%m-%d %H:%M}"

    @classmethod
    def of(cls, alert: Any, act: str, now: datetime, *, by: str = "", words: str = "") -> AlertEvent:
        """An unsaved step."""
        return cls(alert_id=alert.pk, at=now, act=act, by=by[:300], words=words)
