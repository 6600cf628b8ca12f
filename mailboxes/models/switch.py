"""A practice whose MESH address changes: the case, its addresses, its history, and who ticked what off."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from certificates.models import Environment
from mailboxes.models.organisation import Organisation
from mailboxes.switches.states import ENDED, CaseState, Direction, legal_ways
from meshportal.accounts.models import TeamOwned, User
from meshportal.core.models import BaseModel


class SwitchCase(TeamOwned):
    """One switch of one practice in one environment, as one team deals with it.

    A tell-tale report may name a mailbox and no practice: then ``about_mailbox`` stands in for the practice until a person
    says which one it is.
    """

    environment = models.CharField(max_length=10, choices=Environment.choices)
    organisation = models.ForeignKey(Organisation, null=True, blank=True, on_delete=models.PROTECT, related_name="switch_cases")
    about_mailbox = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=12, choices=CaseState.choices)
    came_from = models.CharField(max_length=12, blank=True, help_text="The state before; empty for a case that has just begun.")
    state_since = models.DateTimeField(default=timezone.now)

    direction = models.CharField(max_length=12, choices=Direction.choices, default=Direction.UNKNOWN)
    old_supplier = models.CharField(max_length=150, blank=True)
    new_supplier = models.CharField(max_length=150, blank=True)
    links_off = models.DateField(null=True, blank=True)
    links_on = models.DateField(null=True, blank=True)
    go_live = models.DateField(null=True, blank=True)
    owner = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    deputy = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    safety_officer = models.CharField(max_length=150, blank=True)
    safety_told_at = models.DateTimeField(null=True, blank=True)
    safety_told_by = models.CharField(max_length=300, blank=True)

    proof_messages = models.PositiveIntegerField(default=3, validators=[MinValueValidator(1), MaxValueValidator(50)])
    switched_at = models.DateTimeField(null=True, blank=True)
    switched_reason = models.TextField(blank=True, help_text="Why it counts although the lookup does not answer the new mailbox.")
    undone_at = models.DateTimeField(null=True, blank=True, help_text="There is one undo.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["team", "environment", "organisation"],
                condition=~Q(state__in=[str(state) for state in ENDED]) & Q(organisation__isnull=False),
                name="switch_one_open",
            ),
            models.UniqueConstraint(
                fields=["team", "environment", "about_mailbox"],
                condition=~Q(state__in=[str(state) for state in ENDED]) & Q(organisation__isnull=True),
                name="switch_one_open_of_mailbox",
            ),
            models.CheckConstraint(condition=legal_ways(), name="switch_state"),
            models.CheckConstraint(
                condition=Q(organisation__isnull=False)
                | (~Q(about_mailbox="") & Q(state__in=[CaseState.SUSPECTED, CaseState.FALSE_ALARM])),
                name="switch_about_something",
            ),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="switch_environment"),
            models.CheckConstraint(condition=Q(direction__in=Direction.values), name="switch_direction"),
            models.CheckConstraint(
                condition=~Q(state__in=[CaseState.SWITCHED, CaseState.PROVING, CaseState.CLOSED]) | Q(switched_at__isnull=False),
                name="switch_switched_has_time",
            ),
        )
        indexes = (models.Index(fields=["team", "state", "-state_since"], name="switch_team_state"),)

    def __str__(self) -> str:
        return f"switch of {self.practice}"

    @property
    def practice(self) -> str:
        """Whom it is about, in words."""
        return str(self.organisation) if self.organisation else f"whoever has mailbox {self.about_mailbox}"

    @property
    def ods_code(self) -> str:
        return self.organisation.ods_code if self.organisation else ""

    @property
    def open(self) -> bool:
        return self.state not in ENDED


class CaseAddress(BaseModel):
    """Where the practice takes one workflow: before, and after.

    ``old_shared``: other practices have the same old mailbox, so a message to it is the practice's only where its ODS code
    is known. ``answer`` is what endpoint lookup last said of it, '' for nothing.
    """

    case = models.ForeignKey(SwitchCase, on_delete=models.CASCADE, related_name="addresses")
    workflow_id = models.CharField("workflow ID", max_length=300)
    old_mailbox = models.CharField(max_length=100, blank=True)
    old_shared = models.BooleanField(default=False)
    new_mailbox = models.CharField(max_length=100, blank=True)
    new_shared = models.BooleanField(default=False)
    answer = models.CharField(max_length=300, blank=True)
    answers = models.PositiveIntegerField(default=0)
    asked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("workflow_id",)
        constraints = (models.UniqueConstraint(fields=["case", "workflow_id"], name="case_address_once"),)

    def __str__(self) -> str:
        return f"{self.workflow_id}: {self.old_mailbox or 'not known'} to {self.new_mailbox or 'not known'}"

    def proven_since(self, since: datetime) -> bool:
        """Whether lookup answered the new mailbox, and nothing else, later than ``since``."""
        return bool(
            self.new_mailbox and self.asked_at and self.asked_at > since and self.answers == 1 and self.answer == self.new_mailbox
        )


class CaseEvent(models.Model):
    """One step of a case. A database trigger refuses UPDATE and DELETE."""

    case = models.ForeignKey(SwitchCase, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=30)
    from_state = models.CharField(max_length=12, blank=True)
    to_state = models.CharField(max_length=12, choices=CaseState.choices, blank=True)
    actor_label = models.CharField(max_length=300)
    words = models.TextField(blank=True)

    class Meta:
        indexes = (models.Index(fields=["case", "id"], name="case_event"),)

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"


class Evidence(TeamOwned):
    """One sign that an address may have changed. It stays, whether a case came of it or not.

    ``fingerprint`` is the same for the same sign seen again: of one kind, about one practice, workflow and mailbox, saying
    the same.
    """

    environment = models.CharField(max_length=10, choices=Environment.choices)
    case = models.ForeignKey(SwitchCase, null=True, blank=True, on_delete=models.SET_NULL, related_name="evidence")
    ods_code = models.CharField(max_length=12, blank=True)
    mailbox_id = models.CharField(max_length=100, blank=True)
    workflow_id = models.CharField(max_length=300, blank=True)
    kind = models.CharField(max_length=30)
    score = models.PositiveIntegerField()
    detail = models.JSONField(default=dict)
    fingerprint = models.CharField(max_length=64)
    suppressed = models.BooleanField(default=False, help_text="It was called a false alarm before, so it opened nothing.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "evidence"
        indexes = (
            models.Index(fields=["team", "environment", "ods_code", "-at"], name="evidence_practice"),
            models.Index(fields=["case", "-at"], name="evidence_case"),
        )

    def __str__(self) -> str:
        return f"{self.kind} about {self.ods_code or self.mailbox_id}"


class Suppression(TeamOwned):
    """A sign that somebody called a false alarm: until then the very same opens no case."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    case = models.ForeignKey(SwitchCase, on_delete=models.PROTECT, related_name="suppressions")
    fingerprint = models.CharField(max_length=64)
    until = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["team", "environment", "fingerprint", "until"], name="suppression_lookup"),)

    def __str__(self) -> str:
        return f"suppression until {self.until:%Y-%m-%d}"


