"""A MESH mailbox that a team looks after: how to reach it, how it is worked, and how it is doing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from certificates.models import ClientIdentity, Environment
from mailboxes.models.organisation import Organisation
from meshportal.accounts.models import TeamOwned
from meshportal.core.fields import SealedTextField
from meshportal.core.models import Leased, lease_whole

mailbox_id_shape = RegexValidator(
    r"^[A-Z0-9]{1,100}$", "A mailbox ID is capital letters and digits without spaces, such as X26HC005."
)
# MESH API specification, Check an inbox: at most every five minutes unless more is waiting, at least daily.
MIN_POLL_SECONDS = 300
MAX_POLL_SECONDS = 86_400


class Mode(models.TextChoices):
    """How the portal works a mailbox. Watch is for mailboxes whose real consumer is another client."""

    COLLECT = "collect", "Collect"
    WATCH = "watch", "Watch only"
    PAUSED = "paused", "Paused"


class Mailbox(Leased, TeamOwned):
    """One mailbox in one environment, worked by one worker at a time (promise P5)."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    mailbox_id = models.CharField("mailbox ID", max_length=100, validators=[mailbox_id_shape])
    name = models.CharField(max_length=150)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="mailboxes")
    identity = models.ForeignKey(ClientIdentity, null=True, blank=True, on_delete=models.PROTECT, related_name="mailboxes")
    password = SealedTextField()
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.WATCH)
    workflow_filter = models.CharField(max_length=255, blank=True)
    poll_interval_seconds = models.PositiveIntegerField(
        default=MIN_POLL_SECONDS, validators=[MinValueValidator(1), MaxValueValidator(MAX_POLL_SECONDS)]
    )

    folder = models.CharField(max_length=200, blank=True, help_text="Relative to MESHPORTAL_FOLDER_ROOT.")
    send_from_folder = models.BooleanField(default=False, help_text="Documents put into its OUT are sent.")

    paused_at = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True, help_text="When it is taken up again by itself.")
    pause_reason = models.CharField(max_length=500, blank=True)
    resume_mode = models.CharField(max_length=10, blank=True, help_text="What it was before it was paused.")
    closing_at = models.DateTimeField(null=True, blank=True, help_text="When its run-off began.")
    archived_at = models.DateTimeField(null=True, blank=True, help_text="When it was closed for good; its history stays.")

    tags = models.CharField(max_length=300, blank=True, help_text="Between commas, with one at both ends.")
    notes = models.TextField(blank=True)

    revision = models.PositiveIntegerField(default=0, help_text="Counts changes of settings; a turn ends when it moves.")

    next_poll_at = models.DateTimeField(default=timezone.now)
    last_attempt_at = models.DateTimeField(null=True, blank=True)
    last_listed_at = models.DateTimeField(null=True, blank=True, help_text="When a listing was last asked for.")
    last_polled_at = models.DateTimeField(null=True, blank=True, help_text="When a listing last succeeded.")
    last_handshake_at = models.DateTimeField(null=True, blank=True)
    handshake_revision = models.PositiveIntegerField(default=0, help_text="The revision of the settings it was made with.")
    waiting_count = models.PositiveIntegerField(null=True, blank=True, help_text="About how many wait, as MESH said.")
    consecutive_failures = models.PositiveIntegerField(default=0)
    problem_code = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)
    problem_advice = models.TextField(blank=True)
    problem_since = models.DateTimeField(null=True, blank=True)
    clock_skew_seconds = models.IntegerField(null=True, blank=True, help_text="Our clock minus MESH's.")
    slow = models.BooleanField(default=False, help_text="Took too long last time; worked in the slow lane.")

    HANDSHAKE_EVERY: ClassVar[timedelta] = timedelta(hours=24)
    SKEW_WARNING: ClassVar[timedelta] = timedelta(minutes=5)
    # 5 days in the inbox and 30 until a message is deleted (MESH API specification): what was sent before stays no longer.
    RUN_OFF: ClassVar[timedelta] = timedelta(days=35)

    class Meta:
        verbose_name_plural = "mailboxes"
        constraints = (
            models.UniqueConstraint(fields=["environment", "mailbox_id"], name="mailbox_once"),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="mailbox_environment"),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="mailbox_mode"),
            lease_whole("mailbox_lease_whole"),
            models.CheckConstraint(
                condition=Q(environment=Environment.SANDBOX, poll_interval_seconds__gte=1)
                | Q(poll_interval_seconds__gte=MIN_POLL_SECONDS),
                name="mailbox_poll_not_too_often",
            ),
            models.CheckConstraint(condition=Q(poll_interval_seconds__lte=MAX_POLL_SECONDS), name="mailbox_poll_at_least_daily"),
            # File servers of Windows know no difference between capital and small letters.
            models.UniqueConstraint(
                Lower("folder"),
                condition=~Q(folder=""),
                name="mailbox_folder_once",
                violation_error_message="Another mailbox has this folder.",
            ),
            models.CheckConstraint(
                condition=~Q(folder="") | Q(send_from_folder=False),
                name="mailbox_sends_from_its_folder",
                violation_error_message="This mailbox has no folder to send from. Give it one with --folder.",
            ),
            models.CheckConstraint(
                condition=Q(mode=Mode.PAUSED)
                | Q(paused_at__isnull=True, paused_until__isnull=True, pause_reason="", resume_mode=""),
                name="mailbox_pause_of_a_paused_one",
            ),
            models.CheckConstraint(
                condition=Q(archived_at__isnull=True) | Q(mode=Mode.PAUSED, closing_at__isnull=False, paused_until__isnull=True),
                name="mailbox_archived_is_still",
            ),
        )
        indexes = (models.Index(fields=["next_poll_at"], condition=~Q(mode="paused"), name="mailbox_due"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.mailbox_id})"

    @property
    def poll_interval(self) -> timedelta:
        return timedelta(seconds=self.poll_interval_seconds)

    @property
    def tag_list(self) -> list[str]:
        return [tag for tag in self.tags.split(",") if tag]

    @property
    def run_off_ends_at(self) -> datetime | None:
        """When nothing that was sent before its closing can be in MESH any more; None while it is not being closed."""
        return None if self.closing_at is None else self.closing_at + self.RUN_OFF

    def overdue_at(self, now: datetime) -> bool:
        """True when a worked mailbox was not listed for three of its intervals (and at least a minute)."""
        if self.mode == Mode.PAUSED:
            return False
        allowed = max(self.poll_interval * 3, timedelta(minutes=1))
        return now - (self.last_polled_at or self.created_at) > allowed

    @property
    def health(self) -> str:
        """One of ok, problem, late, new, paused: the word that the list shows."""
        if self.mode == Mode.PAUSED:
            return "paused"
        if self.problem_code:
            return "problem"
        if self.overdue_at(timezone.now()):
            return "late"
        return "ok" if self.last_polled_at else "new"
