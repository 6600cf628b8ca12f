"""The address book: which mailbox takes a workflow for an organisation, what MESH answered to that, and what changed.

What is asked of MESH is a pair: an organisation and a workflow in one environment. It belongs to no team, so that it is asked
once however many teams have it in their books. What a team holds for right is its entry.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from certificates.models import Environment
from mailboxes.models.organisation import ods_code_shape
from meshportal.accounts.models import TeamOwned
from meshportal.core.models import BaseModel, Leased, lease_whole


class AddressPair(Leased, BaseModel):
    """A question to MESH, worked by one worker at a time. ``next_lookup_at`` is empty while no team has it in its book.

    ``results`` is the whole of the latest answer: ``[{"id": …, "name": …}]``, sorted by id.
    """

    environment = models.CharField(max_length=10, choices=Environment.choices)
    ods_code = models.CharField("ODS code", max_length=12, validators=[ods_code_shape])
    workflow_id = models.CharField("workflow ID", max_length=300)

    next_lookup_at = models.DateTimeField(null=True, blank=True)
    urgent = models.BooleanField(default=False, help_text="Asked for by a report or a person: goes before the nightly ones.")
    hourly_until = models.DateTimeField(null=True, blank=True, help_text="Asked every hour until then (a switch is on).")
    asked_at = models.DateTimeField(null=True, blank=True, help_text="When MESH was last asked.")
    answered_at = models.DateTimeField(null=True, blank=True, help_text="When MESH last answered.")
    results = models.JSONField(default=list, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    problem_code = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["environment", "ods_code", "workflow_id"], name="address_pair_once"),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="address_pair_environment"),
            lease_whole("address_pair_lease_whole"),
        )
        indexes: ClassVar = [
            models.Index(
                fields=["environment", "urgent", "next_lookup_at"],
                condition=Q(next_lookup_at__isnull=False),
                name="address_pair_due",
            ),
            models.Index(fields=["answered_at"], condition=Q(next_lookup_at__isnull=False), name="address_pair_answered"),
        ]

    def __str__(self) -> str:
        return f"{self.ods_code}, {self.workflow_id}"

    @property
    def ids(self) -> list[str]:
        """The mailbox ids of the latest answer."""
        return [one["id"] for one in self.results]


class Source(models.TextChoices):
    """Where an entry of the book comes from."""

    LOOKUP = "lookup", "Endpoint lookup"
    TYPED = "typed", "Entered by hand"
    IMPORTED = "imported", "Imported"
    TRAFFIC = "traffic", "Seen in traffic"


class Drift(models.TextChoices):
    """How an entry stands to what MESH answers."""

    NEW = "new", "Not checked yet"
    AGREES = "agrees", "Agrees"
    UNKNOWN = "unknown", "No mailbox known"
    CHANGED = "changed", "Changed"
    GONE = "gone", "No mailbox any more"
    SEVERAL = "several", "Several mailboxes"


# These need a person: letters may go where nobody reads them.
DRIFTED = (Drift.CHANGED, Drift.GONE, Drift.SEVERAL)


class AddressEntry(TeamOwned):
    """What a team holds for right: the mailbox of an organisation for a workflow.

    Only a person replaces the mailbox by another one. ``accepted`` are the ids of the answer that the entry agreed with,
    where there are several. An entry that was removed stays, with its history, and is taken up again when it is seen again.
    """

    pair = models.ForeignKey(AddressPair, on_delete=models.PROTECT, related_name="entries")
    mailbox_id = models.CharField("mailbox ID", max_length=100, blank=True)
    mailbox_name = models.CharField(max_length=300, blank=True)
    source = models.CharField(max_length=10, choices=Source.choices)
    drift = models.CharField(max_length=10, choices=Drift.choices, default=Drift.NEW)
    drift_since = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True, help_text="When MESH last answered what stands here.")
    accepted = models.JSONField(default=list, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "address entries"
        constraints = (
            models.UniqueConstraint(fields=["team", "pair"], name="address_entry_once"),
            models.CheckConstraint(condition=Q(source__in=Source.values), name="address_entry_source"),
            models.CheckConstraint(condition=Q(drift__in=Drift.values), name="address_entry_drift"),
            models.CheckConstraint(
                condition=Q(drift__in=[str(one) for one in DRIFTED], drift_since__isnull=False)
                | Q(drift__in=["new", "agrees", "unknown"], drift_since__isnull=True),
                name="address_entry_since",
            ),
        )
        indexes: ClassVar = [
            models.Index(fields=["team", "drift"], name="address_entry_team"),
            models.Index(fields=["mailbox_id"], name="address_entry_mailbox"),
            models.Index(
                fields=["drift_since"], condition=Q(drift__in=[str(one) for one in DRIFTED]), name="address_entry_drifted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pair.ods_code}, {self.pair.workflow_id}"

    @property
    def drifted(self) -> bool:
        """Whether MESH answers another thing than stands here."""
        return self.drift in DRIFTED


class AddressAnswer(models.Model):
    """What MESH answered once: the whole list, or that it failed and why. The table is append-only."""

    pair = models.ForeignKey(AddressPair, on_delete=models.PROTECT, related_name="answers")
    at = models.DateTimeField()
    results = models.JSONField(null=True, blank=True, help_text="Empty for a failure; an empty list is an answer.")
    problem_code = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["pair", "-id"], name="address_answer_pair")]

    def __str__(self) -> str:
        return f"answer of {self.at:%Y-%m-%d %H:%M}"


class Ended(models.TextChoices):
    """How a change came to its end."""

    CONFIRMED = "confirmed", "A person confirmed the address"
    RETURNED = "returned", "MESH answers as before again"
    SUPERSEDED = "superseded", "MESH answers yet another thing"
    REMOVED = "removed", "The entry was removed"


class AddressChange(TeamOwned):
    """From when MESH answered another thing than an entry says, until a person confirmed it or it was over."""

    entry = models.ForeignKey(AddressEntry, on_delete=models.PROTECT, related_name="changes")
    kind = models.CharField(max_length=10, choices=[(str(one), one.label) for one in DRIFTED])
    old = models.CharField(max_length=100)
    new = models.JSONField(default=list, help_text="The mailbox ids that MESH answered.")
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended = models.CharField(max_length=10, choices=Ended.choices, blank=True)
    ended_by = models.CharField(max_length=300, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["entry"], condition=Q(ended_at__isnull=True), name="address_change_one_open"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended="") | (Q(ended_at__isnull=False) & ~Q(ended="")),
                name="address_change_ended",
            ),
        )
        indexes: ClassVar = [models.Index(fields=["entry", "-at"], name="address_change_entry")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} since {self.at:%Y-%m-%d %H:%M}"


class LookupPace(models.Model):
    """How fast an environment is asked, by all workers together: when the next question may leave."""

    environment = models.CharField(max_length=10, primary_key=True, choices=Environment.choices)
    next_at = models.DateTimeField()
    held_until = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="Of different pairs, without a success in between.")

    def __str__(self) -> str:
        return f"pace of {self.environment}"


class WorkflowSearch(Leased, BaseModel):
    """Every mailbox that takes a workflow, as MESH listed them last; asked once a day. ``members``: name by id."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    workflow_id = models.CharField("workflow ID", max_length=300)
    next_search_at = models.DateTimeField(null=True, blank=True)
    searched_at = models.DateTimeField(null=True, blank=True)
    members: Any = models.JSONField(default=dict, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    problem = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "workflow searches"
        constraints = (
            models.UniqueConstraint(fields=["environment", "workflow_id"], name="workflow_search_once"),
            lease_whole("workflow_search_lease_whole"),
        )
        indexes: ClassVar = [
            models.Index(fields=["next_search_at"], condition=Q(next_search_at__isnull=False), name="workflow_search_due")
        ]

    def __str__(self) -> str:
        return self.workflow_id


class WorkflowDifference(models.Model):
    """What a search found otherwise than the one before: mailboxes that appeared and vanished. The table is append-only."""

    search = models.ForeignKey(WorkflowSearch, on_delete=models.PROTECT, related_name="differences")
    at = models.DateTimeField()
    appeared = models.JSONField(default=list)
    vanished = models.JSONField(default=list)
    total = models.PositiveIntegerField(help_text="How many there are now.")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["search", "-id"], name="workflow_difference_search")]

    def __str__(self) -> str:
        return f"{len(self.appeared)} more, {len(self.vanished)} fewer"