class CaseTick(BaseModel):
    """A point of a checklist that somebody has done."""

    case = models.ForeignKey(SwitchCase, on_delete=models.CASCADE, related_name="ticks")
    point = models.CharField(max_length=40)
    by = models.CharField(max_length=300)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["case", "point"], name="case_tick_once")]

    def __str__(self) -> str:
        return self.point


class Release(BaseModel):
    """That somebody wants the held messages to go on, and that somebody else agreed.

    ``addresses`` is where each workflow is to go, as both of them saw it.
    """

    class To(models.TextChoices):
        NEW = "new", "To the new mailbox of each workflow"
        OLD = "old", "To the old mailbox: the switch is put off"

    case = models.ForeignKey(SwitchCase, on_delete=models.PROTECT, related_name="releases")
    to = models.CharField(max_length=3, choices=To.choices)
    addresses = models.JSONField(default=dict)
    reason = models.TextField()
    asked_by_id = models.CharField(max_length=200)
    asked_by = models.CharField(max_length=300)
    asked_at = models.DateTimeField(default=timezone.now)
    agreed_by_id = models.CharField(max_length=200, blank=True)
    agreed_by = models.CharField(max_length=300, blank=True)
    agreed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.CharField(max_length=300, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    released = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["case"], condition=Q(agreed_at__isnull=True, withdrawn_at__isnull=True), name="release_one_open"
            ),
            models.CheckConstraint(condition=~Q(agreed_by_id=models.F("asked_by_id")), name="release_by_two"),
            models.CheckConstraint(
                condition=Q(agreed_at__isnull=True, agreed_by_id="") | (Q(agreed_at__isnull=False) & ~Q(agreed_by_id="")),
                name="release_agreed_whole",
            ),
        )

    def __str__(self) -> str:
        return f"release of the held messages, {self.get_to_display().lower()}"
